#include "snapshot/local_layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/background_writer.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "snapshot/read_ahead.h"
#include "snapshot/unpack.h"
#include "snapshot/upper_tar.h"
#include "snapshot/upper_walk.h"
#include "sys/flock.h"
#include "sys/open.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

class TeeWriter final : public Writer {
 public:
  TeeWriter(Writer& first, Writer& second) : first_(first), second_(second) {}
  Status Write(std::string_view data) override {
    TRY(first_.Write(data));
    return second_.Write(data);
  }

 private:
  Writer& first_;
  Writer& second_;
};

std::vector<std::string> ImplicitIn(const tree::LayerIndex& index) {
  std::vector<std::string> paths;
  for (const tree::LayerEntry& entry : index) {
    if (entry.implicit) paths.push_back(entry.path.str());
  }
  return paths;
}

tree::NodeType TypeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return tree::NodeType::kDirectory;
    case S_IFLNK:
      return tree::NodeType::kSymlink;
    case S_IFCHR:
      return tree::NodeType::kCharDevice;
    case S_IFBLK:
      return tree::NodeType::kBlockDevice;
    case S_IFIFO:
      return tree::NodeType::kFifo;
    default:
      return tree::NodeType::kFile;
  }
}

// A layer comes and goes as a whole: where a part of it is not there, it is damaged.
Error PartMissing(Error error, const DiffId& layer) {
  if (error.code == Code::kNotFound) error.code = Code::kCorrupt;
  return std::move(error).With("layer " + layer.ToString());
}

}  // namespace

namespace {

// The digest of what was written: `begin`, what is in the file `first` (empty: nothing), the pieces. The draft is
// nobody's but ours: no need for a rename.
Result<Digest> WriteIndex(const std::string& path, const std::string& begin, const std::string& first,
                          const std::vector<std::string>& pieces) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, 0644));
  FdWriter file(fd.get());
  HashingWriter hashed(&file);
  std::string buffer = begin;
  if (!first.empty()) {
    TRY(hashed.Write(std::exchange(buffer, {})));
    TRY_ASSIGN(Fd from, OpenFile(first, O_RDONLY));
    FdReader reader(from.get());
    TRY(Copy(reader, hashed));
  }
  for (const std::string& piece : pieces) {
    buffer += piece;
    if (buffer.size() < 1 << 20) continue;
    TRY(hashed.Write(buffer));
    buffer.clear();
  }
  TRY(hashed.Write(buffer));
  return hashed.Finish();
}

}  // namespace

