#include "exec/copy_jobs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/namespace.h"
#include "sys/reflink.h"

namespace varve::exec {

namespace {

using snapshot::TarPart;
using snapshot::UpperEntry;
using tree::Node;
using tree::NodeType;

// A batch is full with the first of these. Directories are two descriptors each, and 16 batches at
// once must stay well below the usual limit of 1,024.
constexpr size_t kItems = 256;
constexpr size_t kDirectories = 12;
constexpr uint64_t kBytes = 1 << 20;
constexpr size_t kBatchesInFlight = 16;

// Larger files are copied by the kernel, which may share their blocks and keeps their holes, and are
// read back. Smaller ones are read once.
constexpr uint64_t kLargeFile = 256 << 10;
constexpr size_t kChunk = 256 << 10;

Timestamp TimeOf(const timespec& ts) { return {ts.tv_sec * 1'000'000'000 + ts.tv_nsec}; }

// That an item is to have, of a source with these attributes.
Timestamp TimeOf(const CopyItem& item, const struct stat& source) {
  return item.mtime.value_or(TimeOf(source.st_mtim));
}

Error ChangedWhileReading(const RelPath& file) {
  Error changed = Invalid("{} changed while the build was reading it", file.str());
  changed.hint = "build again once nothing writes to the context";
  return changed;
}

RelPath SourcePath(const CopyItem& item) { return item.directory->below.Join(item.node.name); }
RelPath DestPath(const CopyItem& item) {
  return item.name.empty() ? item.directory->dest : item.directory->dest.Join(item.name);
}

Error CallFailed(const char* call, const CopyItem& item) {
  Error lost = ErrnoError(errno, fmt::format("{} {}", call, SourcePath(item).str()));
  // Its tree says that a layer has the file.
  if (item.immutable && lost.code == Code::kNotFound) lost.code = Code::kCorrupt;
  return lost;
}

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

Error DirectoryFailed(const char* call, const RelPath& path) {
  return ErrnoError(errno, fmt::format("{} {}", call, path.str()));
}

UpperEntry EntryOf(const CopyItem& item, Timestamp mtime) {
  UpperEntry entry;
  entry.index.path = DestPath(item);
  entry.path = entry.index.path.str();
  entry.index.node = item.node;
  entry.index.node.name.clear();
  entry.index.node.digest = item.node.type == NodeType::kFile ? item.node.digest : Digest();
  entry.mtime = mtime;
  return entry;
}

}  // namespace

CopyJobs::CopyJobs(snapshot::LayerStream* stream, const snapshot::LayerFiles* similar, bool lazy, std::stop_token stop)
    : stream_(stream), similar_(similar), lazy_(lazy), stop_(std::move(stop)), uid_(geteuid()), gid_(getegid()),
      pool_(std::min<size_t>(4, CpuCount())) {}

// --- The calling thread ------------------------------------------------------------------------------

bool CopyJobs::InOrder(const std::string& path) {
  if (stream_ == nullptr || stream_->broken()) return false;
  bool in_order = last_path_.empty() || snapshot::WalkLess(last_path_, path);
  last_path_ = path;
  if (!in_order) stream_->Break();
  return in_order;
}

Status CopyJobs::Add(CopyItem item) {
  InOrder(DestPath(item).str());
  // What files need besides their content is written to the disk by the file system's own rules
  // (capabilities in a user namespace): such a layer is read back.
  if (!item.node.xattrs.empty() && stream_ != nullptr) stream_->Break();
  bool is_directory = item.name.empty();
  if (batch_.items.empty() || batch_.items.back().directory != item.directory) ++batch_.directories;
  if (!is_directory) batch_.bytes += item.node.size;
  batch_.items.push_back(std::move(item));
  bool full = batch_.items.size() >= kItems || batch_.directories >= kDirectories || batch_.bytes >= kBytes;
  return full ? Submit() : Ok();
}

Status CopyJobs::Announce(const UpperEntry& entry, bool fresh) {
  TRY(Submit());
  if (!InOrder(entry.path)) return Ok();
  TarPart part(*stream_, stream_->Begin());
  part.Add(entry, fresh);
  part.End();
  return Ok();
}

Status CopyJobs::Submit() {
  if (batch_.items.empty()) return Ok();
  {
    auto running = in_flight_.Lock();
    running.Wait(batch_done_, [&] { return *running < kBatchesInFlight; });
    ++*running;
  }
  Batch batch = std::exchange(batch_, {});
  if (stream_ != nullptr && !stream_->broken()) batch.segment = stream_->Begin();
  pool_.Submit([this, work = std::move(batch)]() mutable {
    Run(std::move(work));
    --*in_flight_.Lock();
    batch_done_.notify_all();
  });
  return Failed();
}

Status CopyJobs::Drain() {
  TRY(Submit());
  {
    auto running = in_flight_.Lock();
    running.Wait(batch_done_, [&] { return *running == 0; });
  }
  return Failed();
}

Status CopyJobs::Failed() {
  if (stop_.stop_requested()) return Cancelled("the copy was cancelled");
  auto slot = error_.Lock();
  if (*slot) return Error(**slot);
  return Ok();
}

uint64_t CopyJobs::CountLinked() {
  auto linked = linked_.Lock();
  // Names that were one file in the earlier layer are separate files now, for all that the stream
  // knows, and have become one again.
  std::ranges::sort(*linked);
  if (stream_ != nullptr && std::ranges::adjacent_find(*linked) != linked->end()) stream_->Break();
  return linked->size();
}

// --- The pool ----------------------------------------------------------------------------------------

void CopyJobs::Run(Batch batch) {
  std::optional<TarPart> part;
  // A header and half a block of padding for each entry.
  if (batch.segment) {
    part.emplace(*stream_, *batch.segment, batch.bytes + batch.items.size() * 768);
  }
  for (const CopyItem& item : batch.items) {
    if (lazy_ && stream_->broken()) return;
    if (failed_ || stop_.stop_requested()) return;
    if (Status made = Make(item, part ? &*part : nullptr); !made) {
      failed_ = true;
      auto slot = error_.Lock();
      if (!*slot) *slot = std::move(made).error();
      return;
    }
  }
  if (part) part->End();
}

Status CopyJobs::Make(const CopyItem& item, TarPart* part) {
  TRY(Open(*item.directory));
  if (item.node.type == NodeType::kSymlink) return MakeSymlink(item, part);
  if (item.node.type == NodeType::kFile) return MakeFile(item, part);
  if (part != nullptr) part->Add(EntryOf(item, *item.directory->attributes->mtime), true);
  return Ok();
}

Status CopyJobs::Open(OpenDirectory& directory) {
  std::scoped_lock lock(directory.making);
  if (directory.source) return Ok();
  OpenDirectory& parent = *directory.parent;
  TRY(Open(parent));
  std::string source(directory.below.Name());
  Fd fd(openat(parent.source.get(), source.c_str(), kDirectoryFlags));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) return DirectoryFailed("open", directory.below);
  // One that the copy itself names counts (of LLB's file operations).
  Timestamp mtime = directory.attributes->mtime.value_or(TimeOf(st.st_mtim));
  if (!lazy_) {
    TRY(MakeTarget(directory));
    Attributes now = *directory.attributes;
    TRY(About(directory.dest, ApplyAttributes(directory.target.get(), now, OwnerIn(parent, now.uid, now.gid))));
    times_.Lock()->emplace_back(directory.dest, mtime);
    directory.parent.reset();
  }
  directory.attributes->mtime = mtime;
  directory.source = std::move(fd);
  return Ok();
}

// `making` of the directory is held, or it is a parent of one of which it is.
Status CopyJobs::MakeTarget(OpenDirectory& directory) {
  OpenDirectory& parent = *directory.parent;
  std::string name(directory.dest.Name());
  if (mkdirat(parent.target.get(), name.c_str(), 0700) != 0) return DirectoryFailed("mkdir", directory.dest);
  directory.target = Fd(openat(parent.target.get(), name.c_str(), kDirectoryFlags));
  if (!directory.target) return DirectoryFailed("open", directory.dest);
  return Ok();
}

// Where a file is about to be made: in a lazy layer the directory may be missing yet.
Status CopyJobs::NeedTarget(OpenDirectory& directory) {
  if (!lazy_) return Ok();
  std::scoped_lock lock(directory.making);
  if (directory.target) return Ok();
  TRY(NeedTarget(*directory.parent));
  return MakeTarget(directory);
}

// A new file belongs to whoever makes it; its group is either the maker's or the directory's.
Owned CopyJobs::OwnerIn(const OpenDirectory& parent, uint32_t uid, uint32_t gid) const {
  bool as_made = uid == uid_ && gid == gid_ && parent.attributes && parent.attributes->gid == gid;
  return as_made ? Owned::kAsMade : Owned::kUnknown;
}

Status CopyJobs::MakeSymlink(const CopyItem& item, TarPart* part) {
  const OpenDirectory& directory = *item.directory;
  struct stat st;
  if (fstatat(directory.source.get(), item.node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return CallFailed("read", item);
  }
  if (!lazy_) TRY(PutSymlink(item, st));
  if (part != nullptr) {
    UpperEntry entry = EntryOf(item, TimeOf(item, st));
    entry.index.node.mode = 0777;  // as every link has it on the disk
    part->Add(entry, false);
  }
  return Ok();
}

Status CopyJobs::PutSymlink(const CopyItem& item, const struct stat& source) {
  int target = item.directory->target.get();
  const char* name = item.name.c_str();
  if (symlinkat(item.node.target.c_str(), target, name) != 0) return CallFailed("symlink", item);
  if (fchownat(target, name, item.node.uid, item.node.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return sys::OwnerError(errno, "chown " + DestPath(item).Absolute(), item.node.uid, item.node.gid);
  }
  timespec time = ToTimespec(TimeOf(item, source));
  timespec times[2] = {time, time};
  if (utimensat(target, name, times, AT_SYMLINK_NOFOLLOW) != 0) return CallFailed("utimens", item);
  return Ok();
}

// The first of several names in one match is copied; the others are linked to it when all is there.
Result<bool> CopyJobs::IsFurtherLink(const CopyItem& item, const struct stat& source) {
  if (source.st_nlink == 1) return false;
  auto inodes = inodes_.Lock();
  auto [it, first] = inodes->emplace(std::tuple(item.match, source.st_dev, source.st_ino), DestPath(item));
  if (first) return false;
  links_.Lock()->emplace_back(DestPath(item), it->second);
  // Which of the names comes first in the walk is not known here.
  if (stream_ != nullptr) stream_->Break();
  return true;
}

// The file of the earlier layer, open, that is now this layer's too; nothing: it must be copied.
Fd CopyJobs::FindSimilar(const CopyItem& item, const struct stat& source) {
  std::string path = DestPath(item).str();
  int root = similar_->RootOf(path);
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  Fd file(openat(root, path.c_str(), kFlags | O_NOATIME));
  // O_NOATIME is the owner's privilege.
  if (!file && errno == EPERM) file = Fd(openat(root, path.c_str(), kFlags));
  struct stat st;
  if (!file || fstat(file.get(), &st) != 0 || TimeOf(st.st_mtim) != TimeOf(item, source)) return Fd();
  // EMLINK after 65,000 links on ext4, and whatever else: then it is copied.
  bool stays = lazy_ && !similar_->IsOwn(path);
  if (!stays && (!NeedTarget(*item.directory) ||
                 linkat(root, path.c_str(), item.directory->target.get(), item.name.c_str(), 0) != 0)) {
    return Fd();
  }
  linked_.Lock()->push_back(st.st_ino);
  return file;
}

Status CopyJobs::MakeFile(const CopyItem& item, TarPart* part) {
  const OpenDirectory& directory = *item.directory;
  struct stat st;
  if (fstatat(directory.source.get(), item.node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return CallFailed("read", item);
  }
  if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != item.node.size) {
    return ChangedWhileReading(SourcePath(item));
  }
  TRY_ASSIGN(bool further, IsFurtherLink(item, st));
  if (further) return Ok();
  Fd linked;
  if (item.in_similar) linked = FindSimilar(item, st);
  if (linked) return Fill(item, st, -1, -1, linked.get(), part);
  Fd in(openat(directory.source.get(), item.node.name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!in) return CallFailed("open", item);
  TRY(NeedTarget(*item.directory));
  Fd out(openat(directory.target.get(), item.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!out) return CallFailed("create", item);
  TRY(Fill(item, st, in.get(), out.get(), -1, part));
  Status applied = ApplyAttributes(out.get(),
                                   {.mode = item.node.mode,
                                    .uid = item.node.uid,
                                    .gid = item.node.gid,
                                    .mtime = TimeOf(item, st),
                                    .xattrs = item.node.xattrs},
                                   OwnerIn(directory, item.node.uid, item.node.gid));
  // Its path is made for an error alone: this runs for each file.
  return applied ? applied : About(DestPath(item), std::move(applied));
}

// Writes the content to `out` (unless `linked` has it) and to the stream, in one reading if possible.
// Bytes under a key must be the bytes that the key names: what may have changed since the tree was
// made is compared with it.
Status CopyJobs::Fill(const CopyItem& item, const struct stat& source, int in, int out, int linked, TarPart* part) {
  if (part != nullptr) {
    part->Add(EntryOf(item, TimeOf(item, source)), false);
  } else {
    known_.Lock()->insert_or_assign(DestPath(item).str(), item.node.digest);
  }
  bool must_compare = linked < 0 && !item.immutable;
  bool by_kernel = item.node.size > kLargeFile || (part == nullptr && !must_compare);
  if (linked < 0 && by_kernel && item.node.size > 0) {
    auto copied = sys::CopyFileContents(in, out);
    if (!copied) return Error(std::move(copied).error()).With(SourcePath(item).str());
    struct stat now;
    if (fstat(out, &now) != 0) return CallFailed("stat", item);
    if (now.st_size != source.st_size) return ChangedWhileReading(SourcePath(item));
  }
  if (part == nullptr && !must_compare) return Ok();
  int from = linked >= 0 ? linked : by_kernel ? out : in;
  std::string buffer;
  std::optional<Sha256> hash;
  if (must_compare) hash.emplace();
  for (uint64_t at = 0; at < item.node.size;) {
    if (stop_.stop_requested()) return Cancelled("the copy was cancelled");
    size_t want = std::min<uint64_t>(kChunk, item.node.size - at);
    if (part == nullptr) buffer.resize(want);
    std::span<char> space = part != nullptr ? part->Space(want) : std::span<char>(buffer);
    for (size_t have = 0; have < want;) {
      ssize_t n = pread(from, space.data() + have, want - have, static_cast<off_t>(at + have));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return CallFailed("read", item);
      if (n == 0) return ChangedWhileReading(SourcePath(item));
      have += static_cast<size_t>(n);
    }
    std::string_view bytes(space.data(), want);
    if (hash) hash->Update(bytes);
    if (linked < 0 && !by_kernel) {
      FdWriter file(out);
      TRY(file.Write(bytes));
    }
    at += want;
  }
  if (hash && hash->Finish() != item.node.digest) return ChangedWhileReading(SourcePath(item));
  return Ok();
}

}  // namespace varve::exec
