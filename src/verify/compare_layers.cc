#include "verify/compare_layers.h"

#include <fcntl.h>
#include <unistd.h>

#include <map>

#include "base/fd.h"
#include "snapshot/upper_walk.h"

namespace varve::verify {

namespace {

using Kind = FileDifference::Kind;
using snapshot::UpperEntry;

// A file up to this size is explained whole, a larger one by a window around the first difference.
constexpr uint64_t kWhole = 4 << 20;
constexpr uint64_t kWindow = 4096;

std::string TypeName(tree::NodeType type) {
  switch (type) {
    case tree::NodeType::kFile:
      return "file";
    case tree::NodeType::kDirectory:
      return "directory";
    case tree::NodeType::kSymlink:
      return "symbolic link";
    case tree::NodeType::kCharDevice:
      return "character device";
    case tree::NodeType::kBlockDevice:
      return "block device";
    case tree::NodeType::kFifo:
      return "fifo";
    case tree::NodeType::kSocket:
      return "socket";
  }
  return "file";
}

std::string TypeName(const tree::LayerEntry& entry) { return entry.whiteout ? "removed" : TypeName(entry.node.type); }

Result<Fd> OpenBelow(const std::string& directory, const std::string& path) {
  return OpenFile(directory + "/" + path, O_RDONLY | O_NOFOLLOW);
}

// Reads up to `length` bytes; fewer only at the end of the file.
Result<size_t> ReadAt(const Fd& fd, uint64_t offset, char* data, size_t length) {
  size_t done = 0;
  while (done < length) {
    ssize_t got = pread(fd.get(), data + done, length - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read");
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

// Nothing when the files are equal.
Result<std::optional<ContentCause>> CompareContents(const Fd& first, const Fd& second, uint64_t size,
                                                    std::stop_token stop) {
  constexpr size_t kBlock = 256 << 10;
  std::string a(kBlock, '\0'), b(kBlock, '\0');
  uint64_t offset = 0;
  while (true) {
    if (stop.stop_requested()) return Cancelled("the comparison was stopped");
    TRY_ASSIGN(size_t got_a, ReadAt(first, offset, a.data(), kBlock));
    TRY_ASSIGN(size_t got_b, ReadAt(second, offset, b.data(), kBlock));
    if (std::string_view(a.data(), got_a) != std::string_view(b.data(), got_b)) break;  // in this block
    if (got_a == 0) return std::optional<ContentCause>();
    offset += got_a;
  }
  uint64_t begin = 0, length = size;
  if (size > kWhole) {
    size_t within = 0;
    while (within < kBlock && a[within] == b[within]) ++within;
    uint64_t at = offset + within;
    begin = at > kWindow ? at - kWindow : 0;
    length = 2 * kWindow;
  }
  a.resize(length);
  b.resize(length);
  TRY_ASSIGN(size_t got_a, ReadAt(first, begin, a.data(), length));
  TRY_ASSIGN(size_t got_b, ReadAt(second, begin, b.data(), length));
  return std::optional(ExplainContent({a.data(), got_a}, {b.data(), got_b}, begin));
}

std::string XattrText(const tree::Xattrs& xattrs) {
  std::string text;
  for (const auto& [name, value] : xattrs) {
    if (!text.empty()) text += " ";
    text += name + "=" + Digest::Of(value).Short();
  }
  return text.empty() ? "none" : text;
}

// One of the layers: its files, and the attributes that its index knows of them.
struct Side {
  std::string directory;
  std::vector<UpperEntry> entries;
  std::map<std::string, tree::Xattrs> xattrs;

  static Result<Side> Read(snapshot::LayerStore& layers, const DiffId& layer, std::stop_token stop) {
    TRY_ASSIGN(auto index, layers.Index(layer));
    Side side;
    TRY_ASSIGN(side.directory, layers.Directory(layer));
    TRY_ASSIGN(side.entries, snapshot::WalkUpper(side.directory, stop));
    for (tree::LayerEntry& entry : index) {
      if (!entry.node.xattrs.empty()) side.xattrs[entry.path.str()] = std::move(entry.node.xattrs);
    }
    return side;
  }
  const tree::Xattrs& XattrsOf(const std::string& path) const {
    static const tree::Xattrs kNone;
    auto it = xattrs.find(path);
    return it == xattrs.end() ? kNone : it->second;
  }
};

class Comparison {
 public:
  Comparison(Side first, Side second, const CompareOptions& options, std::stop_token stop)
      : first_(std::move(first)), second_(std::move(second)), options_(options), stop_(std::move(stop)) {}

  Status Entry(const UpperEntry& a, const UpperEntry& b) {
    const tree::Node &x = a.index.node, &y = b.index.node;
    if (a.index.whiteout != b.index.whiteout || (!a.index.whiteout && x.type != y.type)) {
      Add(a.path, Kind::kType, TypeName(a.index), TypeName(b.index));
      return Ok();
    }
    if (a.index.whiteout) return Ok();
    if (a.index.opaque != b.index.opaque) {
      Add(a.path, Kind::kRemoval, a.index.opaque ? "hides what was below" : "keeps what was below",
          b.index.opaque ? "hides what was below" : "keeps what was below");
    }
    if (x.mode != y.mode) Add(a.path, Kind::kMode, fmt::format("{:04o}", x.mode), fmt::format("{:04o}", y.mode));
    if (x.uid != y.uid || x.gid != y.gid) {
      Add(a.path, Kind::kOwner, fmt::format("{}:{}", x.uid, x.gid), fmt::format("{}:{}", y.uid, y.gid));
    }
    if (x.target != y.target) Add(a.path, Kind::kTarget, x.target, y.target);
    if (x.rdev != y.rdev) {
      Add(a.path, Kind::kDevice, fmt::format("{}:{}", x.rdev >> 32, x.rdev & 0xffffffff),
          fmt::format("{}:{}", y.rdev >> 32, y.rdev & 0xffffffff));
    }
    const tree::Xattrs &p = first_.XattrsOf(a.path), &q = second_.XattrsOf(b.path);
    if (p != q) Add(a.path, Kind::kXattr, XattrText(p), XattrText(q));
    if (a.hard_link_to != b.hard_link_to) {
      auto text = [](const std::string& to) { return to.empty() ? "a file of its own" : "a link to " + to; };
      Add(a.path, Kind::kHardLink, text(a.hard_link_to), text(b.hard_link_to));
    }
    if (x.type == tree::NodeType::kFile) TRY(Content(a, b));
    return Times(a, b);
  }

  void Only(const UpperEntry& entry, bool first) {
    Add(entry.path, first ? Kind::kOnlyFirst : Kind::kOnlySecond, first ? TypeName(entry.index) : "",
        first ? "" : TypeName(entry.index));
  }

  std::vector<FileDifference> differences;

 private:
  void Add(const std::string& path, Kind kind, std::string first, std::string second) {
    differences.push_back({.path = path, .kind = kind, .first = std::move(first), .second = std::move(second)});
  }

  Status Content(const UpperEntry& a, const UpperEntry& b) {
    TRY_ASSIGN(Fd first, OpenBelow(first_.directory, a.path));
    TRY_ASSIGN(Fd second, OpenBelow(second_.directory, b.path));
    TRY_ASSIGN(auto cause, CompareContents(first, second, std::max(a.index.node.size, b.index.node.size), stop_));
    if (!cause) return Ok();
    differences.push_back(
        {.path = a.path, .kind = Kind::kContent, .first = cause->first, .second = cause->second, .content = *cause});
    return Ok();
  }

  Status Times(const UpperEntry& a, const UpperEntry& b) {
    if (!options_.clamp_times) return Ok();
    Timestamp x = std::min(a.mtime, *options_.clamp_times), y = std::min(b.mtime, *options_.clamp_times);
    if (x != y) Add(a.path, Kind::kTime, FormatTime(x), FormatTime(y));
    return Ok();
  }

  const Side first_, second_;
  const CompareOptions& options_;
  const std::stop_token stop_;
};

}  // namespace

std::string_view KindName(Kind kind) {
  switch (kind) {
    case Kind::kOnlyFirst:
      return "only-first";
    case Kind::kOnlySecond:
      return "only-second";
    case Kind::kType:
      return "type";
    case Kind::kContent:
      return "content";
    case Kind::kMode:
      return "mode";
    case Kind::kOwner:
      return "owner";
    case Kind::kTarget:
      return "target";
    case Kind::kDevice:
      return "device";
    case Kind::kXattr:
      return "xattr";
    case Kind::kTime:
      return "time";
    case Kind::kHardLink:
      return "hard-link";
    case Kind::kRemoval:
      return "removal";
  }
  return "content";
}

Result<std::vector<FileDifference>> CompareLayers(snapshot::LayerStore& layers, const DiffId& first,
                                                  const DiffId& second, const CompareOptions& options,
                                                  std::stop_token stop) {
  TRY_ASSIGN(Side a_side, Side::Read(layers, first, stop));
  TRY_ASSIGN(Side b_side, Side::Read(layers, second, stop));
  std::vector<UpperEntry> a = std::move(a_side.entries), b = std::move(b_side.entries);
  Comparison comparison(std::move(a_side), std::move(b_side), options, stop);
  // Both lists are in the order of a walk: one merge finds what each has alone.
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (j == b.size() || (i < a.size() && snapshot::WalkLess(a[i].path, b[j].path))) {
      comparison.Only(a[i++], true);
    } else if (i == a.size() || snapshot::WalkLess(b[j].path, a[i].path)) {
      comparison.Only(b[j++], false);
    } else {
      TRY(comparison.Entry(a[i++], b[j++]));
    }
  }
  return std::move(comparison.differences);
}

}  // namespace varve::verify