class LocalLayerStore::Draft final : public LayerDraft {
 public:
  Draft(Staging& staging, std::string path)
      : staging_(staging), path_(std::move(path)), upper_(path_ + "/fs"), work_(path_ + "/work") {}
  ~Draft() override {
    if (!path_.empty()) staging_.RemoveLater(path_);
  }
  Status Prepare() const {
    for (const std::string& directory : {path_, upper_, work_}) {
      if (mkdir(directory.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + directory);
    }
    // The merged root shows the topmost directory's mode, whatever our umask is.
    if (chmod(upper_.c_str(), 0755) != 0) return ErrnoError(errno, "chmod " + upper_);
    return Ok();
  }
  const std::string& upper() const override { return upper_; }
  const std::string& work() const override { return work_; }
  const std::string& path() const { return path_; }
  void Release() { path_.clear(); }
  // Away with what a layer does not have.
  Status DropWork() {
    TRY_ASSIGN(std::string away, staging_.NewPath());
    if (rename(work_.c_str(), away.c_str()) != 0) return ErrnoError(errno, "rename " + work_);
    staging_.RemoveLater(std::move(away));
    return Ok();
  }

 private:
  Staging& staging_;
  std::string path_, upper_, work_;
};

std::string LocalLayerStore::PathOf(const DiffId& layer) const { return root_ + "/layers/" + layer.Hex(); }

std::string LocalLayerStore::FilesOf(const DiffId& layer) const { return PathOf(layer) + "/fs"; }

Result<std::string> LocalLayerStore::Directory(const DiffId& layer) {
  if (lazy_.IsLazy(layer)) {
    TRY(lazy_.MakeWhole(layer, [&]() -> Status {
      // New names on the disk, which a crash of the machine may lose.
      TRY_ASSIGN(LayerMeta meta, Meta(layer));
      meta.boot = boot_;
      return WriteMeta(PathOf(layer), meta);
    }));
  }
  return FilesOf(layer);
}

Result<std::optional<LayerStore::Found>> LocalLayerStore::Find(const DiffId& layer, const RelPath& path) {
  if (lazy_.IsLazy(layer)) {
    auto entry = lazy_.Find(layer, path);
    if (!entry && lazy_.IsLazy(layer)) return std::move(entry).error();
    if (entry && !*entry) return std::optional<Found>();
    if (entry) return std::optional(Found{(*entry)->index.node.type, (*entry)->mtime});
  }
  struct stat st;
  if (lstat((FilesOf(layer) + path.Absolute()).c_str(), &st) != 0) return std::optional<Found>();
  return std::optional(Found{TypeOf(st.st_mode), {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec}});
}

Result<LayerFiles> LocalLayerStore::Files(const DiffId& layer) { return lazy_.Open(layer); }

Result<std::optional<DiffId>> LocalLayerStore::RestOf(const DiffId& layer) { return lazy_.RestOf(layer); }

Result<std::vector<DiffId>> LocalLayerStore::UsersOf(const DiffId& rest) { return lazy_.UsersOf(rest); }

Result<ListedLayer> LocalLayerStore::List(const DiffId& layer, std::stop_token stop) const {
  if (lazy_.IsLazy(layer)) {
    auto listed = lazy_.List(layer);
    // Nothing is wrong if it was made whole just then.
    if (listed || lazy_.IsLazy(layer)) return listed;
  }
  ListedLayer out;
  TRY_ASSIGN(out.files.rest, sys::OpenDir(FilesOf(layer)));
  out.files.whole = layer;
  TRY_ASSIGN(out.entries, WalkUpper(FilesOf(layer), stop));
  return out;
}

Result<std::unique_ptr<LocalLayerStore>> LocalLayerStore::Open(const std::string& root, std::string boot) {
  TRY(sys::MkdirAll(root + "/layers", 0700));
  TRY_ASSIGN(auto staging, Staging::Open(root + "/staging"));
  return std::unique_ptr<LocalLayerStore>(new LocalLayerStore(root, std::move(boot), std::move(staging)));
}

Result<std::unique_ptr<LayerStore>> OpenLayerStore(const std::string& root) {
  TRY_ASSIGN(std::string boot, CurrentBoot());
  TRY_ASSIGN(auto store, LocalLayerStore::Open(root, std::move(boot)));
  return std::unique_ptr<LayerStore>(std::move(store));
}

// --- what is there ---------------------------------------------------------------------------------

Result<bool> LocalLayerStore::Has(const DiffId& layer) {
  if (trusted_.Lock()->contains(layer)) {
    // A layer goes as a whole: by one rename.
    if (access(PathOf(layer).c_str(), F_OK) == 0) return true;
    trusted_.Lock()->erase(layer);
    return false;
  }
  auto meta = Meta(layer);
  if (!meta && meta.error().code == Code::kNotFound && access(PathOf(layer).c_str(), F_OK) != 0) return false;
  auto sound = FindSound(layer, meta);
  if (!sound) {
    TRY_ASSIGN(bool intact, CheckAfterBoot(layer));
    if (!intact) return false;
    TRY_ASSIGN(LayerMeta checked, Meta(layer));
    TRY_ASSIGN(sound, Describe(layer, checked));
  }
  trusted_.Lock()->emplace(layer, *sound);
  return true;
}

std::optional<Layer> LocalLayerStore::FindSound(const DiffId& layer, const Result<LayerMeta>& meta) const {
  if (!meta || (!meta->boot.empty() && meta->boot != boot_)) return std::nullopt;
  auto described = Describe(layer, *meta);
  return described ? std::optional(*described) : std::nullopt;
}

Result<LayerMeta> LocalLayerStore::Meta(const DiffId& layer) const { return ReadMeta(PathOf(layer)); }

Result<Layer> LocalLayerStore::Describe(const DiffId& layer, const LayerMeta& meta) const {
  if (meta.tar_size) return Layer{layer, *meta.tar_size, meta.entries};
  TRY_ASSIGN(uint64_t size, ReadSize(layer));
  return Layer{layer, size, meta.entries};
}

Result<uint64_t> LocalLayerStore::ReadSize(const DiffId& layer) const {
  TRY_ASSIGN(std::string text, ReadFile(PathOf(layer) + "/size", 100));
  auto size = ParseInt(TrimSpace(text));
  if (!size || *size < 0) return Corrupt("size file of layer {} is damaged", layer.ToString());
  return static_cast<uint64_t>(*size);
}

bool LocalLayerStore::SizeFits(const DiffId& layer, const LayerMeta& meta) const {
  auto size = ReadSize(layer);
  return size && *size == meta.tar_size.value_or(*size);
}

Result<Layer> LocalLayerStore::Stat(const DiffId& layer) {
  TRY_ASSIGN(bool here, Has(layer));
  if (here) {
    auto trusted = trusted_.Lock();
    auto it = trusted->find(layer);
    if (it != trusted->end()) return it->second;
  }
  return NotFound("layer {} is not unpacked here", layer.ToString());
}

Result<bool> LocalLayerStore::Reproducible(const DiffId& layer) {
  TRY_ASSIGN(bool here, Has(layer));
  if (!here) return NotFound("layer {} is not unpacked here", layer.ToString());
  TRY_ASSIGN(LayerMeta meta, Meta(layer));
  return meta.reproducible;
}

Result<tree::LayerIndex> LocalLayerStore::Index(const DiffId& layer) {
  TRY_ASSIGN(std::string text, EncodedIndex(layer));
  return tree::DecodeLayerIndex(text);
}

Result<std::string> LocalLayerStore::EncodedIndex(const DiffId& layer) {
  TRY_ASSIGN(bool here, Has(layer));
  if (!here) return NotFound("layer {} is not unpacked here", layer.ToString());
  TRY_ASSIGN(LayerMeta meta, Meta(layer));
  auto text = ReadFile(PathOf(layer) + "/index", uint64_t{1} << 32);
  if (!text) return PartMissing(std::move(text).error(), layer);
  if (Digest::Of(*text) != meta.index) {
    Error error = Corrupt("index of layer {} is damaged", layer.ToString());
    error.hint = "varve fsck --repair drops it";
    return error;
  }
  return text;
}

Status LocalLayerStore::ForEach(const std::function<Status(const Layer&)>& visit) {
  TRY_ASSIGN(Fd fd, sys::OpenDir(root_ + "/layers"));
  TRY_ASSIGN(auto names, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& name : names) {
    auto digest = Digest::ParseHex(name.name);
    if (!digest) continue;
    DiffId layer(*digest);
    auto meta = Meta(layer);
    auto described = meta ? Describe(layer, *meta) : Result<Layer>(Error(meta.error()));
    if (described) TRY(visit(*described));
  }
  return Ok();
}

Status LocalLayerStore::Remove(const DiffId& layer) {
  trusted_.Lock()->erase(layer);
  TRY_ASSIGN(auto away, lazy_.TakeAway(layer));
  return away ? sys::RemoveAll(*away) : Ok();
}

Status LocalLayerStore::RemoveUnused() { return lazy_.RemoveUnused(); }

// --- crashes of the machine ------------------------------------------------------------------------

Result<bool> LocalLayerStore::CheckAfterBoot(const DiffId& layer) {
  // One at a time: a check that fails must not remove what another process has just made anew.
  TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(root_ + "/staging/check.lock", sys::LockMode::kExclusive));
  auto meta = ReadMeta(PathOf(layer));
  if (FindSound(layer, meta)) return true;
  if (access(PathOf(layer).c_str(), F_OK) != 0) return false;
  METRIC("snapshot.check");
  if (meta) {
    TRY_ASSIGN(bool intact, FilesAreIntact(layer, *meta));
    if (intact) {
      // Read back after a restart, so on the disk.
      meta->boot.clear();
      TRY(WriteMeta(PathOf(layer), *meta));
      return true;
    }
  }
  LOG_WARN("layer {} is damaged, or did not survive the last stop of the machine: it is dropped", layer.ToString());
  Counter("snapshot.layers_lost").Add();
  TRY(Remove(layer));
  return false;
}

