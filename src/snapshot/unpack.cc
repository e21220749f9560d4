#include "snapshot/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/log.h"
#include "snapshot/file_writer.h"
#include "snapshot/parents.h"
#include "snapshot/upper_walk.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/remove.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

using archive::EntryType;
using archive::TarEntry;
using tree::NodeType;

constexpr size_t kSmallFile = 1 << 20;  // up to here files are handed to the writers
constexpr size_t kMaxPath = 4000;       // the kernel's PATH_MAX, with room for a prefix
constexpr size_t kMaxName = 255;
constexpr int kMaxLinks = 255;

// What the directory has at a path, or will have once the writers are done.
struct Item {
  UpperEntry upper;
  uint64_t serial = 0;     // of the entry that made it
  bool copied_up = false;  // from a layer below, for a hard link: the tar does not list it
};

struct WalkOrder {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return WalkLess(a, b); }
};

std::string JoinPath(const std::string& parent, std::string_view name) {
  return parent.empty() ? std::string(name) : fmt::format("{}/{}", parent, name);
}

NodeType NodeTypeOf(EntryType type) {
  switch (type) {
    case EntryType::kSymlink:
      return NodeType::kSymlink;
    case EntryType::kCharDevice:
      return NodeType::kCharDevice;
    case EntryType::kBlockDevice:
      return NodeType::kBlockDevice;
    case EntryType::kDirectory:
      return NodeType::kDirectory;
    case EntryType::kFifo:
      return NodeType::kFifo;
    default:
      return NodeType::kFile;
  }
}

