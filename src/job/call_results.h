// The answers of --call: what a Dockerfile says, without building it (reference cli.md §4).
#pragma once

#include "dockerfile/check_report.h"
#include "dockerfile/outline.h"
#include "graph/graph.h"
#include "job/build_context.h"
#include "job/build_flags.h"

namespace varve::job {

// An answer in every form in which it can be wanted.
struct CallResult {
  Json json;
  std::string text;
  int status = 0;  // what the command ends with, unless the caller ignores it
};

CallResult CheckResult(const dockerfile::CheckReport& report);
CallResult OutlineResult(const dockerfile::Outline& outline, const BuildContext& context);
CallResult TargetsResult(const dockerfile::Dockerfile& file, const BuildContext& context);
CallResult GraphResult(const graph::Graph& graph);  // varve's own: always JSON
CallResult DescribeResult();

// Prints the form that is asked for on stdout and writes --metadata-file: result.json, result.txt,
// result.statuscode and version, as Buildx does. Returns the exit code.
Result<int> Deliver(const CallResult& result, const BuildFlags& flags);

}  // namespace varve::job
