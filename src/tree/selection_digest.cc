// Preimage of a selection digest, version 1. Integers are varints, texts are length and bytes,
// `node` is  type mode uid gid body xattrs  as in tree.h, `header` the same without a directory's
// digest.
//
//   preimage := "vsel1\n" selector*
//   selector := ('P' path header | 'M' name node | 'F' name entry* 'E')* 'S'
//   entry    := 'N' path header
//
//   P  with --parents: a directory between the pivot and a match, once, before what is in it
//   M  a match that is taken whole: a directory's content is in the digest of its object
//   F  a match of a selector with include or exclude patterns: what they let through, the match
//      itself first with an empty path, each path below the match
//
// The selector itself is not part of it: the key of a step holds it (Selector::ToJson). A change of
// this format loses every cache; tests/golden/tree/selection_digest.txt notices.
#include <set>

#include "tree/node_codec.h"
#include "tree/selection.h"

namespace varve::tree {

namespace {

class Preimage {
 public:
  Preimage() { buffer_.append("vsel1\n"); }

  void Mark(char tag) { buffer_.push_back(tag); }
  void Entry(char tag, std::string_view name, const Node& node, ChildDigest child_digest) {
    Mark(tag);
    PutBytes(buffer_, name);
    AppendNode(buffer_, node, child_digest);
    Flush(64 << 10);
  }
  void Name(char tag, std::string_view name) {
    Mark(tag);
    PutBytes(buffer_, name);
  }
  Digest Finish() {
    Flush(0);
    return hash_.Finish();
  }

 private:
  void Flush(size_t above) {
    if (buffer_.size() <= above) return;
    hash_.Update(buffer_);
    buffer_.clear();
  }

  Sha256 hash_;
  std::string buffer_;
};

Status AddParents(TreeStore& store, const Digest& root, const Match& match, std::set<RelPath>* seen, Preimage* out) {
  RelPath kept(match.dest_name);
  size_t depth = kept.Parts().size();
  // match.path ends in the kept path, since nothing below the pivot is followed.
  std::vector<std::pair<RelPath, RelPath>> parents;
  RelPath path = match.path;
  for (; depth > 1; --depth) {
    path = path.Parent();
    kept = kept.Parent();
    parents.emplace_back(path, kept);
  }
  for (auto it = parents.rbegin(); it != parents.rend(); ++it) {
    if (!seen->insert(it->first).second) continue;
    TRY_ASSIGN(auto node, Lookup(store, root, it->first));
    if (!node) return Internal("parent {} of a match is gone", it->first.Absolute());
    out->Entry('P', it->second.str(), *node, ChildDigest::kOmit);
  }
  return Ok();
}

}  // namespace

Result<Digest> SelectionDigest(TreeStore& store, const Digest& root, const std::vector<Selector>& selectors) {
  Preimage out;
  for (const Selector& selector : selectors) {
    TRY_ASSIGN(auto matches, FindMatches(store, root, selector));
    bool filtered = !selector.include.empty() || !selector.exclude.empty();
    std::set<RelPath> seen;
    for (const Match& match : matches) {
      bool whole = !filtered || (!match.node.IsDirectory() && !selector.parents);
      if (!whole) {
        // A directory of which the patterns let nothing through leaves no trace, nor do its
        // parents.
        bool any = false;
        auto visit = [&](const RelPath& below, const Node& node) -> Status {
          if (!any) {
            any = true;
            if (selector.parents) TRY(AddParents(store, root, match, &seen, &out));
            out.Name('F', match.dest_name);
          }
          out.Entry('N', below.str(), node, ChildDigest::kOmit);
          return Ok();
        };
        TRY(WalkMatch(store, selector, match, visit));
        if (any) out.Mark('E');
        continue;
      }
      if (selector.parents) TRY(AddParents(store, root, match, &seen, &out));
      out.Entry('M', match.dest_name, match.node, ChildDigest::kWrite);
    }
    out.Mark('S');
  }
  return out.Finish();
}

}  // namespace varve::tree
