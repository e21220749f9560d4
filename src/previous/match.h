// Which steps of a build an image that was built earlier answers, without any metadata of ours.
//
// The image's history is laid beside the history that this build would write. Layers are answered
// from the bottom, as long as each one is what the step would make:
//
//   base       its layers have the same diff ids, and its history is the same
//   COPY, ADD, the files in the image's layer are those that the step makes of the context. Under
//   WORKDIR    Trust::kContent the trees after the layer are compared, so that nothing of what the
//              history says has to be believed; under Trust::kHistory the layer alone is looked at
//              (layer_evidence.h), and those below it only when it does not tell enough
//   COPY       the image's layer alone has the files and the folders above them as they are on an
//   --link     empty file system, whatever the trust, and does not depend on what is below
//   RUN        under Trust::kHistory: the step before was answered, and arguments, shell, command,
//              and all ENV, USER, WORKDIR and SHELL before it are the same. What it did is believed
//
// The first step that is not answered ends it: a result is a whole stack of layers (invariant I2).
// Never answered: steps for another platform, RUN with files bound to
// it (what they were is not recorded), and what ApplyFileOp cannot compute.
//
// Pure but for Contents, which is asked for no layer before the history agrees, and for none that no
// wanted step rests on.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dockerfile/lower.h"
#include "graph/graph.h"
#include "oci/image_config.h"
#include "tree/layer_index.h"

namespace varve::previous {

enum class Trust { kContent, kHistory };

// What is to be built, of one stage: the parts of dockerfile::Lowered that say so.
struct Planned {
  const graph::Graph* graph = nullptr;
  std::vector<dockerfile::HistoryEntry> history;  // the base image's first
  size_t base_history = 0;                        // how many of them are the base image's
  std::vector<DiffId> base_layers;
};
// The wanted stage first, then those that it reads: an image may have been made of one of them. The
// graph must outlive them.
std::vector<Planned> PlannedOf(const dockerfile::Lowered& lowered, const graph::Graph& graph);

class Contents {
 public:
  virtual ~Contents() = default;
  virtual tree::TreeStore& trees() = 0;
  // The tree of the base image; asked only when there is one.
  virtual Result<Digest> BaseTree() = 0;
  // What the image's layer changes. May pull it. kNotFound: it cannot be had, or not without those
  // below it.
  virtual Result<tree::LayerIndex> Layer(const DiffId& layer) = 0;
  // The tree that a step reads, a context or another stage; nothing when it is not known yet.
  virtual Result<std::optional<Digest>> Input(const graph::Ref& ref) = 0;
};

struct Answer {
  graph::StepIndex step = 0;
  size_t layers = 0;      // the step's result is the image's first so many layers
  bool verified = false;  // by content, not by history
  Digest tree = {};       // of these layers, where it is known
  bool operator==(const Answer&) const = default;
};

struct Outcome {
  std::vector<Answer> answers;  // from the bottom
  // Why the step after the last answer has none, for people; empty when all have one.
  std::string stopped;
  // The histories have no step in common: no other question about this image has an answer.
  bool unlike = false;
};

// Answers up to the last step that is `wanted`. An Error is one of Contents: the answers so far are
// lost with it, and the tier is to be skipped.
using IsWanted = std::function<bool(graph::StepIndex)>;
Result<Outcome> MatchImage(const oci::ImageConfig& image, const Planned& planned, Trust trust, const IsWanted& wanted,
                           Contents& contents);

}  // namespace varve::previous
