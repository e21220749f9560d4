// The parts of Explain, one for each member of a preimage. Internal to the module.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "engine/explain.h"

namespace varve::engine {

// One side of a comparison.
struct Side {
  const Json& preimage;
  const std::vector<cache::InputTree>& inputs;
  const std::vector<cache::InputImage>& images;
};

// explain_op.cc: "op". `before_name` is the display name of the earlier step.
void ExplainOp(const graph::Step& step, const Json& before, const Json& now, std::string_view before_name,
               std::vector<Reason>& out);
// explain_reads.cc: "reads" and "lineage".
void ExplainReads(const graph::Step& step, const Side& before, const Side& now, tree::TreeStore& trees,
                  std::vector<Reason>& out);
void ExplainLineage(const Side& before, const Side& now, std::vector<Reason>& out);

// What is left of a text on one line: quoted, at most 60 characters.
std::string Quote(std::string_view text);

}  // namespace varve::engine