bool AllZero(std::string_view data) {
  return data.empty() || (data[0] == 0 && std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

class Unpacker {
 public:
  Unpacker(Fd root, LayerStore& store, const std::vector<DiffId>& below, std::stop_token stop)
      : root_(std::move(root)), store_(store), below_(store, below), stop_(std::move(stop)) {}

  Status Run(archive::TarReader& tar) {
    while (true) {
      if (stop_.stop_requested()) return Cancelled("unpacking the layer was cancelled");
      TRY_ASSIGN(auto entry, tar.Next());
      if (!entry) break;
      ++serial_;
      Status added = Add(*entry, tar);
      if (!added) return Error(std::move(added).error()).With("layer entry " + entry->name);
    }
    TRY_ASSIGN(bool clean_end, tar.Drain());
    if (!clean_end) canonical_ = false;
    return FinishDirectories();
  }

  UnpackedLayer Take() {
    std::vector<tree::LayerEntry> entries;
    entries.reserve(items_.size() + 1);
    size_t xattrs = 0;
    for (auto& [path, item] : items_) {
      if (item.upper.index.implicit) canonical_ = false;
      xattrs += item.upper.index.node.xattrs.size();
      entries.push_back(std::move(item.upper.index));
    }
    // The writers take out what the file system does not support.
    if (xattrs != xattrs_) canonical_ = false;
    if (root_opaque_) {
      entries.push_back({.opaque = true, .node = {.type = NodeType::kDirectory, .mode = 0755}});
    }
    return {IndexOf(std::move(entries)), canonical_};
  }

 private:
  // --- names
  // -----------------------------------------------------------------------------------------
  Status Add(const TarEntry& entry, archive::TarReader& tar) {
    std::string clean = CleanPath(entry.name);
    if (clean == ".." || clean.starts_with("../")) return Invalid("the name leads out of the layer");
    RelPath path(entry.name);
    if (path.IsRoot()) {
      canonical_ = false;  // the root has no entry in our tars, and its attributes are not a layer's
      return Ok();
    }
    if (path.str().size() > kMaxPath) return Invalid("the name is too long");
    std::vector<std::string_view> parts = path.Parts();
    for (size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].size() > kMaxName) return Invalid("a part of the name is too long");
      if (!parts[i].starts_with(kWhiteoutPrefix)) continue;
      bool last = i + 1 == parts.size();
      if (last && parts[i] == kOpaqueName) return MakeOpaque(path.Parent(), tar);
      if (parts[i].starts_with(".wh..wh.")) {
        canonical_ = false;
        return Ok();
      }
      std::string_view name = parts[i].substr(kWhiteoutPrefix.size());
      if (!last || name.empty() || name == "." || name == "..") {
        return Invalid("the name is no valid whiteout");
      }
      return MakeWhiteout(path.Parent(), std::string(name), tar);
    }
    TRY_ASSIGN(std::string parent, ResolveParent(path.Parent(), Missing::kMake));
    return Make(JoinPath(parent, path.Name()), entry, tar);
  }

  // What to do about a directory that the layer does not have.
  enum class Missing { kMake, kLookBelow };

  // The directory that the path leads to inside this layer, without symlinks.
  Result<std::string> ResolveParent(const RelPath& path, Missing missing) {
    std::string done;
    std::string rest = path.str();
    for (int links = 0; !rest.empty();) {
      size_t slash = rest.find('/');
      std::string part = rest.substr(0, slash);
      rest = slash == rest.npos ? "" : rest.substr(slash + 1);
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        done = RelPath(done).Parent().str();
        continue;
      }
      std::string next = JoinPath(done, part);
      auto item = items_.find(next);
      const tree::LayerEntry* there = item == items_.end() ? nullptr : &item->second.upper.index;
      std::optional<std::string> link;
      if (there == nullptr) {
        TRY_ASSIGN(link, below_.FindSymlink(next));
        if (link) canonical_ = false;
      } else if (there != nullptr && !there->whiteout && there->node.type == NodeType::kSymlink) {
        link = there->node.target;
      }
      if (!link && (there == nullptr || there->whiteout)) {
        if (missing == Missing::kMake) {
          TRY(MakeImplicit(next));
        } else if (there != nullptr) {
          return Invalid("/{} is removed by the layer", next);
        }
      } else if (link) {
        if (++links > kMaxLinks) return Invalid("too many levels of symbolic links");
        if (link->starts_with('/')) done.clear();
        rest = rest.empty() ? *link : *link + "/" + rest;
        if (rest.size() > 4 * kMaxPath) return Invalid("symbolic links lead to too long a name");
        continue;
      } else if (!there->node.IsDirectory()) {
        return Invalid("/{} is not a directory", next);
      }
      done = std::move(next);
    }
    if (done.size() > kMaxPath) return Invalid("the name is too long");
    return done;
  }

  Result<std::shared_ptr<const Fd>> OpenParent(const std::string& parent) {
    if (!parent_fd_ || parent_path_ != parent) {
      TRY_ASSIGN(Fd fd, sys::OpenDirNoFollow(root_.get(), RelPath(parent)));
      parent_fd_ = std::make_shared<const Fd>(std::move(fd));
      parent_path_ = parent;
    }
    return parent_fd_;
  }

  static std::pair<std::string, std::string> Cut(const std::string& path) {
    size_t slash = path.rfind('/');
    if (slash == path.npos) return {"", path};
    return {path.substr(0, slash), path.substr(slash + 1)};
  }

  // --- what is there already
  // -------------------------------------------------------------------------
  Status RemoveItem(const std::string& path) {
    TRY(files_.Wait());
    auto [parent, name] = Cut(path);
    TRY_ASSIGN(auto fd, OpenParent(parent));
    TRY(sys::RemoveAllAt(fd->get(), name));
    parent_fd_.reset();
    auto begin = items_.find(path), end = begin;
    while (end != items_.end() && (end->first == path || end->first.starts_with(path + "/"))) ++end;
    items_.erase(begin, end);
    canonical_ = false;
    return Ok();
  }

  Item& NewItem(const std::string& path) {
    Item& item = items_.try_emplace(items_.end(), path)->second;
    item = Item{.upper = {.path = path}, .serial = serial_};
    item.upper.index.path = RelPath(path);
    return item;
  }

  Status MakeDirectoryAt(const std::string& path) {
    auto [parent, name] = Cut(path);
    TRY_ASSIGN(auto fd, OpenParent(parent));
    if (mkdirat(fd->get(), name.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + path);
    return Ok();
  }

  Status MakeImplicit(const std::string& path) {
    bool was_whiteout = items_.contains(path);
    if (was_whiteout) TRY(RemoveItem(path));
    TRY(MakeDirectoryAt(path));
    TRY_ASSIGN(DirectoryAttributes attributes, below_.Find(path));
    Item& item = NewItem(path);
    item.upper.index.implicit = true;
    item.upper.index.opaque = was_whiteout;
    item.upper.index.node = {.type = NodeType::kDirectory,
                             .mode = attributes.mode,
                             .uid = attributes.uid,
                             .gid = attributes.gid,
                             .xattrs = attributes.xattrs};
    item.upper.mtime = attributes.mtime;
    return Ok();
  }

  // --- entries
  // -----------------------------------------------------------------------------------------
  Status MakeOpaque(const RelPath& directory, archive::TarReader& tar) {
    TRY_ASSIGN(std::string path, ResolveParent(directory, Missing::kMake));
    if (path.empty()) {
      root_opaque_ = true;
      canonical_ = false;
      return RemoveCopiedUp("");
    }
    tree::LayerEntry& entry = items_.find(path)->second.upper.index;
    UpperHeader header = OpaqueHeader(path);
    if (entry.opaque || last_path_ != path ||
        tar.raw_header() != archive::EncodeTarHeader(header.entry, header.names)) {
      canonical_ = false;
    }
    entry.opaque = true;
    return RemoveCopiedUp(path + "/");
  }

  // What was only brought up from the layers below goes when the layer hides it.
  Status RemoveCopiedUp(const std::string& prefix) {
    std::vector<std::string> paths;
    for (const auto& [path, item] : items_) {
      if (item.copied_up && path.starts_with(prefix)) paths.push_back(path);
    }
    for (const std::string& path : paths) TRY(RemoveItem(path));
    return Ok();
  }

  Status MakeWhiteout(const RelPath& directory, const std::string& name, archive::TarReader& tar) {
    TRY_ASSIGN(std::string parent, ResolveParent(directory, Missing::kMake));
    std::string path = JoinPath(parent, name);
    auto item_there = items_.find(path);
    if (item_there != items_.end() && item_there->second.copied_up) {
      TRY(RemoveItem(path));
    } else if (auto item = items_.find(path); item != items_.end()) {
      tree::LayerEntry& entry = item->second.upper.index;
      if (!entry.whiteout && entry.node.IsDirectory()) entry.opaque = true;
      canonical_ = false;
      return Ok();
    }
    TRY_ASSIGN(auto fd, OpenParent(parent));
    if (mknodat(fd->get(), name.c_str(), S_IFCHR, 0) != 0) return ErrnoError(errno, "whiteout " + path);
    Item& item = NewItem(path);
    item.upper.index.whiteout = true;
    Compare(item, tar);
    return Ok();
  }

  Status Make(const std::string& path, const TarEntry& entry, archive::TarReader& tar) {
    if (entry.uid >= UINT32_MAX || entry.gid >= UINT32_MAX) return Invalid("the owner is out of range");
    bool is_device = entry.type == EntryType::kCharDevice || entry.type == EntryType::kBlockDevice;
    if (is_device && sys::InUserNamespace()) {
      canonical_ = false;
      return Ok();
    }
    if (entry.type == EntryType::kCharDevice && entry.major == 0 && entry.minor == 0) {
      return Invalid("a 0:0 character device would remove the file from the layers below");
    }
    bool opaque = false;
    auto there = items_.find(path);
    if (there != items_.end()) {
      canonical_ = false;
      tree::LayerEntry& old = there->second.upper.index;
      if (!old.whiteout && old.node.IsDirectory() && entry.type == EntryType::kDirectory) {
        old.implicit = false;
        xattrs_ -= CountedXattrs(there->second);
        FillNode(there->second, entry);
        return Ok();
      }
      opaque = old.whiteout && entry.type == EntryType::kDirectory;
      // A link to the very file that is being replaced.
      if (entry.type == EntryType::kHardLink && RelPath(entry.link).str() == path) return Ok();
      TRY(RemoveItem(path));
    }
    if (entry.type == EntryType::kHardLink) return MakeHardLink(path, entry, tar);
    if (entry.type == EntryType::kDirectory) {
      TRY(MakeDirectoryAt(path));
      Item& item = NewItem(path);
      item.upper.index.opaque = opaque;
      FillNode(item, entry);
      Compare(item, tar);
      return Ok();
    }
    auto [parent, name] = Cut(path);
    TRY_ASSIGN(auto fd, OpenParent(parent));
    Item& item = NewItem(path);
    FillNode(item, entry);
    Compare(item, tar);
    if (entry.type == EntryType::kFile) return MakeFile(item, std::move(fd), name, tar.content());
    return MakeSpecial(item, fd->get(), name);
  }

  static size_t CountedXattrs(const Item& item) { return item.upper.index.node.xattrs.size(); }

  void FillNode(Item& item, const TarEntry& entry) {
    tree::Node& node = item.upper.index.node;
    node = tree::Node{.type = NodeTypeOf(entry.type),
                      .mode = entry.mode,
                      .uid = static_cast<uint32_t>(entry.uid),
                      .gid = static_cast<uint32_t>(entry.gid),
                      .size = entry.size};
    if (node.type == NodeType::kSymlink) {
      node.mode = 0777;  // Linux has no other
      node.target = entry.link;
    }
    if (node.type == NodeType::kCharDevice || node.type == NodeType::kBlockDevice) {
      node.rdev = uint64_t{entry.major} << 32 | entry.minor;
    }
    for (const auto& [name, value] : entry.xattrs) {
      bool settable = node.type == NodeType::kFile || node.type == NodeType::kDirectory;
      // Our own tars have no other attribute, and only on files.
      if (name != kCapability || node.type != NodeType::kFile) canonical_ = false;
      if (settable && !IsOverlayXattr(name)) node.xattrs.emplace_back(name, value);
    }
    xattrs_ += node.xattrs.size();
    item.upper.mtime = entry.mtime;
  }

  // Whether WriteUpperTar would write this entry as it came, at this place.
  void Compare(const Item& item, archive::TarReader& tar) {
    if (!canonical_) return;
    UpperHeader header = HeaderOf(item.upper);
    canonical_ = WalkLess(last_path_, item.upper.path) &&
                 tar.raw_header() == archive::EncodeTarHeader(header.entry, header.names);
    last_path_ = item.upper.path;
  }

  Status MakeFile(Item& item, std::shared_ptr<const Fd> parent, const std::string& name, Reader& content) {
    tree::Node& node = item.upper.index.node;
    if (node.size <= kSmallFile) {
      std::string text(node.size, '\0');
      TRY(ReadExactly(content, text));
      return files_.Add({std::move(parent), name, item.upper.path, std::move(text), item.upper.mtime, &node});
    }
    Fd fd(openat(parent->get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return ErrnoError(errno, "create " + item.upper.path);
    buffer_.resize(kSmallFile);
    Sha256 hash;
    for (uint64_t left = node.size; left > 0;) {
      if (stop_.stop_requested()) return Cancelled("unpacking the layer was cancelled");
      std::span<char> want(buffer_.data(), std::min<uint64_t>(left, buffer_.size()));
      TRY(ReadExactly(content, want));
      std::string_view data(want.data(), want.size());
      hash.Update(data);
      left -= data.size();
      // Layers of sparse files spell the holes out.
      if (AllZero(data)) {
        if (lseek(fd.get(), static_cast<off_t>(data.size()), SEEK_CUR) < 0) {
          return ErrnoError(errno, "seek in " + item.upper.path);
        }
      } else {
        TRY(FdWriter(fd.get()).Write(data));
      }
    }
    if (ftruncate(fd.get(), static_cast<off_t>(node.size)) != 0) {
      return ErrnoError(errno, "resize " + item.upper.path);
    }
    node.digest = hash.Finish();
    return SetAttributes(fd.get(), node, item.upper.mtime, item.upper.path);
  }

  // Symlinks, devices and fifos.
  Status MakeSpecial(const Item& item, int parent, const std::string& name) {
    const tree::Node& node = item.upper.index.node;
    const std::string& path = item.upper.path;
    if (node.type == NodeType::kSymlink) {
      if (node.target.empty()) return Invalid("the symbolic link has no target");
      if (symlinkat(node.target.c_str(), parent, name.c_str()) != 0) {
        return ErrnoError(errno, "symlink " + path);
      }
    } else {
      mode_t kind = node.type == NodeType::kFifo ? S_IFIFO : node.type == NodeType::kCharDevice ? S_IFCHR : S_IFBLK;
      dev_t device = makedev(static_cast<unsigned>(node.rdev >> 32), static_cast<unsigned>(node.rdev));
      if (mknodat(parent, name.c_str(), kind | 0600, device) != 0) {
        return ErrnoError(errno, "mknod " + path);
      }
    }
    if (fchownat(parent, name.c_str(), node.uid, node.gid, AT_SYMLINK_NOFOLLOW) != 0) {
      return sys::OwnerError(errno, "chown " + path, node.uid, node.gid);
    }
    // Nobody can have put a symlink there: the directory is ours alone.
    if (node.type != NodeType::kSymlink && fchmodat(parent, name.c_str(), node.mode, 0) != 0) {
      return ErrnoError(errno, "chmod " + path);
    }
    int64_t seconds = item.upper.mtime.seconds();
    timespec time{seconds, item.upper.mtime.nanos - seconds * 1'000'000'000};
    timespec times[2] = {time, time};
    if (utimensat(parent, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "set the time of " + path);
    }
    return Ok();
  }

  // The item that a hard link names; made from a layer below where this one does not have it.
  Result<Item*> FindLinked(const RelPath& link) {
    if (auto parent = ResolveParent(link.Parent(), Missing::kLookBelow)) {
      std::string path = JoinPath(*parent, link.Name());
      auto item = items_.find(path);
      if (item != items_.end() && !item->second.upper.index.whiteout) return &item->second;
      std::optional<ParentLookup::Found> lower;
      if (ShowsBelow(path)) {
        TRY_ASSIGN(lower, below_.FindAny(path));
      }
      if (lower && S_ISDIR(lower->stat.st_mode)) {
        return Invalid("the hard link leads to the directory /{}", link.str());
      }
      if (lower) return CopyUp(path, *lower);
    }
    return Corrupt("the hard link leads to /{}, which neither the layer nor one below it has", link.str());
  }

  // Whether this layer hides nothing of what the layers below have at the path.
  bool ShowsBelow(const std::string& path) const {
    if (root_opaque_ || items_.contains(path)) return false;
    for (std::string at = Cut(path).first; !at.empty(); at = Cut(at).first) {
      auto item = items_.find(at);
      if (item != items_.end() && item->second.upper.index.opaque) return false;
    }
    return true;
  }

  // Puts a file of a layer below into this one, as overlayfs does before it links to it. Layers never
  // change, so the file itself can be shared between the two.
  Result<Item*> CopyUp(const std::string& path, const ParentLookup::Found& lower) {
    auto [directory, name] = Cut(path);
    TRY(ResolveParent(RelPath(directory), Missing::kMake));
    TRY_ASSIGN(auto parent, OpenParent(directory));
    TRY_ASSIGN(tree::LayerIndex index, store_.Index(lower.layer));
    const RelPath wanted(path);
    auto entry = std::ranges::find(index, wanted, &tree::LayerEntry::path);
    if (entry == index.end()) return Corrupt("the index of a layer below lacks /{}", path);
    Item& item = NewItem(path);
    item.copied_up = true;
    item.upper.index.node = entry->node;
    item.upper.mtime = {lower.stat.st_mtim.tv_sec * 1'000'000'000 + lower.stat.st_mtim.tv_nsec};
    xattrs_ += CountedXattrs(item);
    canonical_ = false;
    if (linkat(lower.directory->get(), lower.name.c_str(), parent->get(), name.c_str(), 0) == 0) {
      return &item;
    }
    // As many links as the file system can count, or another file system: a copy, then.
    if (errno != EMLINK && errno != EXDEV) return ErrnoError(errno, "link " + path);
    if (item.upper.index.node.type != NodeType::kFile) {
      TRY(MakeSpecial(item, parent->get(), name));
      return &item;
    }
    Fd from(openat(lower.directory->get(), lower.name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    Fd to(openat(parent->get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!from || !to) return ErrnoError(errno, "copy up " + path);
    TRY(sys::CopyFileContents(from.get(), to.get()));
    TRY(SetAttributes(to.get(), item.upper.index.node, item.upper.mtime, path));
    return &item;
  }

  Status MakeHardLink(const std::string& path, const TarEntry& entry, archive::TarReader& tar) {
    RelPath link(entry.link);
    TRY_ASSIGN(Item * item, FindLinked(link));
    const std::string target = item->upper.path;
    if (target == path) {  // to itself: what the layer below has there
      item->copied_up = false;
      return Ok();
    }
    if (item->upper.index.node.IsDirectory()) {
      return Invalid("the hard link leads to the directory /{}", link.str());
    }
    if (item->serial > waited_) {
      TRY(files_.Wait());
      waited_ = serial_ - 1;
    }
    auto [from_parent, from_name] = Cut(target);
    auto [to_parent, to_name] = Cut(path);
    TRY_ASSIGN(auto from, OpenParent(from_parent));
    TRY_ASSIGN(auto to, OpenParent(to_parent));
    if (linkat(from->get(), from_name.c_str(), to->get(), to_name.c_str(), 0) != 0) {
      return ErrnoError(errno, "link " + path);
    }
    const UpperEntry& first = item->upper;
    Item& made = NewItem(path);
    made.upper.index.node = first.index.node;
    made.upper.mtime = first.mtime;
    // A link to a link: in a walk, both are links to the first.
    made.upper.hard_link_to = first.hard_link_to.empty() ? target : first.hard_link_to;
    xattrs_ += CountedXattrs(made);
    Compare(made, tar);
    return Ok();
  }

  // Times last and from the inside out, since everything made in a directory changes its own.
  Status FinishDirectories() {
    TRY(files_.Wait());
    const std::string mark = OverlayXattr("opaque");
    if (root_opaque_) TRY(sys::SetXattr(root_.get(), mark, "y"));
    for (auto it = items_.rbegin(); it != items_.rend(); ++it) {
      UpperEntry& upper = it->second.upper;
      if (upper.index.whiteout || !upper.index.node.IsDirectory()) continue;
      TRY_ASSIGN(Fd fd,
                 sys::OpenInRoot(root_.get(), upper.index.path, O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true}));
      if (upper.index.opaque) TRY(sys::SetXattr(fd.get(), mark, "y"));
      TRY(SetAttributes(fd.get(), upper.index.node, upper.mtime, upper.path));
    }
    return Ok();
  }

  const Fd root_;
  LayerStore& store_;
  ParentLookup below_;
  const std::stop_token stop_;
  std::map<std::string, Item, WalkOrder> items_;
  uint64_t serial_ = 0;
  uint64_t waited_ = 0;  // entries up to here are on the disk
  bool root_opaque_ = false;

  bool canonical_ = true;
  std::string last_path_;  // of the last entry, in walk order
  size_t xattrs_ = 0;      // that were asked for

  std::string parent_path_;  // the last parent, kept open
  std::shared_ptr<const Fd> parent_fd_;
  std::string buffer_;
  FileWriter files_;  // last: its threads end before the nodes that they fill
};

}  // namespace

Result<UnpackedLayer> UnpackInto(const std::string& directory, LayerStore& store, const std::vector<DiffId>& below,
                                 Reader& tar, std::stop_token stop) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  archive::TarReader reader(tar);
  Unpacker unpacker(std::move(root), store, below, std::move(stop));
  TRY(unpacker.Run(reader));
  return unpacker.Take();
}

}  // namespace varve::snapshot
