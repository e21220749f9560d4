// Performs file actions (COPY, ADD, WORKDIR, …) as one new layer.
#pragma once

#include "exec/job.h"

namespace varve::exec {

Result<engine::RunResult> RunFileStep(const Job& job, const engine::RunRequest& request, engine::StepSink& sink,
                                      std::stop_token stop);

}  // namespace varve::exec
