// StepKeys: pure functions from a step and what is known of its inputs to a key and its preimage.
//
//   preimage := canonical JSON {"schema", "salt", "platform", "op", "lineage", "reads"}
//   StepKey  := sha256(preimage)
//
// Lineage contributes the parent's key, so a step that is not reproducible and runs again causes no
// cascade of misses. Reads contribute content, so a stage that ran again and gave the same files lets
// everything after it hit. An image that is read contributes its chain id and the selectors, not the
// content: keys must not need a pull, and must not depend on what happens to be on this disk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cache/step_record.h"
#include "graph/graph.h"
#include "tree/tree.h"

namespace varve::engine {

// Bump when CanonicalOp, the preimage, or SelectionDigest changes: every key changes with it.
inline constexpr int kKeySchema = 1;

// What is known of one input when a key is computed.
struct InputFact {
  std::string name;            // for explanations: "context", an image's reference, the
                               // stage's or the step's name
  std::optional<StepKey> key;  // of a step that is no source
  uint32_t output = 0;
  std::optional<ChainId> chain;     // of an image source
  std::optional<Digest> tree_root;  // content, where known
};

struct KeyedStep {
  StepKey key;
  std::string preimage;
  Digest op_digest;
  std::vector<cache::InputTree> inputs;  // read inputs with a known tree
  std::vector<cache::InputImage> images;
};

// Empty while an input is not known well enough yet. An error if a selected path does not exist.
Result<std::optional<KeyedStep>> ComputeKey(const graph::Step& step, const std::vector<InputFact>& inputs,
                                            tree::TreeStore& trees, const std::string& salt);

}  // namespace varve::engine
