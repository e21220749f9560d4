#include "exec/layer_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>

#include "exec/destination.h"
#include "exec/needed_layers.h"
#include "snapshot/upper_walk.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::exec {

namespace {

using tree::Node;
using tree::NodeType;

NodeType TypeOf(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return NodeType::kDirectory;
    case S_IFLNK:
      return NodeType::kSymlink;
    case S_IFCHR:
      return NodeType::kCharDevice;
    case S_IFBLK:
      return NodeType::kBlockDevice;
    case S_IFIFO:
      return NodeType::kFifo;
    case S_IFSOCK:
      return NodeType::kSocket;
    default:
      return NodeType::kFile;
  }
}

bool IsWhiteout(const struct stat& st) { return S_ISCHR(st.st_mode) && st.st_rdev == 0; }

constexpr const char* kOpaqueNames[] = {"trusted.overlay.opaque", "user.overlay.opaque"};

bool IsOpaque(int fd) {
  for (const char* name : kOpaqueNames) {
    char value = 0;
    if (fgetxattr(fd, name, &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

Error At(const RelPath& path, const char* call) {
  return ErrnoError(errno, fmt::format("{} {}", call, path.Absolute()));
}

}  // namespace

timespec ToTimespec(Timestamp time) {
  int64_t seconds = time.seconds();
  return {seconds, time.nanos - seconds * 1'000'000'000};
}

Status ApplyAttributes(int fd, const Attributes& attributes, Owned owned) {
  // Owner first: chown clears the setuid bits that chmod sets.
  if (owned == Owned::kUnknown && fchown(fd, attributes.uid, attributes.gid) != 0) {
    return sys::OwnerError(errno, "chown", attributes.uid, attributes.gid);
  }
  if (fchmod(fd, attributes.mode & 07777) != 0) return ErrnoError(errno, "chmod");
  for (const auto& [name, value] : attributes.xattrs) TRY(sys::SetXattr(fd, name, value));
  if (attributes.mtime) {
    timespec times[2] = {ToTimespec(*attributes.mtime), ToTimespec(*attributes.mtime)};
    if (futimens(fd, times) != 0) return ErrnoError(errno, "utimens");
  }
  return Ok();
}

Status About(const RelPath& path, Status status) {
  if (status) return status;
  return Error(std::move(status).error()).With(path.Absolute());
}

LayerWriter::LayerWriter(snapshot::LayerStore& layers, tree::TreeStore& trees, const cache::Rootfs& base,
                         snapshot::LayerDraft& draft, NeededLayers* below)
    : layers_(layers), trees_(trees), base_(base),
      base_root_(base.tree_root.empty() ? tree::EmptyTree() : base.tree_root), upper_(draft.upper()),
      upper_fd_(open(draft.upper().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)), below_(below) {}

Result<std::optional<Node>> LayerWriter::LookupUpper(const RelPath& path, bool* hidden) {
  *hidden = false;
  RelPath at;
  Fd directory(dup(upper_fd_.get()));
  for (std::string_view part : path.Parts()) {
    at = at.Join(part);
    std::string name(part);
    struct stat st;
    if (fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return std::optional<Node>();
      return At(at, "stat");
    }
    if (IsWhiteout(st)) {
      *hidden = true;
      return std::optional<Node>();
    }
    if (at == path) {
      Node node{
          .name = name, .type = TypeOf(st.st_mode), .mode = st.st_mode & 07777, .uid = st.st_uid, .gid = st.st_gid};
      if (node.type == NodeType::kSymlink) {
        TRY_ASSIGN(node.target, sys::ReadLink(directory.get(), name));
      }
      return std::optional<Node>(std::move(node));
    }
    if (!S_ISDIR(st.st_mode)) {
      *hidden = true;
      return std::optional<Node>();
    }
    Fd next(openat(directory.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) return At(at, "open");
    *hidden = *hidden || IsOpaque(next.get());
    directory = std::move(next);
  }
  return std::optional<Node>(Node{.type = NodeType::kDirectory, .mode = 0755});
}

Result<std::optional<Node>> LayerWriter::Lookup(const RelPath& path) {
  bool hidden = false;
  TRY_ASSIGN(auto upper, LookupUpper(path, &hidden));
  if (upper || hidden) return upper;
  return tree::Lookup(trees_, base_root_, path);
}

Result<RelPath> LayerWriter::Resolve(const RelPath& path, bool follow_last) {
  return FollowLinks(path, follow_last, [this](const RelPath& at) { return Lookup(at); });
}

Result<std::optional<Timestamp>> LayerWriter::BaseTime(const RelPath& path) const {
  if (below_ != nullptr) {
    if (auto known = below_->KnownTime(path)) return known;
  }
  for (size_t n = base_.layers.size(); n-- > 0;) {
    if (below_ != nullptr) {
      TRY_ASSIGN(bool here, below_->Bring(n, path));
      if (!here) continue;
    }
    auto found = layers_.Find(base_.layers[n], path);
    if (found && *found && (*found)->type == NodeType::kDirectory) return std::optional((*found)->mtime);
  }
  return std::optional<Timestamp>();
}

Status LayerWriter::CopyUpDirectory(const RelPath& path, const Node& node) {
  std::string host = upper_ + path.Absolute();
  if (mkdir(host.c_str(), 0700) != 0) return At(path, "mkdir");
  Attributes attributes{.mode = node.mode, .uid = node.uid, .gid = node.gid, .xattrs = node.xattrs};
  TRY_ASSIGN(attributes.mtime, BaseTime(path));
  if (attributes.mtime) base_times_[path] = *attributes.mtime;
  return SetDirectory(path, attributes);
}

Result<Fd> LayerWriter::Directory(const RelPath& path, const Attributes& missing, DirectoryState* state) {
  RelPath at;
  auto tell = [&](DirectoryState what) {
    if (state != nullptr && at == path) *state = what;
  };
  tell(DirectoryState::kWasWritten);
  for (std::string_view part : path.Parts()) {
    at = at.Join(part);
    bool hidden = false;
    TRY_ASSIGN(auto upper, LookupUpper(at, &hidden));
    if (upper) {
      if (!upper->IsDirectory()) return Invalid("mkdir {}: not a directory", at.Absolute());
      tell(DirectoryState::kWasWritten);
      continue;
    }
    std::optional<Node> below;
    if (!hidden) {
      TRY_ASSIGN(below, tree::Lookup(trees_, base_root_, at));
    }
    if (below && !below->IsDirectory()) return Invalid("mkdir {}: not a directory", at.Absolute());
    if (below) {
      TRY(CopyUpDirectory(at, *below));
      tell(DirectoryState::kCopiedUp);
      continue;
    }
    std::string host = upper_ + at.Absolute();
    // A whiteout of ours: what was removed before becomes an opaque directory.
    struct stat st;
    bool was_removed = lstat(host.c_str(), &st) == 0 && IsWhiteout(st);
    if (was_removed && unlink(host.c_str()) != 0) return At(at, "unlink");
    if (mkdir(host.c_str(), 0700) != 0) return At(at, "mkdir");
    if (was_removed) {
      TRY_ASSIGN(auto removed, tree::Lookup(trees_, base_root_, at));
      bool shows = removed && removed->IsDirectory();
      if (shows) TRY(sys::SetXattr(host, snapshot::OverlayXattr("opaque"), "y"));
    }
    TRY(SetDirectory(at, missing));
    tell(DirectoryState::kMade);
  }
  if (path.IsRoot()) return Fd(dup(upper_fd_.get()));
  return OpenFile(upper_ + path.Absolute(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

std::optional<Timestamp> LayerWriter::TimeOf(const RelPath& directory) const {
  auto it = directory_times_.find(directory);
  return it == directory_times_.end() ? std::nullopt : std::optional(it->second);
}

Result<std::shared_ptr<const tree::Directory>> LayerWriter::BaseDirectory(const RelPath& path) {
  TRY_ASSIGN(auto node, tree::Lookup(trees_, base_root_, path));
  if (path.IsRoot()) return trees_.Get(base_root_);
  if (!node || !node->IsDirectory()) return std::shared_ptr<const tree::Directory>();
  return trees_.Get(node->digest);
}

Status LayerWriter::SetDirectory(const RelPath& path, const Attributes& attributes) {
  TRY_ASSIGN(Fd fd, OpenFile(upper_ + path.Absolute(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  Attributes now = attributes;
  now.mtime.reset();
  TRY(About(path, ApplyAttributes(fd.get(), now)));
  if (attributes.mtime) directory_times_[path] = *attributes.mtime;
  return Ok();
}

Status LayerWriter::ClearForFile(const RelPath& path) {
  TRY_ASSIGN(auto node, Lookup(path));
  if (node && node->IsDirectory()) {
    return Invalid("cannot replace to directory {} with file", path.Absolute());
  }
  if (unlinkat(upper_fd_.get(), path.str().c_str(), 0) != 0 && errno != ENOENT) {
    return At(path, "unlink");
  }
  return Ok();
}

Status LayerWriter::PutFile(const RelPath& path, const Attributes& attributes, int source) {
  TRY_ASSIGN(Fd fd, OpenFile(upper_ + path.Absolute(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  auto copied = sys::CopyFileContents(source, fd.get());
  if (!copied) return Error(std::move(copied).error()).With("copy " + path.Absolute());
  return About(path, ApplyAttributes(fd.get(), attributes));
}

Status LayerWriter::PutText(const RelPath& path, const Attributes& attributes, std::string_view text) {
  StringReader content(text);
  return PutContent(path, attributes, content);
}

Status LayerWriter::PutContent(const RelPath& path, const Attributes& attributes, Reader& content) {
  TRY_ASSIGN(Fd fd, OpenFile(upper_ + path.Absolute(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  FdWriter file(fd.get());
  TRY(Copy(content, file));
  return About(path, ApplyAttributes(fd.get(), attributes));
}

Status LayerWriter::PutSymlink(const RelPath& path, const Attributes& attributes, const std::string& target) {
  std::string host = upper_ + path.Absolute();
  if (symlink(target.c_str(), host.c_str()) != 0) return At(path, "symlink");
  if (lchown(host.c_str(), attributes.uid, attributes.gid) != 0) {
    return sys::OwnerError(errno, "chown " + path.Absolute(), attributes.uid, attributes.gid);
  }
  if (attributes.mtime) {
    timespec times[2] = {ToTimespec(*attributes.mtime), ToTimespec(*attributes.mtime)};
    if (utimensat(AT_FDCWD, host.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return At(path, "utimens");
  }
  return Ok();
}

Status LayerWriter::PutDevice(const RelPath& path, const Attributes& attributes, NodeType type, uint64_t rdev) {
  std::string host = upper_ + path.Absolute();
  mode_t kind = type == NodeType::kCharDevice ? S_IFCHR : type == NodeType::kBlockDevice ? S_IFBLK : S_IFIFO;
  dev_t device = makedev(static_cast<unsigned>(rdev >> 32), static_cast<unsigned>(rdev));
  if (kind == S_IFCHR && device == 0) {
    return Invalid("{} is a 0:0 character device, which layers use to mark a removed file", path.Absolute());
  }
  if (mknod(host.c_str(), kind | 0600, kind == S_IFIFO ? 0 : device) != 0) return At(path, "mknod");
  if (lchown(host.c_str(), attributes.uid, attributes.gid) != 0) {
    return sys::OwnerError(errno, "chown " + path.Absolute(), attributes.uid, attributes.gid);
  }
  if (chmod(host.c_str(), attributes.mode & 07777) != 0) return At(path, "chmod");
  if (attributes.mtime) {
    timespec times[2] = {ToTimespec(*attributes.mtime), ToTimespec(*attributes.mtime)};
    if (utimensat(AT_FDCWD, host.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return At(path, "utimens");
  }
  return Ok();
}

Status LayerWriter::PutHardLink(const RelPath& path, const RelPath& existing) {
  if (linkat(upper_fd_.get(), existing.str().c_str(), upper_fd_.get(), path.str().c_str(), 0) != 0) {
    return At(path, "link");
  }
  return Ok();
}

Result<bool> LayerWriter::Remove(const RelPath& path) {
  if (path.IsRoot()) return Invalid("the root directory cannot be removed");
  TRY_ASSIGN(auto node, Lookup(path));
  if (!node) return false;
  TRY(sys::RemoveAll(upper_ + path.Absolute()));
  std::erase_if(directory_times_, [&](const auto& entry) { return entry.first.IsWithin(path); });
  bool hidden = false;
  TRY_ASSIGN(auto upper, LookupUpper(path, &hidden));
  TRY_ASSIGN(auto below, tree::Lookup(trees_, base_root_, path));
  if (hidden || !below) return true;
  TRY_ASSIGN(Fd parent, Directory(path.Parent(), Attributes{}));
  std::string name(path.Name());
  if (mknodat(parent.get(), name.c_str(), S_IFCHR, 0) != 0) return At(path, "whiteout");
  return true;
}

Status LayerWriter::Finish() {
  // Children before parents is not needed: setting a time does not touch the parent's.
  for (const auto& [path, time] : directory_times_) {
    timespec times[2] = {ToTimespec(time), ToTimespec(time)};
    if (utimensat(AT_FDCWD, (upper_ + path.Absolute()).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return At(path, "utimens");
    }
  }
  return Ok();
}

Result<std::optional<std::string>> ReadFileOf(snapshot::LayerStore& layers, tree::TreeStore& trees,
                                              const cache::Rootfs& rootfs, const RelPath& path, uint64_t limit,
                                              NeededLayers* below) {
  const Digest root = rootfs.tree_root.empty() ? tree::EmptyTree() : rootfs.tree_root;
  TRY_ASSIGN(RelPath resolved, tree::ResolveLinks(trees, root, path, true));
  TRY_ASSIGN(auto node, tree::Lookup(trees, root, resolved));
  if (!node || node->type != NodeType::kFile) return std::optional<std::string>();
  // The tree says that it exists, so the topmost layer that has it is the one that shows.
  for (size_t n = rootfs.layers.size(); n-- > 0;) {
    if (below != nullptr) {
      TRY_ASSIGN(bool here, below->Bring(n, resolved));
      if (!here) continue;
    }
    TRY_ASSIGN(auto found, layers.Find(rootfs.layers[n], resolved));
    if (!found || found->type != NodeType::kFile) continue;
    TRY_ASSIGN(snapshot::LayerFiles files, layers.Files(rootfs.layers[n]));
    auto fd = sys::OpenInRoot(files.RootOf(resolved.str()), resolved, O_RDONLY | O_NONBLOCK, 0, {.no_symlinks = true});
    if (!fd) continue;
    FdReader reader(fd->get());
    TRY_ASSIGN(std::string text, ReadAll(reader, limit));
    return std::optional<std::string>(std::move(text));
  }
  return Corrupt("{} is in the tree, but in none of its layers", resolved.Absolute());
}

}  // namespace varve::exec
