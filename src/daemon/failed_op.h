// What is known of the operation that a build failed at, for clients that look into it: a debugger's shell in what a
// failed RUN has left (reference daemon-api.md §7, errdefs.Solve).
#pragma once

#include <map>
#include <optional>
#include <string>

#include "api/ops.pb.h"
#include "base/guarded.h"
#include "base/result.h"
#include "exec/job.h"

namespace varve::daemon {

struct FailedOp {
  pb::Definition definition;  // with all that the operation needs
  pb::Op op;
  std::map<std::string, std::string> description;
  std::optional<exec::FailedExec> kept = {};  // of a process that failed
};

// The operation in a definition that has this digest ("sha256:…"). kNotFound.
Result<FailedOp> FindOp(const pb::Definition& definition, const std::string& digest);
// The operation whose result the definition's is.
Result<FailedOp> LastOp(const pb::Definition& definition);

// The same definition with another result: what input number `input` of the operation is.
pb::Definition InputOf(const FailedOp& failed, int input);
// What the file action number `action` has made; of an ExecOp nothing.
pb::Definition ResultOfAction(const FailedOp& failed, int action);

// The input whose file was asked for by the operation and is not there, which `message` says; nothing: it says
// something else.
std::optional<int> MissingInput(const FailedOp& failed, const std::string& message);

// What failed processes of one run of a build have left. Safe from any thread.
class KeptFailures {
 public:
  exec::KeepFailed keeper() {
    return [this](exec::FailedExec failed) { kept_.Lock()->insert_or_assign(failed.step, std::move(failed)); };
  }
  std::optional<exec::FailedExec> Take(graph::StepIndex step) {
    auto node = kept_.Lock()->extract(step);
    return node ? std::optional(std::move(node.mapped())) : std::nullopt;
  }

 private:
  Guarded<std::map<graph::StepIndex, exec::FailedExec>> kept_;
};

}  // namespace varve::daemon