Result<bool> LocalLayerStore::FilesAreIntact(const DiffId& layer, const LayerMeta& meta) {
  auto text = ReadFile(PathOf(layer) + "/index", uint64_t{1} << 32);
  if (!text || Digest::Of(*text) != meta.index) return false;
  auto index = tree::DecodeLayerIndex(*text);
  if (!index || !SizeFits(layer, meta)) return false;
  auto implicit = ReadImplicit(PathOf(layer));
  if (!implicit || *implicit != ImplicitIn(*index)) return false;
  if (!meta.reproducible) return FitsIndex(layer, std::move(*index));
  auto listed = List(layer, {});
  if (!listed) return false;
  HashingWriter tar(nullptr);
  Status written = WriteLayerTar(*listed, tar, {});
  return written && DiffId(tar.Finish()) == layer;
}

// Nothing is missing and nothing too much, by names alone.
bool LocalLayerStore::HasAllFiles(const DiffId& layer, tree::LayerIndex index) const {
  if (!lazy_.IsLazy(layer)) {
    auto entries = WalkUpper(FilesOf(layer), {});
    std::erase_if(index, [](const tree::LayerEntry& entry) { return entry.path.IsRoot(); });
    return entries && entries->size() == index.size();
  }
  auto listed = lazy_.List(layer);
  return listed && std::ranges::all_of(listed->entries, [&](const UpperEntry& entry) {
           if (entry.index.node.type != tree::NodeType::kFile) return true;
           struct stat st;
           int root = listed->files.RootOf(entry.path);
           return fstatat(root, entry.path.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
                  static_cast<uint64_t>(st.st_size) == entry.index.node.size;
         });
}

Result<bool> LocalLayerStore::Verify(const DiffId& layer, bool quick) {
  if (access(PathOf(layer).c_str(), F_OK) != 0) {
    return NotFound("layer {} is not unpacked here", layer.ToString());
  }
  auto meta = ReadMeta(PathOf(layer));
  if (!meta) return false;
  if (!quick) return FilesAreIntact(layer, *meta);
  auto text = ReadFile(PathOf(layer) + "/index", uint64_t{1} << 32);
  if (!text || Digest::Of(*text) != meta->index || !SizeFits(layer, *meta)) return false;
  auto index = tree::DecodeLayerIndex(*text);
  return index && HasAllFiles(layer, std::move(*index));
}

// For layers whose tar cannot be made again: the files against the index. Times are not compared,
// the index has none.
Result<bool> LocalLayerStore::FitsIndex(const DiffId& layer, tree::LayerIndex index) {
  std::erase_if(index, [](const tree::LayerEntry& entry) { return entry.path.IsRoot(); });
  auto entries = WalkUpper(FilesOf(layer), {});
  if (!entries || entries->size() != index.size()) return false;
  NullWriter nowhere;
  if (!WriteUpperTar(FilesOf(layer), *entries, HashFiles::kYes, {}, nowhere, {})) return false;
  std::vector<tree::LayerEntry> found;
  for (UpperEntry& entry : *entries) found.push_back(std::move(entry.index));
  found = IndexOf(std::move(found));
  for (size_t i = 0; i < index.size(); ++i) {
    tree::LayerEntry expected = index[i];
    // The walk sees neither why a directory is there nor attributes besides capabilities.
    if (expected.implicit) expected.node.mode = found[i].node.mode;
    if (expected.implicit) expected.node.uid = found[i].node.uid;
    if (expected.implicit) expected.node.gid = found[i].node.gid;
    expected.node.xattrs = found[i].node.xattrs;
    if (expected.path != found[i].path || expected.whiteout != found[i].whiteout ||
        expected.opaque != found[i].opaque || expected.node != found[i].node) {
      return false;
    }
  }
  return true;
}

Status LocalLayerStore::Sync() {
  std::vector<DiffId> layers;
  TRY(ForEach([&](const Layer& layer) -> Status {
    layers.push_back(layer.diff_id);
    return Ok();
  }));
  TRY_ASSIGN(Fd fd, sys::OpenDir(root_));
  // Marked only what was there before the sync.
  if (syncfs(fd.get()) != 0) return ErrnoError(errno, "sync " + root_);
  for (const DiffId& layer : layers) {
    auto meta = Meta(layer);
    if (!meta || meta->boot != boot_) continue;
    meta->boot.clear();
    TRY(WriteMeta(PathOf(layer), *meta));
  }
  return Ok();
}

// --- making layers ---------------------------------------------------------------------------------

Result<std::unique_ptr<LocalLayerStore::Draft>> LocalLayerStore::MakeDraft() {
  TRY_ASSIGN(std::string path, staging_->NewPath());
  auto draft = std::make_unique<Draft>(*staging_, std::move(path));
  TRY(draft->Prepare());
  return draft;
}

Result<std::unique_ptr<LayerDraft>> LocalLayerStore::NewDraft() {
  TRY_ASSIGN(auto draft, MakeDraft());
  return std::unique_ptr<LayerDraft>(std::move(draft));
}

// What Publish writes beside the files.
struct LocalLayerStore::Contents {
  uint64_t tar_size = 0;
  size_t entries = 0;
  std::string index_begin = {};    // of the encoded index,
  std::string index_file = {};     // what follows, if not empty,
  std::vector<std::string> index;  // and the rest, in pieces
  std::vector<std::string> implicit = {};
  bool reproducible = true;
  std::vector<std::string> times = {};  // of a lazy layer
  std::optional<DiffId> rest = {};

  static Contents Of(uint64_t tar_size, const tree::LayerIndex& index, bool reproducible) {
    Contents out{.tar_size = tar_size,
                 .entries = index.size(),
                 .index = {tree::EncodeLayerIndex(index)},
                 .reproducible = reproducible};
    out.implicit = ImplicitIn(index);
    return out;
  }
};

Result<Layer> LocalLayerStore::Publish(Draft& draft, const DiffId& diff_id, const Contents& contents) {
  Layer layer{diff_id, contents.tar_size, contents.entries};
  // Steps that change nothing all make the same layer.
  TRY_ASSIGN(bool there, Has(diff_id));
  if (there) return layer;
  LayerMeta meta{
      .entries = contents.entries, .tar_size = contents.tar_size, .reproducible = contents.reproducible, .boot = boot_};
  TRY_ASSIGN(meta.index,
             WriteIndex(draft.path() + "/index", contents.index_begin, contents.index_file, contents.index));
  TRY(WriteMeta(draft.path(), meta));
  if (!contents.implicit.empty()) TRY(WriteImplicit(draft.path(), contents.implicit));
  TRY(WriteFileAtomically(draft.path() + "/size", fmt::format("{}\n", contents.tar_size)));
  TRY(draft.DropWork());
  std::optional<sys::FlockGuard> keeps_rest;
  if (contents.rest) {
    TRY(lazy_.Prepare(draft.path(), *contents.rest, contents.times));
    TRY_ASSIGN(keeps_rest, lazy_.Refer(diff_id, *contents.rest));
  }
  std::string path = PathOf(diff_id);
  while (rename(draft.path().c_str(), path.c_str()) != 0) {
    if (errno != EEXIST && errno != ENOTEMPTY) return ErrnoError(errno, "rename layer to " + path);
    // An equal layer that is there already is as good, unless it did not survive a crash; then Has
    // removes it.
    TRY_ASSIGN(bool good, Has(diff_id));
    if (good) return layer;
    // Parts of it are missing: somebody deleted files of ours. Out of the way with it.
    keeps_rest.reset();
    TRY(Remove(diff_id));
    if (contents.rest) {
      TRY_ASSIGN(keeps_rest, lazy_.Refer(diff_id, *contents.rest));
    }
  }
  draft.Release();
  trusted_.Lock()->emplace(diff_id, layer);
  static Counter made("snapshot.layers"), lazy("snapshot.lazy_layers");
  made.Add();
  lazy.Add(contents.rest ? 1 : 0);
  return layer;
}

namespace {

Status ClearNeedlessMarks(const LayerDraft& draft, std::vector<UpperEntry>& entries) {
  for (UpperEntry& entry : entries) {
    if (!entry.index.opaque) continue;
    TRY_ASSIGN(bool hides, draft.has_directory(entry.index.path));
    if (hides) continue;
    TRY(sys::RemoveXattr(draft.upper() + "/" + entry.path, OverlayXattr("opaque")));
    entry.index.opaque = false;
  }
  return Ok();
}

// From the end, so that a directory comes after all that is in it.
Status DropUnchangedDirectories(const LayerDraft& draft, std::vector<UpperEntry>& entries) {
  std::vector<UpperEntry> kept;
  kept.reserve(entries.size());
  std::set<std::string> emptied;  // what a directory was removed from, which changed its time
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    bool holds_something = !kept.empty() && kept.back().path.starts_with(entry->path + "/");
    if (entry->index.node.IsDirectory() && !entry->index.opaque && !holds_something) {
      TRY_ASSIGN(bool below, draft.is_below(entry->index.path, entry->index.node));
      // Sockets are no entries, so a directory without entries need not be empty.
      if (below && rmdir((draft.upper() + "/" + entry->path).c_str()) == 0) {
        emptied.insert(std::string(RelPath(entry->path).Parent().str()));
        continue;
      }
    }
    if (emptied.contains(entry->path)) {
      timespec times[2] = {{0, UTIME_OMIT}, {entry->mtime.nanos / 1'000'000'000, entry->mtime.nanos % 1'000'000'000}};
      std::string path = draft.upper() + "/" + entry->path;
      if (utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoError(errno, "set the times of " + path);
      }
    }
    kept.push_back(std::move(*entry));
  }
  std::ranges::reverse(kept);
  entries = std::move(kept);
  return Ok();
}

}  // namespace

