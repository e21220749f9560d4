// The parts of Decode, one kind of Op each. For this module's files only.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "api/ops.pb.h"
#include "base/json.h"
#include "graph/graph.h"
#include "llb/definition.h"

namespace varve::llb {

// One Op on its way into the graph.
struct OpReader {
  std::string digest;
  const pb::Op& op;
  const pb::OpMetadata& metadata;
  const Json& note;                               // of kStepNote; an object
  std::vector<std::optional<graph::Ref>> inputs;  // as Op::inputs; none: an empty file system
  graph::Step step;                               // platform, name and policy: the same for all
  graph::Graph& graph;
  std::map<graph::StepIndex, graph::Ref>& layered;  // directories that are layers by now
  // By output index; none: an empty file system. A missing index is no output.
  std::map<int64_t, std::optional<graph::Ref>> outputs;

  // An input that a field names: an index of Op::inputs, or -1.
  Result<std::optional<graph::Ref>> Input(int64_t index, std::string_view field) const;
  // The same as a step, also where it is empty.
  Result<graph::Ref> InputStep(int64_t index, std::string_view field);
  graph::Ref EmptyTree();
  // A context, a checkout or a download, which is a directory of this machine, as layers: where it is
  // written on, merged, or the result.
  graph::Ref AsLayers(graph::Ref ref);
  graph::Ref Add(graph::Op made, std::vector<graph::Ref> from = {});
};

Status DecodeExec(OpReader& reader, const pb::ExecOp& exec);
Status DecodeFile(OpReader& reader, const pb::FileOp& file);

// "mkdir /a, copy /b /c": how BuildKit names an Op that the client did not.
std::string OpTitle(const pb::Op& op, const std::vector<std::string>& input_names);

// The inputs of a step as lowering lists them: a file system that is written on has a place of its own,
// what is only read is there once.
class InputList {
 public:
  // All of these come first.
  int AddOwn(graph::Ref ref) {
    CHECK(own_ == refs_.size());
    refs_.push_back(ref);
    return static_cast<int>(own_++);
  }
  int Add(graph::Ref ref) {
    for (size_t i = own_; i < refs_.size(); ++i) {
      if (refs_[i] == ref) return static_cast<int>(i);
    }
    refs_.push_back(ref);
    return static_cast<int>(refs_.size() - 1);
  }
  std::vector<graph::Ref> Take() { return std::move(refs_); }

 private:
  std::vector<graph::Ref> refs_;
  size_t own_ = 0;
};

}  // namespace varve::llb
