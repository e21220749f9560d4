#include "tree/read_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/strings.h"
#include "base/wire.h"
#include "tree/merged_layers.h"

namespace varve::tree {

namespace {

constexpr std::string_view kMagic = "vrs2\n";

struct Stat {
  uint32_t type = 0, mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
};

uint64_t SizeOf(const Node& node) {
  switch (node.type) {
    case NodeType::kFile:
      return node.size;
    case NodeType::kSymlink:
      return node.target.size();
    case NodeType::kCharDevice:
    case NodeType::kBlockDevice:
      return node.rdev;
    default:
      return 0;
  }
}

constexpr uint64_t kHidesBelow = 16;

void PutExists(std::string& out, const Node& node) {
  PutVarint(out, static_cast<uint64_t>(node.type) | (HidesBelow(node) ? kHidesBelow : 0));
  PutVarint(out, node.mode);
  PutVarint(out, node.uid);
  PutVarint(out, node.gid);
}

// As far as `facets` say.
bool ReadStat(Cursor& in, uint8_t facets, Stat* stat) {
  if ((facets & (kExists | kStat)) == 0) return false;
  return in.Varint32(&stat->type) && in.Varint32(&stat->mode) && in.Varint32(&stat->uid) && in.Varint32(&stat->gid) &&
         ((facets & kStat) == 0 || in.Varint(&stat->size));
}

Digest ListOf(const Directory& directory) {
  std::string text;
  for (const Node& node : directory.entries) {
    PutBytes(text, node.name);
    text.push_back(static_cast<char>(node.type));
  }
  return Digest::Of(text);
}

Digest XattrsOf(const Node& node) {
  std::string text;
  for (const auto& [name, value] : node.xattrs) {
    PutBytes(text, name);
    PutBytes(text, value);
  }
  return Digest::Of(text);
}

// Keeps what it was asked for: a check comes past the same directories again and again.
class RememberedTrees final : public TreeStore {
 public:
  explicit RememberedTrees(TreeStore& below) : below_(below) {}
  Result<std::shared_ptr<const Directory>> Get(const Digest& digest) override {
    auto known = known_.find(digest);
    if (known != known_.end()) return known->second;
    TRY_ASSIGN(auto directory, below_.Get(digest));
    return known_.emplace(digest, std::move(directory)).first->second;
  }
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override { return below_.Put(objects); }

 private:
  TreeStore& below_;
  std::map<Digest, std::shared_ptr<const Directory>> known_;
};

bool IsBelow(std::string_view path, std::string_view directory) {
  if (directory.empty()) return !path.empty();
  return path.size() > directory.size() && path.starts_with(directory) && path[directory.size()] == '/';
}

// What made one answer into another, in words.
std::string Describe(const Entry& asked, const std::string& now) {
  Cursor before(asked.answer), after(now);
  Stat was, is;
  if (ReadStat(before, asked.facets, &was) && ReadStat(after, asked.facets, &is)) {
    if (was.type != is.type) return "its type changed";
    if (was.mode != is.mode) return fmt::format("mode {:o} → {:o}", was.mode, is.mode);
    if (was.uid != is.uid || was.gid != is.gid) {
      return fmt::format("owner {}:{} → {}:{}", was.uid, was.gid, is.uid, is.gid);
    }
    if (asked.facets & kContent) return "content changed";
    if (was.size != is.size) return fmt::format("size {} → {}", was.size, is.size);
  }
  if (asked.facets & kContent) return "content changed";
  if (asked.facets & kSubtree) return "something in it changed";
  if (asked.facets & kList) return "other names are in it";
  if (asked.facets & kLink) return "it links elsewhere";
  return "its extended attributes changed";
}

}  // namespace

bool WalksBefore(std::string_view a, std::string_view b) {
  size_t n = std::min(a.size(), b.size());
  auto [x, y] = std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin());
  if (x == a.begin() + static_cast<ptrdiff_t>(n)) return a.size() < b.size();
  if (*x == '/' || *y == '/') return *x == '/';
  return static_cast<uint8_t>(*x) < static_cast<uint8_t>(*y);
}

Result<std::string> Answer(TreeStore& trees, const Node& node, uint8_t facets) {
  std::string answer;
  if (facets & (kExists | kStat)) PutExists(answer, node);
  if (facets & kStat) PutVarint(answer, SizeOf(node));
  if (facets & kContent) answer += node.type == NodeType::kFile ? node.digest.raw() : Digest().raw();
  if (facets & kList) {
    Digest list;
    if (node.IsDirectory()) {
      TRY_ASSIGN(auto directory, GetDirectory(trees, node.digest));
      list = ListOf(*directory);
    }
    answer += list.raw();
  }
  if (facets & kLink) answer += Digest::Of(node.target).raw();
  if (facets & kXattr) answer += XattrsOf(node).raw();
  if (facets & kSubtree) answer += node.IsDirectory() ? node.digest.raw() : Digest().raw();
  return answer;
}

Result<ReadSet> AnswerAll(TreeStore& trees, const Digest& root, const std::vector<Question>& asked) {
  RememberedTrees remembered(trees);
  ReadSet set;
  for (const Question& question : asked) {
    Entry entry{.path = question.path, .facets = question.facets, .answer = {}, .object = {}};
    TRY_ASSIGN(auto node, Lookup(remembered, root, RelPath(question.path)));
    if (node.has_value() == ((question.facets & kAbsent) != 0)) {
      return Corrupt("the layer and its index disagree about \"{}\"", question.path);
    }
    if (node) {
      TRY_ASSIGN(entry.answer, Answer(remembered, *node, question.facets));
      if (node->IsDirectory()) entry.object = node->digest;
    }
    set.push_back(std::move(entry));
  }
  return set;
}