Result<Layer> LocalLayerStore::Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known,
                                      const OnNamed& on_named, std::stop_token stop) {
  METRIC("snapshot.commit");
  auto& mine = static_cast<Draft&>(*draft);
  TRY_ASSIGN(auto entries, WalkUpper(mine.upper(), stop));
  if (mine.has_directory) TRY(ClearNeedlessMarks(mine, entries));
  if (mine.is_below) TRY(DropUnchangedDirectories(mine, entries));
  HashingWriter tar(nullptr);
  TRY(WriteUpperTar(mine.upper(), entries, HashFiles::kYes, known, tar, stop));
  std::vector<tree::LayerEntry> index;
  index.reserve(entries.size());
  for (UpperEntry& entry : entries) index.push_back(std::move(entry.index));
  entries = {};
  uint64_t size = tar.size();
  DiffId diff_id(tar.Finish());
  if (on_named) TRY(on_named(diff_id));
  return Publish(mine, diff_id, Contents::Of(size, IndexOf(std::move(index)), true));
}

Result<Layer> LocalLayerStore::CommitWritten(std::unique_ptr<LayerDraft> draft, WrittenLayer written,
                                             const OnNamed& on_named) {
  METRIC("snapshot.commit_written");
  if (on_named) TRY(on_named(written.diff_id));
  return Publish(static_cast<Draft&>(*draft), written.diff_id,
                 {.tar_size = written.tar_size,
                  .entries = written.entries,
                  .index_begin = tree::LayerIndexHeader(written.entries),
                  .index_file = std::move(written.index_file),
                  .index = std::move(written.index),
                  .times = std::move(written.times),
                  .rest = written.rest});
}

