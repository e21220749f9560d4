#include "job/build_history.h"

#include <algorithm>
#include <set>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/redact.h"
#include "base/strings.h"
#include "job/version.h"

namespace varve::job {

namespace {

history::Fate FateOf(engine::StepStatus status) {
  switch (status) {
    case engine::StepStatus::kNotNeeded:
      return history::Fate::kSkipped;
    case engine::StepStatus::kCached:
      return history::Fate::kCached;
    case engine::StepStatus::kRan:
      return history::Fate::kRan;
    case engine::StepStatus::kFailed:
      return history::Fate::kFailed;
    case engine::StepStatus::kCancelled:
      return history::Fate::kCancelled;
  }
  return history::Fate::kSkipped;
}

history::Step StepOf(const graph::Graph& graph, graph::StepIndex i, const engine::StepOutcome& outcome) {
  const graph::Step& step = graph.steps[i];
  history::Step out{.index = i,
                    .name = step.name,
                    .stage = step.stage,
                    .source = graph::IsSource(step.op),
                    .fate = FateOf(outcome.status)};
  for (const graph::Ref& input : step.inputs) {
    if (std::ranges::find(out.inputs, input.step) == out.inputs.end()) out.inputs.push_back(input.step);
  }
  if (!outcome.key.empty()) out.key = outcome.key.ToString();
  out.slot = outcome.slot;
  out.wall = outcome.wall;
  if (outcome.status == engine::StepStatus::kCached) out.saved = outcome.saved;
  out.new_bytes = outcome.new_bytes;
  out.tier = outcome.tier;
  out.why = engine::Summarise(outcome.reasons);
  out.replayed = outcome.replayed;
  out.shadow = outcome.shadow;
  if (!outcome.reasons.empty()) out.reasons = engine::ToJson(outcome.reasons);
  return out;
}

void AddTimes(const progress::Vertex& vertex, history::Step& step) {
  if (!vertex.started) return;
  step.started = *vertex.started;
  if (vertex.completed) step.wall = Nanos(vertex.completed->nanos - vertex.started->nanos);
  for (const progress::Item& item : vertex.items) {
    if (!item.completed) continue;
    step.parts.push_back(
        {item.id, item.started, Nanos(item.completed->nanos - item.started.nanos), std::max(item.current, item.total)});
  }
}

std::vector<history::Warning> WarningsOf(progress::Board& board) {
  std::vector<history::Warning> out;
  for (progress::Warning& warning : board.Warnings()) {
    out.push_back({.text = std::move(warning.text),
                   .remedy = std::move(warning.detail),
                   .url = std::move(warning.url),
                   .file = std::move(warning.file),
                   .line = warning.line});
  }
  return out;
}

history::Limits LimitsOf(const BuildConfig& config) {
  history::Limits limits;
  if (config.keep_builds) limits.builds = static_cast<size_t>(*config.keep_builds);
  if (config.keep_for) limits.age = *config.keep_for;
  if (config.keep_bytes) limits.bytes = *config.keep_bytes;
  return limits;
}

// The last part of a path or URL that says something: "app" of /src/app, of https://host/app.git.
std::string NameOf(std::string context) {
  context = context.substr(0, context.find_first_of("?#"));
  while (context.size() > 1 && context.ends_with('/')) context.pop_back();
  if (context.ends_with(".git")) context.resize(context.size() - 4);
  size_t slash = context.rfind('/');
  return slash == context.npos || slash + 1 == context.size() ? context : context.substr(slash + 1);
}

history::Build HeaderOf(const BuildJob& job, const BuildFlags& flags, const std::string& command) {
  history::Build header;
  header.command = command;
  header.project = job.project();
  bool local = header.project.starts_with('/');
  header.name = NameOf(local ? header.project : flags.context);
  header.context = local ? header.project : RedactedText(flags.context);
  header.dockerfile = job.context().dockerfile_name;
  header.target = flags.target;
  header.platforms = flags.platforms;
  header.tags = flags.tags;
  for (const auto& [name, value] : flags.build_args) {
    header.build_args.emplace_back(name, Redacted(name, value));
  }
  return header;
}

}  // namespace

std::vector<std::string> ShownArguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  for (const std::string& argument : arguments) {
    size_t eq = argument.find('=');
    bool flag = argument.starts_with("--") && eq != argument.npos;
    out.push_back(flag ? argument.substr(0, eq + 1) + RedactedText(argument.substr(eq + 1)) : RedactedText(argument));
  }
  return out;
}

std::vector<std::string> ShownArguments() {
  auto text = ReadFile("/proc/self/cmdline", 4 << 20);
  if (!text || text->empty()) return {};
  text->pop_back();  // each ends with a NUL
  std::vector<std::string> arguments = Split(*text, '\0');
  arguments.erase(arguments.begin());
  return ShownArguments(arguments);
}

// Journals what happens, and keeps what is printed. Calls as engine::Observer's.
class BuildHistory::Watcher final : public engine::Observer {
 public:
  Watcher(BoardObserver& display, history::Recorder& recorder, const graph::Graph& graph)
      : display_(display), recorder_(recorder), graph_(graph) {
    for (graph::StepIndex i = 0; i < graph.steps.size(); ++i) {
      sinks_.push_back(std::make_unique<Tee>(display.SinkOf(i), recorder, i));
      vertices_.push_back(display.VertexOf(i));
    }
  }

  void Started(graph::StepIndex step) override { display_.Started(step); }

