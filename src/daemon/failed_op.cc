#include "daemon/failed_op.h"

#include "base/digest.h"
#include "base/go_quote.h"
#include "base/rel_path.h"
#include "llb/definition.h"

namespace varve::daemon {

namespace {

// Only what leads to the result counts: Ops that nothing needs may stay.
pb::Definition WithResult(pb::Definition definition, const std::string& digest, int64_t index) {
  if (definition.def_size() > 0) definition.mutable_def()->RemoveLast();
  pb::Op last;
  pb::Input& input = *last.add_inputs();
  input.set_digest(digest);
  input.set_index(index);
  definition.add_def(llb::Serialise(last));
  return definition;
}

bool IsMissing(const std::string& path, const std::string& message) {
  return message.ends_with(GoQuote(RelPath(path).Absolute()) + ": not found");
}

}  // namespace

Result<FailedOp> FindOp(const pb::Definition& definition, const std::string& digest) {
  for (const std::string& bytes : definition.def()) {
    if (Digest::Of(bytes).ToString() != digest) continue;
    FailedOp found{.definition = definition, .op = {}, .description = {}};
    if (!found.op.ParseFromString(bytes)) return Invalid("Op {} is malformed", digest);
    if (auto metadata = definition.metadata().find(digest); metadata != definition.metadata().end()) {
      const auto& description = metadata->second.description();
      found.description = {description.begin(), description.end()};
      found.description.erase(llb::kStepNote);
    }
    return found;
  }
  return NotFound("no Op has the digest {}", digest);
}

Result<FailedOp> LastOp(const pb::Definition& definition) {
  pb::Op last;
  if (definition.def_size() == 0 || !last.ParseFromString(definition.def(definition.def_size() - 1)) ||
      last.inputs_size() != 1) {
    return NotFound("the definition has no result");
  }
  return FindOp(definition, last.inputs(0).digest());
}

pb::Definition InputOf(const FailedOp& failed, int input) {
  return WithResult(failed.definition, failed.op.inputs(input).digest(), failed.op.inputs(input).index());
}

pb::Definition ResultOfAction(const FailedOp& failed, int action) {
  pb::Op op = failed.op;
  auto& actions = *op.mutable_file()->mutable_actions();
  actions.DeleteSubrange(action + 1, actions.size() - action - 1);
  for (pb::FileAction& each : actions) each.set_output(-1);
  actions[action].set_output(0);
  pb::Definition definition = failed.definition;
  const std::string bytes = llb::Serialise(op);
  *definition.mutable_def()->Add() = definition.def(definition.def_size() - 1);
  *definition.mutable_def(definition.def_size() - 2) = bytes;
  return WithResult(std::move(definition), Digest::Of(bytes).ToString(), 0);
}

std::optional<int> MissingInput(const FailedOp& failed, const std::string& message) {
  for (const pb::Mount& mount : failed.op.exec().mounts()) {
    if (mount.input() >= 0 && !mount.selector().empty() && IsMissing(mount.selector(), message)) {
      return static_cast<int>(mount.input());
    }
  }
  for (const pb::FileAction& action : failed.op.file().actions()) {
    const bool of_input = action.secondary_input() >= 0 && action.secondary_input() < failed.op.inputs_size();
    if (action.has_copy() && of_input && IsMissing(action.copy().src(), message)) {
      return static_cast<int>(action.secondary_input());
    }
  }
  return std::nullopt;
}

}  // namespace varve::daemon
