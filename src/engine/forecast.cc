#include "engine/forecast.h"

#include <algorithm>

#include "base/metric.h"
#include "graph/reads.h"

namespace varve::engine {

namespace {

using graph::StepIndex;

bool RunsInThisBuild(const Known& known, StepIndex i) {
  if (!known.outcome.forecast.empty()) return known.outcome.forecast[i] == Plan::Forecast::kRun;
  return known.outcome.steps[i].status == StepStatus::kRan;
}

Upstream UpstreamOf(const Known& known, StepIndex i) {
  const graph::Step& step = known.graph.steps[i];
  Upstream out{.step = &step, .keyed = known.keyed[i], .fact_name = NameOf(step), .cause = i};
  if (known.pins[i] || graph::IsSource(step.op)) return out;
  out.ran = RunsInThisBuild(known, i);
  out.cause = known.outcome.steps[i].cause.value_or(i);
  out.cause_name = known.graph.steps[out.cause].name;
  const std::vector<Reason>& reasons = known.outcome.steps[out.cause].reasons;
  out.again = out.ran && std::ranges::any_of(reasons, [](const Reason& reason) {
                using Kind = Reason::Kind;
                return reason.kind == Kind::kNoCache || reason.kind == Kind::kMaxAge || reason.kind == Kind::kEvicted ||
                       reason.kind == Kind::kDataGone || reason.kind == Kind::kDamaged;
              });
  return out;
}

// The step that step i writes on, unless that is a source.
std::optional<StepIndex> ParentOf(const graph::Graph& graph, StepIndex i) {
  for (const graph::InputUse& use : graph::InputUses(graph.steps[i])) {
    StepIndex input = graph.steps[i].inputs[static_cast<size_t>(use.input)].step;
    if (use.lineage && !graph::IsSource(graph.steps[input].op)) return input;
  }
  return std::nullopt;
}

// A step whose key waits for the content of a stage that would run.
void ExplainUnknown(const Known& known, const MissStores& stores, StepIndex i, StepOutcome& step) {
  const std::vector<Plan::Forecast>& forecast = known.outcome.forecast;
  for (const graph::Ref& ref : known.graph.steps[i].inputs) {
    bool open = forecast[ref.step] == Plan::Forecast::kRun || forecast[ref.step] == Plan::Forecast::kUnknown;
    if (!open) continue;
    Reason reason{Reason::Kind::kParent, ""};
    step.cause = known.outcome.steps[ref.step].cause.value_or(ref.step);
    reason.step = known.graph.steps[ref.step].name;
    reason.text = fmt::format("depends on what {} gives", reason.step);
    step.reasons = {std::move(reason)};
    break;
  }
  Digest op = Digest::Of(graph::CanonicalOp(known.graph.steps[i]).DumpCanonical());
  auto earlier = stores.records.Earlier(known.slots[i], op, 1);
  if (earlier && !earlier->empty()) step.expected = earlier->front().wall;
}

}  // namespace

std::string NameOf(const graph::Step& step) {
  if (const auto* local = std::get_if<graph::LocalSource>(&step.op)) return local->name;
  if (const auto* image = std::get_if<graph::ImageSource>(&step.op)) return image->reference;
  return step.stage.empty() ? step.name : "stage " + step.stage;
}

std::vector<std::string> SlotsOf(const Request& request) {
  std::vector<std::string> slots;
  std::map<std::string, int> position;
  for (const graph::Step& step : request.graph.steps) {
    std::string stage =
        fmt::format("{}|{}|{}|{}", request.project, step.location.file, step.stage, step.platform.ToString());
    int n = graph::IsSource(step.op) ? 0 : ++position[stage];
    slots.push_back(fmt::format("{}|{}", stage, n));
  }
  return slots;
}

Miss MissOf(const Known& known, StepIndex i) {
  const graph::Step& step = known.graph.steps[i];
  Miss miss{.graph = &known.graph,
            .step = &step,
            .keyed = known.keyed[i],
            .slot = known.slots[i],
            .began = known.began,
            .look_up_error = known.look_up_error,
            .ops = known.ops};
  if (auto it = known.lost.find(i); it != known.lost.end()) miss.lost = it->second;
  if (auto it = known.too_old.find(i); it != known.too_old.end()) miss.too_old = it->second;
  miss.parent_must_run = known.plan.NoCache(i) && !step.no_cache && !miss.too_old;
  for (const graph::InputUse& use : graph::InputUses(step)) {
    if (use.lineage) continue;
    miss.reads.push_back(UpstreamOf(known, step.inputs[static_cast<size_t>(use.input)].step));
  }
  for (auto at = ParentOf(known.graph, i); at; at = ParentOf(known.graph, *at)) {
    miss.lineage.push_back(UpstreamOf(known, *at));
  }
  return miss;
}

void SetReasons(const ExplainedMiss& why, StepOutcome& step) {
  step.reasons = why.reasons;
  step.cause = why.cause;
  if (why.nearest) step.expected = why.nearest->wall;
}

void Forecast(const Known& known, const MissStores& stores, Outcome& outcome) {
  outcome.forecast = known.plan.Predict();
  for (StepIndex i = 0; i < known.graph.steps.size(); ++i) {
    if (outcome.forecast[i] == Plan::Forecast::kRun) {
      METRIC("engine.explain");
      SetReasons(ExplainMiss(MissOf(known, i), stores), outcome.steps[i]);
    } else if (outcome.forecast[i] == Plan::Forecast::kUnknown) {
      ExplainUnknown(known, stores, i, outcome.steps[i]);
    }
  }
}

}  // namespace varve::engine