Result<Layer> LocalLayerStore::Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                                      std::stop_token stop) {
  METRIC("snapshot.unpack");
  TRY_ASSIGN(bool here, Has(expected));
  if (here) return Stat(expected);
  TRY_ASSIGN(auto draft, MakeDraft());
  UnpackedLayer unpacked;
  ReadAhead stream(tar);
  TRY_ASSIGN(unpacked, UnpackInto(draft->upper(), *this, below, stream, stop));
  DiffId actual(stream.Finish());
  if (actual != expected) {
    return Corrupt("layer has diff id {}, not {}", actual.ToString(), expected.ToString());
  }
  return Publish(*draft, expected, Contents::Of(stream.size(), unpacked.index, unpacked.reproducible));
}

Status LocalLayerStore::WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) {
  METRIC("snapshot.write_tar");
  TRY_ASSIGN(bool reproducible, Reproducible(layer));
  if (!reproducible) {
    Error error = Invalid(
        "the tar of layer {} cannot be made from its files: another program wrote it "
        "in another form",
        layer.ToString());
    error.hint = "use the blob in which the layer came";
    return error;
  }
  auto listed = List(layer, stop);
  if (!listed) return PartMissing(std::move(listed).error(), layer);
  HashingWriter hash(nullptr);
  BackgroundWriter hashing(hash);
  TeeWriter both(out, hashing);
  Status written = WriteLayerTar(*listed, both, stop);
  if (!written) return PartMissing(std::move(written).error(), layer);
  TRY(hashing.Finish());
  if (DiffId(hash.Finish()) == layer) return Ok();
  Error error = Corrupt("the files of layer {} changed on disk: they give another tar now", layer.ToString());
  error.hint = "varve fsck --repair removes it; the next build makes or pulls it again";
  return error;
}

}  // namespace varve::snapshot
