#include "snapshot/upper_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "base/fd.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

using tree::NodeType;

constexpr const char* kCapability = "security.capability";

class Walker {
 public:
  Walker(std::stop_token stop, std::vector<UpperEntry>& out) : stop_(std::move(stop)), out_(out) {}

  Status Walk(int directory, const std::string& prefix) {
    TRY_ASSIGN(auto names, sys::ListDirectory(directory));
    for (const sys::DirEntry& name : names) {
      if (stop_.stop_requested()) return Cancelled("reading the layer was cancelled");
      TRY(Visit(directory, prefix, name.name));
    }
    return Ok();
  }

 private:
  Status Visit(int directory, const std::string& prefix, const std::string& name) {
    struct stat st;
    if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "stat " + prefix + name);
    }
    UpperEntry entry{.path = prefix + name};
    entry.index.path = RelPath(entry.path);
    entry.mtime = {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec};
    tree::Node& node = entry.index.node;
    node.mode = st.st_mode & 07777;
    node.uid = st.st_uid;
    node.gid = st.st_gid;
    switch (st.st_mode & S_IFMT) {
      case S_IFREG:
        node.type = NodeType::kFile;
        node.size = static_cast<uint64_t>(st.st_size);
        if (st.st_nlink > 1) {
          auto [first, is_new] = inodes_.emplace(std::pair(st.st_dev, st.st_ino), entry.path);
          if (!is_new) entry.hard_link_to = first->second;
        }
        break;
      case S_IFDIR: node.type = NodeType::kDirectory; break;
      case S_IFLNK: {
        node.type = NodeType::kSymlink;
        TRY_ASSIGN(node.target, sys::ReadLink(directory, name));
        break;
      }
      case S_IFCHR:
        entry.index.whiteout = st.st_rdev == 0;
        node.type = NodeType::kCharDevice;
        break;
      case S_IFBLK: node.type = NodeType::kBlockDevice; break;
      case S_IFIFO: node.type = NodeType::kFifo; break;
      default: return Ok();  // sockets have no place in a tar
    }
    if (node.type == NodeType::kCharDevice || node.type == NodeType::kBlockDevice) {
      node.rdev = uint64_t{major(st.st_rdev)} << 32 | minor(st.st_rdev);
    }
    if (node.type == NodeType::kDirectory) return VisitDirectory(directory, name, std::move(entry));
    if (node.type == NodeType::kFile && (node.mode & 0111) != 0) {
      // Only programs can carry capabilities; asking every file would cost a call each.
      Fd fd(openat(directory, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) return ErrnoError(errno, "open " + entry.path);
      TRY_ASSIGN(auto capability, sys::GetXattr(fd.get(), kCapability));
      if (capability) node.xattrs.emplace_back(kCapability, std::move(*capability));
    }
    out_.push_back(std::move(entry));
    return Ok();
  }

  Status VisitDirectory(int parent, const std::string& name, UpperEntry entry) {
    Fd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return ErrnoError(errno, "open " + entry.path);
    TRY_ASSIGN(auto opaque, sys::GetXattr(fd.get(), OverlayXattr("opaque")));
    entry.index.opaque = opaque == "y";
    std::string prefix = entry.path + "/";
    out_.push_back(std::move(entry));
    return Walk(fd.get(), prefix);
  }

  std::stop_token stop_;
  std::vector<UpperEntry>& out_;
  std::map<std::pair<dev_t, ino_t>, std::string> inodes_;
};

Status WriteContent(int root, const UpperEntry& entry, archive::TarWriter& tar,
                    std::vector<char>& buffer) {
  uint64_t left = entry.index.node.size;
  if (left == 0) return Ok();
  Fd fd(openat(root, entry.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "open " + entry.path);
  while (left > 0) {
    ssize_t n = read(fd.get(), buffer.data(), std::min<uint64_t>(buffer.size(), left));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read " + entry.path);
    if (n == 0) return Corrupt("{} became shorter while it was read", entry.path);
    TRY(tar.Content({buffer.data(), static_cast<size_t>(n)}));
    left -= static_cast<uint64_t>(n);
  }
  return Ok();
}

archive::EntryType TypeOf(const UpperEntry& entry) {
  if (!entry.hard_link_to.empty()) return archive::EntryType::kHardLink;
  switch (entry.index.node.type) {
    case NodeType::kDirectory: return archive::EntryType::kDirectory;
    case NodeType::kSymlink: return archive::EntryType::kSymlink;
    case NodeType::kCharDevice: return archive::EntryType::kCharDevice;
    case NodeType::kBlockDevice: return archive::EntryType::kBlockDevice;
    case NodeType::kFifo: return archive::EntryType::kFifo;
    default: return archive::EntryType::kFile;
  }
}

std::string Sibling(const std::string& path, std::string_view prefix) {
  size_t slash = path.rfind('/');
  std::string parent = slash == path.npos ? "" : path.substr(0, slash + 1);
  return parent + std::string(prefix) + path.substr(slash == path.npos ? 0 : slash + 1);
}

}  // namespace

std::string OverlayXattr(std::string_view name) {
  static const bool user = sys::InUserNamespace();
  return (user ? "user.overlay." : "trusted.overlay.") + std::string(name);
}

Result<std::vector<UpperEntry>> WalkUpper(const std::string& directory, std::stop_token stop) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  std::vector<UpperEntry> entries;
  TRY(Walker(std::move(stop), entries).Walk(root.get(), ""));
  return entries;
}

Status WriteUpperTar(const std::string& directory, const std::vector<UpperEntry>& entries,
                     Writer& out, std::stop_token stop) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  archive::TarWriter tar(out);
  std::vector<char> buffer(1 << 20);
  for (const UpperEntry& entry : entries) {
    if (stop.stop_requested()) return Cancelled("writing the layer was cancelled");
    if (entry.index.whiteout) {
      TRY(tar.Add({.name = Sibling(entry.path, kWhiteoutPrefix)}));
      continue;
    }
    const tree::Node& node = entry.index.node;
    archive::TarEntry header{.name = entry.path, .type = TypeOf(entry), .mode = node.mode,
                             .uid = node.uid, .gid = node.gid, .mtime = entry.mtime};
    if (header.type == archive::EntryType::kDirectory) header.name += "/";
    if (header.type == archive::EntryType::kFile) header.size = node.size;
    header.link = entry.hard_link_to.empty() ? node.target : entry.hard_link_to;
    header.major = static_cast<uint32_t>(node.rdev >> 32);
    header.minor = static_cast<uint32_t>(node.rdev);
    for (const auto& [name, value] : node.xattrs) header.xattrs[name] = value;
    TRY(tar.Add(header));
    if (header.type == archive::EntryType::kFile) TRY(WriteContent(root.get(), entry, tar, buffer));
    // Which names below are hidden is not known here, only that all are: the spec's opaque marker
    // says exactly that (image-spec layer.md, "Opaque Whiteout").
    if (entry.index.opaque) TRY(tar.Add({.name = entry.path + "/" + std::string(kOpaqueName)}));
  }
  return tar.Finish();
}

}  // namespace varve::snapshot
