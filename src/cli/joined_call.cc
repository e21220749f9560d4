#include "cli/joined_call.h"

#include <algorithm>

#include "cli/context_facts.h"
#include "job/build_display.h"
#include "job/build_report.h"
#include "job/call_results.h"
#include "job/collect_after.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "sys/namespace.h"

namespace varve::cli {

namespace {

job::CallResult CheckOf(job::BuildJob& job, const job::BuildFlags& flags, const dockerfile::Parsed<void>& lowered) {
  const job::BuildContext& context = job.context();
  dockerfile::CheckReport report{
      .file_name = context.dockerfile_name, .source = context.dockerfile, .warnings = job.warnings()};
  if (!lowered) report.error = lowered.error();
  if (flags.call.hints != job::CallFlag::Hints::kHide && !job.file().stages.empty()) {
    report.hints = FindHints(job.file(), flags, context, job.lowered().images, true);
    report.hints_are_errors = flags.call.hints == job::CallFlag::Hints::kError;
  }
  return job::CheckResult(report);
}

// What the part's call answers. An error is about its context or Dockerfile.
dockerfile::Parsed<job::CallResult> Answer(job::BuildJob& job, const job::BuildFlags& flags) {
  auto read = job.Read();
  const std::string& name = flags.call.name;
  if (!read && (name != "lint" || job.context().dockerfile_name.empty())) return std::unexpected(read.error());
  if (name == "targets") return job::TargetsResult(job.file(), job.context());
  auto lowered = read ? job.Lower() : read;
  if (name == "lint") return CheckOf(job, flags, lowered);
  if (!lowered) return std::unexpected(lowered.error());
  return name == "outline" ? job::OutlineResult(job.lowered().outline, job.context()) : job::GraphResult(job.graph());
}

}  // namespace

int CallJoined(JoinedRequest request, const bake::Selection& selection, const job::CallFlag& call,
               const job::GlobalFlags& global) {
  if (sys::CanMount()) {
    if (Status entered = sys::EnterPrivateMountNamespace(); !entered) return job::FailWith(entered.error(), nullptr);
  }
  job::StopSignals signals;
  auto workspace = job::Workspace::Open(global);
  if (!workspace) return job::FailWith(workspace.error(), nullptr);
  auto board = job::MakeBoard(request.shown);
  const bool json = call.json;
  Json answers = selection.ToJson(), targets = Json::EmptyObject();
  std::string text;
  int code = job::kSuccess;
  std::vector<std::unique_ptr<job::BuildJob>> jobs;
  std::ranges::sort(request.parts, {}, &JoinedJob::Part::name);
  for (const JoinedJob::Part& part : request.parts) {
    if (part.flags.call.name == "build") continue;
    jobs.push_back(std::make_unique<job::BuildJob>(part.flags, *workspace, *board, signals.token()));
    job::BuildJob& job = *jobs.back();
    // Its links are contexts that only a build has.
    std::vector<std::unique_ptr<job::BuildJob>> linked;
    for (const auto& [context, name] : part.links) {
      auto other = std::ranges::find(request.parts, name, &JoinedJob::Part::name);
      linked.push_back(std::make_unique<job::BuildJob>(other->flags, *workspace, *board, signals.token()));
      auto ready = linked.back()->Read();
      if (ready) ready = linked.back()->Lower();
      if (!ready) return job::FailWith(ready.error(), linked.back()->context(), board.get());
      job.Link(context, *linked.back());
    }
    auto answer = Answer(job, part.flags);
    if (!answer) return job::FailWith(answer.error(), job.context(), board.get());
    if (answer->status != 0 && !part.flags.call.ignore_status) code = job::kBuildFailed;
    const bake::Target& target = selection.targets.at(part.name);
    std::string shown = part.flags.call.name == "lint" ? "check" : part.flags.call.name;
    targets.Set(part.name, Json().Set("build", target.ToJson()).Set(shown, std::move(answer->json)));
    if (!text.empty()) text += "\n";
    text += part.name + "\n" + (target.description.empty() ? "" : target.description + "\n") + "\n" + answer->text;
  }
  board->Close();
  job::ToStdout(json ? answers.Set("target", std::move(targets)).Dump({.indent = 2}) + "\n" : text);
  job::EndBuild(*workspace);
  return code;
}

}  // namespace varve::cli