  // A step that is told why it runs is about to run.
  void Explained(graph::StepIndex step, const std::vector<engine::Reason>& reasons) override {
    engine::StepOutcome running{.reasons = reasons};
    history::Step note = StepOf(graph_, step, running);
    note.fate = history::Fate::kRunning;
    note.started = SystemClock().Now();
    recorder_.Note(note);
    display_.Explained(step, reasons);
  }

  void Finished(graph::StepIndex step, const engine::StepOutcome& outcome, const Error* error) override {
    history::Step note = StepOf(graph_, step, outcome);
    if (error != nullptr) note.error = error->message;
    note.has_log = recorder_.HasLog(step);
    note.started = {SystemClock().Now().nanos - outcome.wall.count()};
    recorder_.Note(note);
    display_.Finished(step, outcome, error);
  }

  engine::StepSink& SinkOf(graph::StepIndex step) override { return *sinks_[step]; }

  // Of the board; outlives the display's observer.
  uint32_t VertexOf(graph::StepIndex step) const { return vertices_[step]; }

 private:
  class Tee final : public engine::StepSink {
   public:
    Tee(engine::StepSink& out, history::Recorder& recorder, graph::StepIndex step)
        : out_(out), recorder_(recorder), step_(step) {}
    void Log(int stream, std::string_view data) override {
      recorder_.Log(step_, stream, data);
      out_.Log(stream, data);
    }
    void Progress(const std::string& id, uint64_t current, uint64_t total, bool done) override {
      out_.Progress(id, current, total, done);
    }

   private:
    engine::StepSink& out_;
    history::Recorder& recorder_;
    graph::StepIndex step_;
  };

  BoardObserver& display_;
  history::Recorder& recorder_;
  const graph::Graph& graph_;
  std::vector<std::unique_ptr<Tee>> sinks_;
  std::vector<uint32_t> vertices_;
};

BuildHistory::BuildHistory(const Workspace& workspace, const BuildJob& job, const BuildFlags& flags,
                           const std::string& command)
    : BuildHistory(workspace, HeaderOf(job, flags, command)) {}

BuildHistory::BuildHistory(const Workspace& workspace, history::Build header) : root_(workspace.root) {
  METRIC("history.begin");
  header.arguments = ShownArguments();
  header.varve_version = kVersion;
  header.job = workspace.lease->id();
  header.started = SystemClock().Now();
  header_ = header;
  auto recorder = history::Recorder::Begin(root_, std::move(header), SystemClock());
  if (!recorder) {
    LOG_WARN("this build will not be in the history: {}", recorder.error().message);
    return;
  }
  recorder_ = std::move(*recorder);
  header_ = recorder_->header();
  id_ = recorder_->id();
}

BuildHistory::~BuildHistory() = default;

engine::Observer& BuildHistory::Watch(BoardObserver& display, const graph::Graph& graph) {
  if (!recorder_) return display;
  watcher_ = std::make_unique<Watcher>(display, *recorder_, graph);
  return *watcher_;
}

history::Build BuildHistory::Finish(const End& end, progress::Board& board, const BuildConfig& config) {
  METRIC("history.finish");
  using history::BuildStatus;
  history::Build build = header_;
  build.ended = SystemClock().Now();
  build.images = end.images;
  build.tiers = end.tiers;
  build.warnings = WarningsOf(board);
  build.warnings.insert(build.warnings.end(), end.hints.begin(), end.hints.end());
  build.status = BuildStatus::kCompleted;
  build.exit_code = end.exit_code;
  build.image = end.image;
  if (end.error) {
    build.status = end.error->code == Code::kCancelled ? BuildStatus::kCancelled : BuildStatus::kFailed;
    build.error = end.error->message;
  }
  std::vector<progress::Vertex> timeline = board.Timeline();
  std::set<uint32_t> shown;
  for (graph::StepIndex i = 0; end.outcome && end.graph && i < end.graph->steps.size(); ++i) {
    history::Step step = StepOf(*end.graph, i, end.outcome->steps[i]);
    if (recorder_) step.has_log = recorder_->HasLog(i);
    if (watcher_) {
      uint32_t vertex = watcher_->VertexOf(i);
      shown.insert(vertex);
      if (vertex < timeline.size()) {
        AddTimes(timeline[vertex], step);
        step.error = timeline[vertex].error;
      }
    }
    build.steps.push_back(std::move(step));
  }
  // The rest of what was shown: loading metadata, exporting.
  auto index = static_cast<uint32_t>(build.steps.size());
  for (const progress::Vertex& vertex : timeline) {
    if (shown.contains(vertex.id)) continue;
    history::Step step{.index = index++,
                       .name = vertex.name,
                       .internal = true,
                       .fate = vertex.error.empty() ? history::Fate::kRan : history::Fate::kFailed};
    if (vertex.cancelled) step.fate = history::Fate::kCancelled;
    step.error = vertex.error;
    AddTimes(vertex, step);
    build.steps.push_back(std::move(step));
  }
  if (!recorder_) return build;
  if (Status finished = recorder_->Finish(build); !finished) {
    LOG_WARN("this build is not in the history: {}", finished.error().message);
  }
  // Now and then, so that no build pays for it: ids are random.
  if (id_.ends_with('a')) {
    METRIC("history.prune");
    auto pruned = history::History(root_, SystemClock()).Prune(LimitsOf(config));
    if (!pruned) LOG_WARN("history: {}", pruned.error().message);
  }
  return build;
}

}  // namespace varve::job
