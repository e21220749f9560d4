// A layer's tar onto the disk, in overlay form.
//
// A layer is unpacked alone, not into the stack that it belongs to, so that equal layers of different
// images are one. What the stack decides is decided by looking into the layers below: a parent that
// the tar does not list takes its attributes from there, and a name whose parent is a symlink there
// (lib/x where the base has lib -> usr/lib) lands where that link leads. The same layer on another
// base could need another answer; for layers made from a file system, as all builders make them, the
// answers are equal, since they list real paths and all changed parents.
//
// Hostile names: ".." is refused; everything else is resolved below the layer's own directory, by
// descriptors, part by part.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strings.h"
#include "snapshot/local_layer_store.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

using archive::EntryType;
using archive::TarEntry;
using tree::LayerEntry;
using tree::NodeType;

constexpr int kMaxLinks = 255;

timespec ToTimespec(Timestamp t) {
  return {t.seconds(), t.nanos - t.seconds() * 1'000'000'000};
}

NodeType NodeTypeOf(EntryType type) {
  switch (type) {
    case EntryType::kDirectory: return NodeType::kDirectory;
    case EntryType::kSymlink: return NodeType::kSymlink;
    case EntryType::kCharDevice: return NodeType::kCharDevice;
    case EntryType::kBlockDevice: return NodeType::kBlockDevice;
    case EntryType::kFifo: return NodeType::kFifo;
    default: return NodeType::kFile;
  }
}

class Unpacker {
 public:
  Unpacker(Fd root, LayerStore& store, const std::vector<DiffId>& below) : root_(std::move(root)) {
    for (auto layer = below.rbegin(); layer != below.rend(); ++layer) {
      below_.push_back(store.Directory(*layer));
    }
  }

  Status Add(const TarEntry& entry, Reader& content) {
    for (const std::string& part : Split(entry.name, '/')) {
      if (part == "..") {
        Error error = Invalid("layer entry \"{}\" leaves the root", entry.name);
        error.hint = "the image is broken or hostile: do not use it";
        return error;
      }
    }
    RelPath path(entry.name);
    if (path.IsRoot()) return Ok();
    TRY_ASSIGN(RelPath parent, EnterParent(path.Parent()));
    std::string name(path.Name());
    if (name.starts_with(kWhiteoutPrefix)) return Whiteout(parent, name);
    return Place(parent, name, entry, content);
  }

  Status Finish() {
    for (const auto& [path, time] : times_) {
      timespec times[2] = {ToTimespec(time), ToTimespec(time)};
      if (utimensat(root_.get(), path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoError(errno, "set time of " + path);
      }
    }
    return Ok();
  }

  tree::LayerIndex TakeIndex() {
    tree::LayerIndex out;
    for (LayerEntry& entry : index_) {
      if (!entry.path.IsRoot()) out.push_back(std::move(entry));
    }
    return out;
  }

 private:
  // --- Parents -------------------------------------------------------------------------------------

  // What the stack has below at `path`: nothing when no layer has it, or the topmost one removes it.
  std::optional<std::pair<std::string, struct stat>> FindBelow(const RelPath& path) const {
    for (const std::string& directory : below_) {
      std::string file = directory + path.Absolute();
      struct stat st;
      if (lstat(file.c_str(), &st) != 0) continue;
      if (S_ISCHR(st.st_mode) && st.st_rdev == 0) return {};
      return std::pair(file, st);
    }
    return {};
  }

  // The real path of a directory inside of the layer, made if it is not there. Leaves its descriptor
  // in parent_.
  Result<RelPath> EnterParent(const RelPath& wanted) {
    if (parent_ && wanted == parent_wanted_) return parent_path_;
    RelPath done;
    std::string rest = wanted.str();
    Fd at(openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (int links = 0; !rest.empty();) {
      size_t slash = rest.find('/');
      std::string part = rest.substr(0, slash);
      rest = slash == rest.npos ? "" : rest.substr(slash + 1);
      if (part.empty() || part == ".") continue;
      RelPath next = done.Join(part);
      struct stat st;
      bool here = part != ".." && fstatat(at.get(), part.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
      std::string target;
      if (part == "..") {
        target = "/" + next.str();
      } else if (here && S_ISLNK(st.st_mode)) {
        TRY_ASSIGN(target, sys::ReadLink(at.get(), part));
      } else if (!here) {
        auto below = FindBelow(next);
        if (below && S_ISLNK(below->second.st_mode)) {
          TRY_ASSIGN(target, sys::ReadLink(AT_FDCWD, below->first));
        } else {
          TRY(MakeImplicit(at.get(), part, next, below ? &below->second : nullptr));
        }
      } else if (!S_ISDIR(st.st_mode)) {
        // A file where a later entry has a directory: the later one wins, as everywhere in a tar.
        TRY(RemoveAt(at.get(), part, next));
        TRY(MakeImplicit(at.get(), part, next, nullptr));
      }
      if (!target.empty()) {
        if (++links > kMaxLinks) return Invalid("too many symbolic links in {}", wanted.str());
        if (target.starts_with('/')) done = RelPath();
        rest = rest.empty() ? target : target + "/" + rest;
        TRY_ASSIGN(at, done.IsRoot() ? Fd(openat(root_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
                                     : sys::OpenDirNoFollow(root_.get(), done));
        continue;
      }
      Fd child(openat(at.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!child) return ErrnoError(errno, "open " + next.str());
      at = std::move(child);
      done = next;
    }
    parent_ = std::move(at);
    parent_wanted_ = wanted;
    parent_path_ = done;
    return done;
  }

  Status MakeImplicit(int at, const std::string& name, const RelPath& path, const struct stat* below) {
    if (mkdirat(at, name.c_str(), 0755) != 0) return ErrnoError(errno, "mkdir " + path.str());
    LayerEntry entry{.path = path, .implicit = true};
    entry.node.type = NodeType::kDirectory;
    entry.node.mode = 0755;
    if (below != nullptr && S_ISDIR(below->st_mode)) {
      entry.node.mode = below->st_mode & 07777;
      entry.node.uid = below->st_uid;
      entry.node.gid = below->st_gid;
      if (fchownat(at, name.c_str(), below->st_uid, below->st_gid, AT_SYMLINK_NOFOLLOW) != 0 ||
          fchmodat(at, name.c_str(), below->st_mode & 07777, 0) != 0) {
        return ErrnoError(errno, "attributes of " + path.str());
      }
      times_[path.str()] = {below->st_mtim.tv_sec * 1'000'000'000 + below->st_mtim.tv_nsec};
    }
    Record(std::move(entry));
    return Ok();
  }

  // --- Entries -------------------------------------------------------------------------------------

  void Record(LayerEntry entry) {
    auto [it, is_new] = positions_.emplace(entry.path.str(), index_.size());
    if (is_new) {
      index_.push_back(std::move(entry));
    } else {
      entry.opaque = entry.opaque || (index_[it->second].opaque && entry.node.IsDirectory());
      index_[it->second] = std::move(entry);
    }
  }

  Status RemoveAt(int at, const std::string& name, const RelPath& path) {
    TRY(sys::RemoveAllAt(at, name));
    for (auto it = positions_.lower_bound(path.str()); it != positions_.end();) {
      if (!RelPath(it->first).IsWithin(path)) {
        if (!it->first.starts_with(path.str())) break;
        ++it;
        continue;
      }
      index_[it->second] = LayerEntry();  // dropped by TakeIndex
      times_.erase(it->first);
      it = positions_.erase(it);
    }
    return Ok();
  }

  Status Whiteout(const RelPath& parent, const std::string& name) {
    if (name == kOpaqueName) {
      TRY(sys::SetXattr(parent_.get(), OverlayXattr("opaque"), "y"));
      auto it = positions_.find(parent.str());
      if (it != positions_.end()) index_[it->second].opaque = true;
      return Ok();
    }
    if (name.starts_with(".wh..wh.")) return Ok();  // AUFS's own (image-spec layer.md)
    std::string hidden = name.substr(kWhiteoutPrefix.size());
    if (hidden.empty() || hidden == "." || hidden == "..") {
      return Invalid("layer entry \"{}\" is no valid whiteout", name);
    }
    RelPath path = parent.Join(hidden);
    struct stat st;
    if (fstatat(parent_.get(), hidden.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
      // Whiteouts speak of lower layers only; what this layer has stays (image-spec layer.md).
      if (S_ISDIR(st.st_mode)) {
        TRY_ASSIGN(Fd fd, sys::OpenDirNoFollow(parent_.get(), RelPath(hidden)));
        TRY(sys::SetXattr(fd.get(), OverlayXattr("opaque"), "y"));
        if (auto it = positions_.find(path.str()); it != positions_.end()) {
          index_[it->second].opaque = true;
        }
      }
      return Ok();
    }
    if (mknodat(parent_.get(), hidden.c_str(), S_IFCHR, 0) != 0) {
      return ErrnoError(errno, "whiteout " + path.str());
    }
    Record({.path = path, .whiteout = true});
    return Ok();
  }

  Status Place(const RelPath& parent, const std::string& name, const TarEntry& entry,
               Reader& content) {
    RelPath path = parent.Join(name);
    struct stat st;
    bool existed = fstatat(parent_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool both_directories = existed && S_ISDIR(st.st_mode) && entry.type == EntryType::kDirectory;
    bool was_whiteout = existed && S_ISCHR(st.st_mode) && st.st_rdev == 0;
    if (existed && !both_directories) {
      TRY(RemoveAt(parent_.get(), name, path));
      if (parent_wanted_.IsWithin(path)) parent_.Reset();
    }
    LayerEntry made{.path = path};
    made.node = {.type = NodeTypeOf(entry.type), .mode = entry.mode & 07777,
                 .uid = static_cast<uint32_t>(entry.uid), .gid = static_cast<uint32_t>(entry.gid)};
    switch (entry.type) {
      case EntryType::kFile: TRY(WriteFile(name, entry, content, made)); break;
      case EntryType::kHardLink: return Link(path, name, entry);
      case EntryType::kDirectory:
        if (!both_directories && mkdirat(parent_.get(), name.c_str(), 0700) != 0) {
          return ErrnoError(errno, "mkdir " + path.str());
        }
        if (was_whiteout) {
          TRY_ASSIGN(Fd fd, sys::OpenDirNoFollow(parent_.get(), RelPath(name)));
          TRY(sys::SetXattr(fd.get(), OverlayXattr("opaque"), "y"));
          made.opaque = true;
        }
        times_[path.str()] = entry.mtime;
        break;
      case EntryType::kSymlink:
        made.node.target = entry.link;
        made.node.mode = 0777;
        if (symlinkat(entry.link.c_str(), parent_.get(), name.c_str()) != 0) {
          return ErrnoError(errno, "symlink " + path.str());
        }
        break;
      default:
        if (entry.type == EntryType::kCharDevice && entry.major == 0 && entry.minor == 0) {
          LOG_WARN("layer entry {} is a 0:0 device, which means a removed file here; left out",
                   entry.name);
          return Ok();
        }
        made.node.rdev = entry.type == EntryType::kFifo ? 0 : uint64_t{entry.major} << 32 | entry.minor;
        TRY(MakeNode(name, path, entry));
    }
    TRY(SetAttributes(name, path, entry, made));
    Record(std::move(made));
    return Ok();
  }

  Status WriteFile(const std::string& name, const TarEntry& entry, Reader& content, LayerEntry& made) {
    Fd fd(openat(parent_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return ErrnoError(errno, "create " + entry.name);
    FdWriter file(fd.get());
    HashingWriter hash(&file);
    TRY(Copy(content, hash));
    made.node.size = hash.size();
    made.node.digest = hash.Finish();
    return Ok();
  }

  Status MakeNode(const std::string& name, const RelPath& path, const TarEntry& entry) {
    mode_t kind = entry.type == EntryType::kCharDevice    ? S_IFCHR
                  : entry.type == EntryType::kBlockDevice ? S_IFBLK
                                                          : S_IFIFO;
    dev_t device = kind == S_IFIFO ? 0 : makedev(entry.major, entry.minor);
    if (mknodat(parent_.get(), name.c_str(), kind | 0600, device) != 0) {
      Error error = ErrnoError(errno, "mknod " + path.str());
      if (errno == EPERM) error.hint = "device nodes need root: run varve as root for this image";
      return error;
    }
    return Ok();
  }

  Status Link(const RelPath& path, const std::string& name, const TarEntry& entry) {
    for (const std::string& part : Split(entry.link, '/')) {
      if (part == "..") return Invalid("hard link \"{}\" leads out of the root", entry.name);
    }
    RelPath target(entry.link);
    auto it = positions_.find(target.str());
    if (it != positions_.end() && !index_[it->second].whiteout) {
      LayerEntry made = index_[it->second];
      if (made.node.IsDirectory()) return Invalid("hard link \"{}\" to a directory", entry.name);
      TRY_ASSIGN(Fd from, target.Parent().IsRoot() ? sys::OpenDir(sys::FdPath(root_.get()))
                                                   : sys::OpenDirNoFollow(root_.get(), target.Parent()));
      std::string target_name(target.Name());
      if (linkat(from.get(), target_name.c_str(), parent_.get(), name.c_str(), 0) != 0) {
        return ErrnoError(errno, "link " + path.str());
      }
      made.path = path;
      Record(std::move(made));
      return Ok();
    }
    // To a file of a lower layer: in a mounted stack that copies the file up.
    auto below = FindBelow(target);
    if (!below || !S_ISREG(below->second.st_mode)) {
      return Corrupt("hard link {} to {}, which is not there", path.str(), target.str());
    }
    TRY_ASSIGN(Fd in, OpenFile(below->first, O_RDONLY | O_NOFOLLOW));
    FdReader reader(in.get());
    const struct stat& st = below->second;
    TarEntry copy{.name = entry.name, .mode = st.st_mode & 07777u, .uid = st.st_uid, .gid = st.st_gid,
                  .mtime = {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec}};
    return Place(path.Parent(), name, copy, reader);
  }

  Status SetAttributes(const std::string& name, const RelPath& path, const TarEntry& entry,
                       LayerEntry& made) {
    auto failed = [&](const char* what) { return ErrnoError(errno, std::string(what) + " " + path.str()); };
    int at = parent_.get();
    if (fchownat(at, name.c_str(), made.node.uid, made.node.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      Error error = failed("chown");
      if (errno == EPERM || errno == EINVAL) error.hint = "other owners need root: run varve as root";
      return error;
    }
    if (entry.type != EntryType::kSymlink && fchmodat(at, name.c_str(), made.node.mode, 0) != 0) {
      return failed("chmod");
    }
    for (const auto& [key, value] : entry.xattrs) {
      if (key.starts_with("trusted.overlay.") || key.starts_with("user.overlay.")) continue;
      Fd fd(openat(at, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      Status set = sys::SetXattr(fd.get(), key, value);
      if (!set) {
        LOG_WARN("xattr {} of {}: {}", key, path.str(), set.error().message);
      } else if (key == "security.capability") {
        made.node.xattrs.emplace_back(key, value);
      }
    }
    timespec times[2] = {ToTimespec(entry.mtime), ToTimespec(entry.mtime)};
    if (utimensat(at, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) return failed("utimens");
    return Ok();
  }

  Fd root_;
  std::vector<std::string> below_;      // topmost first
  Fd parent_;                           // of the last entry: tars list directory by directory
  RelPath parent_wanted_, parent_path_;
  tree::LayerIndex index_;
  std::map<std::string, size_t> positions_;
  std::map<std::string, Timestamp> times_;
};

}  // namespace

Result<tree::LayerIndex> UnpackInto(const std::string& directory, LayerStore& store,
                                    const std::vector<DiffId>& below, Reader& tar,
                                    std::stop_token stop) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  Unpacker unpacker(std::move(root), store, below);
  archive::TarReader reader(tar, /*decompress=*/false);
  while (true) {
    if (stop.stop_requested()) return Cancelled("unpacking was cancelled");
    TRY_ASSIGN(auto entry, reader.Next());
    if (!entry) break;
    TRY(unpacker.Add(*entry, reader.content()));
  }
  TRY(unpacker.Finish());
  return unpacker.TakeIndex();
}

}  // namespace varve::snapshot
