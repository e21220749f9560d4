// Runs a process in the root file system that a step writes on: RUN.
#pragma once

#include "exec/job.h"

namespace varve::exec {

Result<engine::RunResult> RunExecStep(const Job& job, const engine::RunRequest& request,
                                      engine::StepSink& sink, std::stop_token stop);

}  // namespace varve::exec
