// Runs a process in the root file system that a step writes on: RUN.
#pragma once

#include "exec/job.h"
#include "exec/step_mounts.h"
#include "sandbox/sandbox.h"

namespace varve::exec {

Result<engine::RunResult> RunExecStep(const Job& job, const engine::RunRequest& request, engine::StepSink& sink,
                                      std::stop_token stop);

// What a sandbox is told of a process in the root file system at `rootfs`: users, HOME and PATH are the
// image's. Devices are not in it.
Result<sandbox::Spec> SandboxSpecOf(const graph::Exec& exec, const std::string& rootfs, const StepMounts& mounts);

}  // namespace varve::exec
