#include "snapshot/upper_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <unordered_map>

#include "base/fd.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

namespace {

using tree::NodeType;

class Walker {
 public:
  Walker(std::stop_token stop, std::vector<UpperEntry>& out) : stop_(std::move(stop)), out_(out) {}

  Status Walk(int directory, const std::string& prefix, size_t depth) {
    if (depth > tree::kMaxDepth) return Invalid("{} is nested too deeply for a layer", prefix);
    TRY_ASSIGN(auto names, sys::ListDirectory(directory));
    for (const sys::DirEntry& name : names) {
      if (stop_.stop_requested()) return Cancelled("reading the layer was cancelled");
      TRY(Visit(directory, prefix, name.name, depth));
    }
    return Ok();
  }

 private:
  Status Visit(int directory, const std::string& prefix, const std::string& name, size_t depth) {
    struct stat st;
    if (fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      // Of a mounted stack: overlayfs lists a whiteout that hides nothing, in a directory that one layer alone has.
      if (errno == ENOENT) return Ok();
      return ErrnoError(errno, "stat " + prefix + name);
    }
    if (name.starts_with(kWhiteoutPrefix)) {
      Error error = Invalid("/{}{} cannot be stored in a layer: the name would mark a removal", prefix, name);
      error.hint = "names that begin with .wh. are reserved by the image format; rename or remove it";
      return error;
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
        entry.sparse = st.st_blocks * 512 < st.st_size;
        break;
      case S_IFDIR:
        node.type = NodeType::kDirectory;
        break;
      case S_IFLNK: {
        node.type = NodeType::kSymlink;
        TRY_ASSIGN(node.target, sys::ReadLink(directory, name));
        break;
      }
      case S_IFCHR:
        entry.index.whiteout = st.st_rdev == 0;
        node.type = NodeType::kCharDevice;
        break;
      case S_IFBLK:
        node.type = NodeType::kBlockDevice;
        break;
      case S_IFIFO:
        node.type = NodeType::kFifo;
        break;
      default:
        return Ok();
    }
    if (entry.index.whiteout) node = tree::Node();
    if (node.type == NodeType::kCharDevice || node.type == NodeType::kBlockDevice) {
      node.rdev = uint64_t{major(st.st_rdev)} << 32 | minor(st.st_rdev);
    }
    if (node.type == NodeType::kDirectory) {
      return VisitDirectory(directory, name, std::move(entry), depth);
    }
    // Overlayfs makes all whiteouts links of one.
    if (st.st_nlink > 1 && !entry.index.whiteout) {
      auto [first, is_new] = inodes_.emplace(std::pair(st.st_dev, st.st_ino), entry.path);
      if (!is_new) entry.hard_link_to = first->second;
    }
    out_.push_back(std::move(entry));
    return Ok();
  }

  Status VisitDirectory(int parent, const std::string& name, UpperEntry entry, size_t depth) {
    Fd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return ErrnoError(errno, "open " + entry.path);
    static const std::string kOpaque = OverlayXattr("opaque");
    TRY_ASSIGN(auto opaque, sys::GetXattr(fd.get(), kOpaque));
    entry.index.opaque = opaque == "y";
    std::string prefix = entry.path + "/";
    out_.push_back(std::move(entry));
    return Walk(fd.get(), prefix, depth + 1);
  }

  std::stop_token stop_;
  std::vector<UpperEntry>& out_;
  std::map<std::pair<dev_t, ino_t>, std::string> inodes_;
};

archive::EntryType TypeOf(const UpperEntry& entry) {
  if (!entry.hard_link_to.empty()) return archive::EntryType::kHardLink;
  switch (entry.index.node.type) {
    case NodeType::kDirectory:
      return archive::EntryType::kDirectory;
    case NodeType::kSymlink:
      return archive::EntryType::kSymlink;
    case NodeType::kCharDevice:
      return archive::EntryType::kCharDevice;
    case NodeType::kBlockDevice:
      return archive::EntryType::kBlockDevice;
    case NodeType::kFifo:
      return archive::EntryType::kFifo;
    default:
      return archive::EntryType::kFile;
  }
}

std::string_view Parent(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == path.npos ? std::string_view() : path.substr(0, slash);
}

}  // namespace

std::string OverlayXattr(std::string_view name) {
  static const bool user = sys::InUserNamespace();
  return (user ? "user.overlay." : "trusted.overlay.") + std::string(name);
}

bool IsOverlayXattr(std::string_view name) {
  return name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
}

Result<std::vector<UpperEntry>> WalkUpper(const std::string& directory, std::stop_token stop) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  std::vector<UpperEntry> entries;
  TRY(Walker(std::move(stop), entries).Walk(root.get(), "", 0));
  return entries;
}

UpperHeader HeaderOf(const UpperEntry& entry) {
  if (entry.index.whiteout) {
    std::string parent(Parent(entry.path));
    if (!parent.empty()) parent += '/';
    // No format is asked for where containerd writes whiteouts, so a long name may be ustar's.
    return {{.name = parent + std::string(kWhiteoutPrefix) + entry.path.substr(parent.size())},
            archive::LongNames::kUstarIfFits};
  }
  const tree::Node& node = entry.index.node;
  archive::TarEntry header{.name = entry.path,
                           .type = TypeOf(entry),
                           .mode = node.mode,
                           .uid = node.uid,
                           .gid = node.gid,
                           .mtime = entry.mtime};
  if (header.type == archive::EntryType::kDirectory) header.name += "/";
  if (header.type == archive::EntryType::kFile) header.size = node.size;
  header.link = entry.hard_link_to.empty() ? node.target : entry.hard_link_to;
  header.major = static_cast<uint32_t>(node.rdev >> 32);
  header.minor = static_cast<uint32_t>(node.rdev);
  for (const auto& [name, value] : node.xattrs) header.xattrs[name] = value;
  return {std::move(header)};
}

UpperHeader OpaqueHeader(const std::string& directory) {
  return {{.name = fmt::format("{}/{}", directory, kOpaqueName)}, archive::LongNames::kUstarIfFits};
}

bool WalkLess(std::string_view a, std::string_view b) {
  // A slash sorts before every byte: "a/x" comes before "a-b".
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return x != y && (x == '/' || (y != '/' && static_cast<unsigned char>(x) < static_cast<unsigned char>(y)));
  });
}

tree::LayerIndex IndexOf(std::vector<tree::LayerEntry> entries) {
  std::ranges::sort(entries, [](const tree::LayerEntry& a, const tree::LayerEntry& b) {
    return WalkLess(a.path.str(), b.path.str());
  });
  if (std::ranges::none_of(entries, &tree::LayerEntry::whiteout)) return entries;
  // Right behind their directory; the root's before everything.
  std::unordered_map<std::string_view, std::vector<size_t>> whiteouts;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].whiteout) whiteouts[Parent(entries[i].path.str())].push_back(i);
  }
  std::vector<size_t> order;
  order.reserve(entries.size());
  auto add_whiteouts = [&](std::string_view parent) {
    auto found = whiteouts.find(parent);
    if (found == whiteouts.end()) return;
    order.insert(order.end(), found->second.begin(), found->second.end());
  };
  add_whiteouts("");
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].whiteout) continue;
    order.push_back(i);
    if (entries[i].node.IsDirectory()) add_whiteouts(entries[i].path.str());
  }
  tree::LayerIndex index;
  index.reserve(entries.size());
  for (size_t i : order) index.push_back(std::move(entries[i]));
  return index;
}

}  // namespace varve::snapshot
