#include "job/build_report.h"

#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "base/metric.h"
#include "base/strings.h"
#include "dockerfile/caret.h"
#include "dockerfile/excerpt.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/why_report.h"
#include "tree/pattern.h"

namespace varve::job {

namespace {

std::string ExcerptOf(const BuildContext& context, const dockerfile::Span& span) {
  return dockerfile::RenderExcerpt(context.dockerfile_name, context.dockerfile, {&span, 1});
}

std::string ErrorText(const Error& error) {
  std::string text = "ERROR: failed to build: " + error.message + "\n";
  if (!error.hint.empty()) text += "hint: " + error.hint + "\n";
  return text;
}

// Why `"/path": not found` may be, of a step that reads the main context: its ignore file leaves the
// path out, or a name beside it was meant. Empty where nothing is known.
std::string HintOfMissing(const graph::Graph& graph, const graph::Step& step, const BuildContext& context,
                          const std::string& message) {
  namespace fs = std::filesystem;
  bool reads = std::ranges::any_of(step.inputs, [&](const graph::Ref& input) {
    const auto* local = std::get_if<graph::LocalSource>(&graph.steps[input.step].op);
    return local != nullptr && local->name == "context";
  });
  size_t begin = message.find("\"/"), end = message.find("\": not found");
  if (!reads || context.directory.empty() || begin == message.npos || end == message.npos || end < begin) return "";
  fs::path path = message.substr(begin + 2, end - begin - 2);
  std::error_code error;
  if (fs::exists(fs::symlink_status(context.directory / path, error))) {
    auto ignored = tree::PatternList::Compile(context.ignore);
    return ignored && ignored->MatchesWalking(path.string())
               ? fmt::format("{} excludes it: add a line !{}", context.ignore_file, path.string())
               : "";
  }
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(context.directory / path.parent_path(), error)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  std::vector<std::string_view> candidates(names.begin(), names.end());
  if (!context.temporary.empty() && names.empty()) {
    return "the Dockerfile came without a context: give it one, as in varve build -f - DIRECTORY";
  }
  auto near = NearestWord(path.filename().string(), candidates);
  if (near) return fmt::format("did you mean \"{}\"?", (path.parent_path() / *near).string());
  if (!context.temporary.empty())
    return "paths of COPY and ADD are those of the archive or repository that is the context";
  return fmt::format("paths of COPY and ADD are below the context, {}", context.directory);
}

std::string_view StatusName(engine::StepStatus status) {
  switch (status) {
    case engine::StepStatus::kNotNeeded:
      return "not-needed";
    case engine::StepStatus::kCached:
      return "hit";
    case engine::StepStatus::kRan:
      return "run";
    case engine::StepStatus::kFailed:
      return "failed";
    case engine::StepStatus::kCancelled:
      return "cancelled";
  }
  return "not-needed";
}

}  // namespace

void PrintError(const Error& error) { ToStderr(ErrorText(error)); }

void PrintErrorAt(const Error& error, const BuildContext& context, const dockerfile::Span& span) {
  std::string excerpt = dockerfile::RenderError(context.dockerfile_name, context.dockerfile, error.message, span);
  ToStderr(excerpt.empty() ? ErrorText(Error(error).With(context.dockerfile_name)) : excerpt + ErrorText(error));
}

int FailWith(const Error& error, progress::Board* board) {
  if (board != nullptr) board->Close();
  PrintError(error);
  return ExitCodeOf(error);
}

int FailWith(const dockerfile::SourceError& error, const BuildContext& context, progress::Board* board) {
  if (context.dockerfile_name.empty()) return FailWith(error.error, board);
  if (board != nullptr) board->Close();
  PrintErrorAt(error.error, context, error.span);
  return ExitCodeOf(error.error);
}

int FailBuild(const graph::Graph& graph, const engine::Outcome& outcome, const BuildContext& context,
              progress::Board& board) {
  board.Close();
  Error error = *outcome.error;
  if (outcome.failed_step && error.code != Code::kCancelled) {
    const graph::Step& step = graph.steps[*outcome.failed_step];
    auto line = [](uint32_t n) { return static_cast<int>(n); };
    auto span = dockerfile::Span::Lines(line(step.location.first_line), line(step.location.last_line));
    ToStderr(ExcerptOf(context, span));
    error.message = "failed to solve: " + error.message;
    if (error.code == Code::kNotFound && error.hint.empty()) {
      error.hint = HintOfMissing(graph, step, context, error.message);
    }
    if (error.code == Code::kExec) {
      std::string more = "all output: --progress plain";
      if (!step.stage.empty()) more += "; what this step starts from: set --target to an earlier stage";
      error.hint = error.hint.empty() ? more : error.hint + "; " + more;
    }
  }
  ToStderr(ErrorText(error));
  return ExitCodeOf(error);
}

void ShowWarnings(const std::vector<dockerfile::Warning>& warnings, progress::Board& board,
                  const BuildContext& context) {
  for (const dockerfile::Warning& warning : warnings) {
    board.Warn({.text = warning.Short(),
                .detail = warning.detail,
                .url = warning.url,
                .excerpt = ExcerptOf(context, warning.span),
                .file = context.dockerfile_name,
                .line = static_cast<uint32_t>(std::max(0, warning.span.start_line))});
  }
}

std::string SummaryLine(const engine::Totals& totals, Nanos wall) {
  std::string line = fmt::format("{} step{} cached, {} run", totals.cached, totals.cached == 1 ? "" : "s", totals.ran);
  if (totals.new_bytes > 0) line += fmt::format(" · {} new", FormatBytes(totals.new_bytes));
  line += " · " + FormatDuration(wall);
  if (totals.saved >= Nanos(50'000'000)) line += " · the cache saved " + FormatDuration(totals.saved);
  return line;
}

void PrintSummary(const graph::Graph& graph, const engine::Outcome& outcome,
                  const std::vector<exporter::Output>& outputs, Nanos wall) {
  std::string text = "\n";
  std::string why = WhyReport(WhySteps(graph, outcome));
  if (!why.empty()) text += "why steps ran:\n" + why;
  text += SummaryLine(outcome.totals, wall) + "\n";
  if (outputs.empty()) {
    text += "no output was asked for: the result is in the cache only (name it with -t, or use -o)\n";
  }
  ToStderr(text);
}

void PrintStats() {
  std::string text;
  for (const auto& [name, value] : CounterSnapshot()) text += fmt::format("{:<40} {}\n", name, value);
  ToStderr(text);
}

void WriteStatsFile(const std::string& path, const graph::Graph& graph, const engine::Outcome& outcome) {
  Json counters = Json::EmptyObject(), steps = Json::EmptyArray();
  // Said even when nothing happened, so that a test that asks for 0 cannot have misspelt them.
  for (const char* name : {"source.pulled_bytes", "tier.bytes_read", "tier.bytes_written", "tier.hits",
                           "tier.layer_bytes", "tier.layers", "tier.mounts", "tier.requests"}) {
    counters.Set(name, 0);
  }
  for (const auto& [name, value] : CounterSnapshot()) counters.Set(name, value);
  counters.Set("steps.cached", outcome.totals.cached).Set("steps.ran", outcome.totals.ran);
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    if (graph::IsSource(graph.steps[i].op)) continue;
    const engine::StepOutcome& step = outcome.steps[i];
    Json json;
    json.Set("name", graph.steps[i].name).Set("status", StatusName(step.status));
    json.SetIf(!step.key.empty(), "key", step.key.ToString());
    json.SetIf(!step.tier.empty(), "tier", step.tier);
    json.SetIf(!step.replayed.empty(), "replayed", step.replayed);
    json.SetIf(!step.reasons.empty(), "why", step.reasons.empty() ? std::string() : engine::Summarise(step.reasons));
    steps.Append(std::move(json));
  }
  Json stats = Json().Set("counters", std::move(counters)).Set("steps", std::move(steps));
  if (Status written = WriteFileAtomically(path, stats.Dump() + "\n"); !written) {
    ToStderr("VARVE_STATS_FILE: " + written.error().message + "\n");
  }
}

}  // namespace varve::job
