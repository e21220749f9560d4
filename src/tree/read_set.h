// What a step looked at in one layer, as values: the path set of a trace.
//
// A RUN step sees the layers of its build context through a file system that notes every question it
// is asked (trace/traced_layers.h). A question and its answer are a facet of a path: that the path is
// not there, what its attributes are, what the file holds, which names a directory has. When another
// tree answers every noted question the same way, the step cannot have seen a difference, and what it
// wrote then is what it would write now.
//
// Modification times, inode numbers, link counts and the order of a directory are no facets: Trees do
// not have them, and the file system gives every step the same ones.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "tree/tree.h"

namespace varve::tree {

// Bits. What implies what: kStat says all that kExists does, and stands in its place; whoever opens a path
// has seen its attributes, so kContent and kList come with kStat; kAbsent comes alone.
enum Facet : uint8_t {
  kAbsent = 1,    // the layer has no such path
  kStat = 2,      // type, mode, owner, size of a file, length of a link's target, device number
  kContent = 4,   // the bytes of a file
  kList = 8,      // names and types of a directory's entries
  kLink = 16,     // the target of a symlink
  kXattr = 32,    // all extended attributes
  kExists = 128,  // type, mode, owner: it was looked up, and nobody saw more
  kSubtree = 64,  // everything in a directory, at any depth: in place of many entries
};

struct Question {
  std::string path;  // in the layer, as RelPath::str(); empty: the layer's root
  uint8_t facets = 0;
  bool operator==(const Question&) const = default;
};

struct Entry {
  std::string path;
  uint8_t facets = 0;
  std::string answer;  // to the facets, see Answer(); empty for kAbsent
  Digest object;       // of a directory: its Tree object. Equal: everything below is equal too
  bool operator==(const Entry&) const = default;
};

// By path in the order of a walk (by parts: "a/b" before "a-b"), each path once.
using ReadSet = std::vector<Entry>;

// Whether path `a` comes before `b` in that order.
bool WalksBefore(std::string_view a, std::string_view b);

// What `node` answers to the facets: bytes that are equal where the answers are. For kList the node's
// own Directory object is asked for in `trees`: kCorrupt when it is gone.
//
//   answer := [type mode uid gid [size]] digest*
// The type with 16 for a directory that hides what is below it (merged_layers.h). The varints for kExists, with kStat
// and its size (0 where it says nothing); then 32 bytes for each other facet, lowest bit first, kLink's of the target's
// text.
Result<std::string> Answer(TreeStore& trees, const Node& node, uint8_t facets);

// The questions, in the order of a walk, with the answers that a layer's Tree gives. kCorrupt when a
// path is absent that the questions say is there, or the other way round.
Result<ReadSet> AnswerAll(TreeStore& trees, const Digest& root, const std::vector<Question>& asked);

// Puts one kSubtree in the place of a directory's entries wherever more than `limit` entries lie below
// it, deepest directories first: sound, since everything is more than what was asked for, and it
// bounds what a step that reads all files leaves behind. `root`: the layer's Tree.
Result<ReadSet> Coarsen(TreeStore& trees, const Digest& root, ReadSet set, size_t limit);

// The first path whose answer differs in another layer; none: a step sees no difference.
struct Mismatch {
  std::string path;
  uint8_t facets = 0;      // what was asked
  std::string difference;  // "content changed", "is gone", "is there now", "mode 755 → 700", …
};
// Whether a difference, with the node that is there now, does not count after all.
using IsOverlooked = std::function<Result<bool>(const Entry& entry, const std::optional<Node>& now)>;
Result<std::optional<Mismatch>> FirstMismatch(TreeStore& trees, const Digest& root, const ReadSet& set,
                                              const IsOverlooked& overlooked = {});

// Whether the path was a directory that overlayfs merges with those of layers below it.
bool WasMerged(const Entry& entry);

// Encoding, version 2 (integers are LEB128 varints):
//
//   set   := "vrs2\n" count entry*
//   entry := shared rest flags [answer] [object]   path = the first `shared` bytes of the one before,
//                                                  then `rest`; rest and answer: length bytes
//   flags := twice the facets, and one more where there is an object (32 bytes); no answer for kAbsent
std::string EncodeReadSet(const ReadSet& set);
Result<ReadSet> DecodeReadSet(std::string_view encoded);  // kCorrupt

// "stat, content": for people.
std::string FacetNames(uint8_t facets);

}  // namespace varve::tree
