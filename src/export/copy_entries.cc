#include "export/copy_entries.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <ranges>
#include <string_view>

#include "base/fd.h"
#include "base/thread_pool.h"
#include "snapshot/file_writer.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/xattrs.h"

namespace varve::exporter {

namespace {

using snapshot::UpperEntry;
using tree::NodeType;

constexpr size_t kBatch = 32;  // entries of one directory

std::string_view ParentOf(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view() : path.substr(0, slash);
}

std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Error InTheWay(const std::string& path, std::string_view what) {
  Error error = Invalid("{} is there already, as {}", path, what);
  error.hint = "remove it, or write to another directory";
  return error;
}

mode_t TypeOf(NodeType type) {
  return type == NodeType::kFifo ? S_IFIFO : type == NodeType::kBlockDevice ? S_IFBLK : S_IFCHR;
}

timespec TimeOf(Timestamp time) {
  int64_t seconds = time.seconds();
  return {seconds, time.nanos - seconds * 1'000'000'000};
}

// Without root, whoever copies owns the copy, and what its owner's rights would be is nobody's.
bool IsLeftOut(int error) { return geteuid() != 0 && (error == EPERM || error == EINVAL); }

Status CopyAttributes(int from, int to, tree::Node node, Timestamp mtime, const std::string& path) {
  TRY_ASSIGN(auto names, sys::ListXattrs(from));
  node.xattrs.clear();
  for (const std::string& name : names) {
    if (snapshot::IsOverlayXattr(name)) continue;
    TRY_ASSIGN(auto value, sys::GetXattr(from, name));
    if (value) node.xattrs.emplace_back(name, std::move(*value));
  }
  if (fchown(to, node.uid, node.gid) != 0 && IsLeftOut(errno)) {
    node.uid = geteuid(), node.gid = getegid();
    node.mode &= 0777;
  }
  return snapshot::SetAttributes(to, node, mtime, path);
}

class Copy {
 public:
  Copy(Fd from, Fd to, const std::vector<UpperEntry>& entries, std::stop_token stop)
      : from_(std::move(from)), to_(std::move(to)), entries_(entries), stop_(std::move(stop)) {}

  Status All() {
    for (const UpperEntry& entry : entries_) {  // parents come first
      if (entry.index.node.IsDirectory()) TRY(MakeDirectory(entry));
    }
    std::vector<std::vector<const UpperEntry*>> batches = Batches();
    TRY(ParallelFor(batches.size(), CpuCount(), [&](size_t i) { return CopyBatch(batches[i]); }));
    for (const UpperEntry& entry : entries_) {
      if (!entry.hard_link_to.empty()) TRY(Link(entry));
    }
    // Last, and children before parents: each new entry changes its directory's time.
    for (const UpperEntry& entry : std::views::reverse(entries_)) {
      if (entry.index.node.IsDirectory()) TRY(FinishDirectory(entry.path, entry.index.node, entry.mtime));
    }
    return FinishTop();
  }

 private:
  Result<Fd> Directory(const Fd& root, std::string_view path) {
    return sys::OpenInRoot(root.get(), RelPath(path), O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true});
  }

  Status MakeDirectory(const UpperEntry& entry) {
    TRY_ASSIGN(Fd parent, Directory(to_, ParentOf(entry.path)));
    std::string name = NameOf(entry.path);
    if (mkdirat(parent.get(), name.c_str(), 0700) == 0) return Ok();
    if (errno != EEXIST) return ErrnoError(errno, "make " + entry.path);
    struct stat st;
    if (fstatat(parent.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "stat " + entry.path);
    return S_ISDIR(st.st_mode) ? Ok() : Status(InTheWay(entry.path, "no directory"));
  }

  // Of entries that stand by themselves, each of one directory.
  std::vector<std::vector<const UpperEntry*>> Batches() const {
    std::vector<std::vector<const UpperEntry*>> batches;
    for (const UpperEntry& entry : entries_) {
      if (entry.index.node.IsDirectory() || !entry.hard_link_to.empty()) continue;
      bool joins = !batches.empty() && batches.back().size() < kBatch &&
                   ParentOf(batches.back()[0]->path) == ParentOf(entry.path);
      if (!joins) batches.emplace_back();
      batches.back().push_back(&entry);
    }
    return batches;
  }

  Status CopyBatch(const std::vector<const UpperEntry*>& batch) {
    TRY_ASSIGN(Fd from, Directory(from_, ParentOf(batch[0]->path)));
    TRY_ASSIGN(Fd to, Directory(to_, ParentOf(batch[0]->path)));
    for (const UpperEntry* entry : batch) {
      if (stop_.stop_requested()) return Cancelled("writing the files was cancelled");
      TRY(ClearTheWay(to.get(), *entry));
      TRY(entry->index.node.type == NodeType::kFile ? CopyFile(from.get(), to.get(), *entry)
                                                    : Make(from.get(), to.get(), *entry));
    }
    return Ok();
  }

  Status ClearTheWay(int to, const UpperEntry& entry) {
    if (unlinkat(to, NameOf(entry.path).c_str(), 0) == 0 || errno == ENOENT) return Ok();
    if (errno == EISDIR) return InTheWay(entry.path, "a directory");
    return ErrnoError(errno, "replace " + entry.path);
  }

  Status CopyFile(int from, int to, const UpperEntry& entry) {
    std::string name = NameOf(entry.path);
    Fd source(openat(from, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!source) return ErrnoError(errno, "open " + entry.path);
    Fd target(openat(to, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!target) return ErrnoError(errno, "create " + entry.path);
    TRY(sys::CopyFileContents(source.get(), target.get()));
    return CopyAttributes(source.get(), target.get(), entry.index.node, entry.mtime, entry.path);
  }

  // A symlink, a pipe or a device.
  Status Make(int from, int to, const UpperEntry& entry) {
    std::string name = NameOf(entry.path);
    const tree::Node& node = entry.index.node;
    if (node.type == NodeType::kSymlink) {
      TRY_ASSIGN(std::string target, sys::ReadLink(from, name));
      if (symlinkat(target.c_str(), to, name.c_str()) != 0) return ErrnoError(errno, "link " + entry.path);
    } else {
      dev_t device = makedev(static_cast<unsigned>(node.rdev >> 32), static_cast<unsigned>(node.rdev));
      if (mknodat(to, name.c_str(), TypeOf(node.type) | 0600, device) != 0)
        return ErrnoError(errno, "make " + entry.path);
    }
    if (fchownat(to, name.c_str(), node.uid, node.gid, AT_SYMLINK_NOFOLLOW) != 0 && !IsLeftOut(errno)) {
      return ErrnoError(errno, "chown " + entry.path);
    }
    if (node.type != NodeType::kSymlink && fchmodat(to, name.c_str(), node.mode, 0) != 0) {
      return ErrnoError(errno, "chmod " + entry.path);
    }
    timespec times[2] = {TimeOf(entry.mtime), TimeOf(entry.mtime)};
    if (utimensat(to, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
      return ErrnoError(errno, "set the time of " + entry.path);
    return Ok();
  }

  Status Link(const UpperEntry& entry) {
    TRY_ASSIGN(Fd first, Directory(to_, ParentOf(entry.hard_link_to)));
    TRY_ASSIGN(Fd to, Directory(to_, ParentOf(entry.path)));
    TRY(ClearTheWay(to.get(), entry));
    if (linkat(first.get(), NameOf(entry.hard_link_to).c_str(), to.get(), NameOf(entry.path).c_str(), 0) == 0)
      return Ok();
    return ErrnoError(errno, "link " + entry.path);
  }

  Status FinishDirectory(const std::string& path, const tree::Node& node, Timestamp mtime) {
    TRY_ASSIGN(Fd from, Directory(from_, path));
    TRY_ASSIGN(Fd to, Directory(to_, path));
    return CopyAttributes(from.get(), to.get(), node, mtime, path);
  }

  Status FinishTop() {
    struct stat st;
    if (fstat(from_.get(), &st) != 0) return ErrnoError(errno, "stat the result");
    tree::Node top{.type = NodeType::kDirectory, .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid};
    return CopyAttributes(from_.get(), to_.get(), top, {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec},
                          "the top");
  }

  const Fd from_, to_;
  const std::vector<UpperEntry>& entries_;
  const std::stop_token stop_;
};

}  // namespace

Status CopyEntries(const std::string& from, const std::vector<UpperEntry>& entries, const std::string& to,
                   std::stop_token stop) {
  TRY_ASSIGN(Fd source, sys::OpenDir(from));
  TRY_ASSIGN(Fd target, sys::OpenDir(to));
  return Copy(std::move(source), std::move(target), entries, std::move(stop)).All();
}

}  // namespace varve::exporter
