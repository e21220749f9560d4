#include "job/call_results.h"

#include "base/fd.h"
#include "dockerfile/subrequests.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::job {

CallResult CheckResult(const dockerfile::CheckReport& report) {
  return {dockerfile::ToJson(report), dockerfile::ToText(report), report.StatusCode()};
}

CallResult OutlineResult(const dockerfile::Outline& outline, const BuildContext& context) {
  return {dockerfile::ToJson(outline, context.dockerfile), dockerfile::ToText(outline)};
}

CallResult TargetsResult(const dockerfile::Dockerfile& file, const BuildContext& context) {
  auto targets = dockerfile::ListTargets(file);
  return {dockerfile::ToJson(targets, context.dockerfile), dockerfile::ToText(targets)};
}

CallResult GraphResult(const graph::Graph& graph) {
  Json json = graph::Dump(graph);
  std::string text = json.Dump({.indent = 2}) + "\n";
  return {std::move(json), std::move(text)};
}

CallResult DescribeResult() { return {dockerfile::DescribeJson(), dockerfile::DescribeText()}; }

Result<int> Deliver(const CallResult& result, const BuildFlags& flags) {
  if (!flags.metadata_file.empty()) {
    Json metadata;
    metadata.Set("result.json", result.json).Set("result.txt", result.text);
    metadata.Set("result.statuscode", std::to_string(result.status));
    metadata.Set("version", dockerfile::kSubrequestVersion);
    TRY(WriteFileAtomically(flags.metadata_file, metadata.Dump({.indent = 2, .sort_keys = true}) + "\n"));
  }
  ToStdout(flags.call.json ? result.json.Dump({.indent = 2}) + "\n" : result.text);
  return result.status == 0 || flags.call.ignore_status ? kSuccess : kBuildFailed;
}

}  // namespace varve::job