Result<ReadSet> Coarsen(TreeStore& trees, const Digest& root, ReadSet set, size_t limit) {
  if (set.size() <= limit) return set;
  // Entries below each directory that has an entry itself; the set comes parents first.
  ReadSet out;
  std::vector<size_t> open;  // in `out`: directories that the walk is in
  auto close = [&](size_t at) -> Status {
    if (out.size() - at - 1 <= limit) return Ok();
    Entry& directory = out[at];
    TRY_ASSIGN(auto node, Lookup(trees, root, RelPath(directory.path)));
    if (!node || !node->IsDirectory()) return Corrupt("no directory \"{}\" in the layer", directory.path);
    directory.facets = static_cast<uint8_t>((directory.facets & ~kList) | kSubtree);
    TRY_ASSIGN(directory.answer, Answer(trees, *node, directory.facets));
    out.resize(at + 1);
    return Ok();
  };
  for (Entry& entry : set) {
    while (!open.empty() && !IsBelow(entry.path, out[open.back()].path)) {
      TRY(close(open.back()));
      open.pop_back();
    }
    bool is_directory = !entry.object.empty();
    out.push_back(std::move(entry));
    if (is_directory) open.push_back(out.size() - 1);
  }
  for (; !open.empty(); open.pop_back()) TRY(close(open.back()));
  return out;
}

bool WasMerged(const Entry& entry) {
  Cursor answer(entry.answer);
  Stat was;
  return ReadStat(answer, entry.facets, &was) && was.type == static_cast<uint32_t>(NodeType::kDirectory);
}

Result<std::optional<Mismatch>> FirstMismatch(TreeStore& trees, const Digest& root, const ReadSet& set,
                                              const IsOverlooked& overlooked) {
  RememberedTrees remembered(trees);
  const std::string* same = nullptr;  // a directory that holds what it held
  for (const Entry& entry : set) {
    if (same != nullptr && IsBelow(entry.path, *same)) continue;
    TRY_ASSIGN(auto node, Lookup(remembered, root, RelPath(entry.path)));
    const bool was_there = (entry.facets & kAbsent) == 0;
    std::string now;
    if (node && was_there) {
      TRY_ASSIGN(now, Answer(remembered, *node, entry.facets));
    }
    const bool differs = node.has_value() != was_there || now != entry.answer;
    if (differs && overlooked) {
      TRY_ASSIGN(bool hidden, overlooked(entry, node));
      if (hidden) continue;
    }
    if (differs && !node) return Mismatch{entry.path, entry.facets, "is gone"};
    if (differs) return Mismatch{entry.path, entry.facets, was_there ? Describe(entry, now) : "is there now"};
    if (node && !entry.object.empty() && node->digest == entry.object) same = &entry.path;
  }
  return std::optional<Mismatch>();
}

std::string EncodeReadSet(const ReadSet& set) {
  std::string out(kMagic);
  PutVarint(out, set.size());
  std::string_view before;
  for (const Entry& entry : set) {
    size_t shared = 0;
    while (shared < before.size() && shared < entry.path.size() && before[shared] == entry.path[shared]) {
      ++shared;
    }
    PutVarint(out, shared);
    PutBytes(out, std::string_view(entry.path).substr(shared));
    PutVarint(out, entry.facets * 2U + (entry.object.empty() ? 0 : 1));
    if (!(entry.facets & kAbsent)) PutBytes(out, entry.answer);
    if (!entry.object.empty()) out += entry.object.raw();
    before = entry.path;
  }
  return out;
}

Result<ReadSet> DecodeReadSet(std::string_view encoded) {
  auto damaged = [] { return Corrupt("a read set is damaged"); };
  if (!encoded.starts_with(kMagic)) return damaged();
  Cursor in(encoded.substr(kMagic.size()));
  uint64_t count;
  if (!in.Varint(&count) || count > in.remaining()) return damaged();
  ReadSet set;
  for (uint64_t i = 0; i < count; ++i) {
    Entry entry;
    uint64_t shared;
    std::string_view rest, bytes;
    uint32_t flags;
    std::string_view before = set.empty() ? std::string_view() : std::string_view(set.back().path);
    if (!in.Varint(&shared) || shared > before.size() || !in.Bytes(&rest) || !in.Varint32(&flags)) return damaged();
    entry.path = std::string(before.substr(0, shared)) + std::string(rest);
    if (flags >= 512) return damaged();
    entry.facets = static_cast<uint8_t>(flags / 2);
    bool known = entry.facets == kAbsent || (entry.facets != 0 && !(entry.facets & kAbsent));
    bool in_order = set.empty() || WalksBefore(before, entry.path);
    if (!known || !in_order || RelPath(entry.path).str() != entry.path) return damaged();
    if (entry.facets != kAbsent) {
      if (!in.Bytes(&bytes)) return damaged();
      entry.answer = bytes;
    }
    if (flags & 1) {
      if (entry.facets == kAbsent || !in.Raw(Digest::kSize, &bytes)) return damaged();
      entry.object = Digest::FromBytes(bytes);
      if (entry.object.empty()) return damaged();
    }
    set.push_back(std::move(entry));
  }
  if (!in.AtEnd()) return damaged();
  return set;
}

std::string FacetNames(uint8_t facets) {
  std::vector<std::string> names;
  // Whoever sees the attributes sees that it is there.
  if ((facets & (kExists | kStat)) == kExists) names.push_back("exists");
  for (auto [facet, name] : {std::pair(kAbsent, "absent"),
                             {kStat, "stat"},
                             {kContent, "content"},
                             {kList, "list"},
                             {kLink, "link"},
                             {kXattr, "xattrs"},
                             {kSubtree, "subtree"}}) {
    if (facets & facet) names.push_back(name);
  }
  return Join(names, ", ");
}

}  // namespace varve::tree
