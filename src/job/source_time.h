// When the remote sources of a build are from: SOURCE_DATE_EPOCH=context, a named context, or a stage
// of one remote ADD (reference dockerfile.md §2.3).
//
//   git    the committer's time of the commit
//   http   Last-Modified, else the newest regular file of the archive
//   local  nothing: files of a directory have the times of their checkout
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>

#include "base/io.h"
#include "engine/interfaces.h"
#include "graph/graph.h"
#include "job/build_context.h"
#include "job/source_credentials.h"
#include "job/workspace.h"

namespace varve::job {

// Seconds since 1970. The main context counts as what it was fetched from (BuildContext::origin).
Result<std::optional<int64_t>> FindSourceTime(const graph::Op& source, const BuildContext& context,
                                              const SourceCredentials& credentials, Workspace& workspace,
                                              engine::StepSink& sink, std::stop_token stop);

// Of the regular files in a tar, compressed or not; nothing for what is no tar or has none.
Result<std::optional<int64_t>> NewestFileTime(Reader& archive, std::stop_token stop);

}  // namespace varve::job
