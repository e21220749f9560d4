#include "cli/plan_report.h"

#include <algorithm>
#include <map>

namespace varve::cli {

namespace {

using Forecast = engine::Plan::Forecast;

// What the step is to the reader: an image whose layers are here is no hit of the cache.
std::string_view ForecastName(const graph::Step& step, Forecast forecast) {
  bool source = graph::IsSource(step.op);
  switch (forecast) {
    case Forecast::kNotNeeded:
      return "not needed";
    case Forecast::kHit:
      return source ? "here" : "hit";
    case Forecast::kFetch:
      return source ? "pull" : "hit, fetch";
    case Forecast::kReplay:
      return "replay";
    case Forecast::kRun:
      return "run";
    case Forecast::kUnknown:
      return "may run";
  }
  return "not needed";
}

bool Runs(Forecast forecast) { return forecast == Forecast::kRun || forecast == Forecast::kUnknown; }

}  // namespace

std::vector<PlannedStep> PlanSteps(const graph::Graph& graph, const engine::Outcome& outcome,
                                   const std::map<std::string, Nanos>& past) {
  std::vector<PlannedStep> steps;
  for (graph::StepIndex i = 0; i < graph.steps.size() && i < outcome.forecast.size(); ++i) {
    PlannedStep step{.index = i, .forecast = outcome.forecast[i]};
    if (Runs(step.forecast)) {
      step.expected = outcome.steps[i].expected;
      auto known = past.find(outcome.steps[i].slot);
      if (!step.expected && known != past.end()) step.expected = known->second;
    }
    steps.push_back(step);
  }
  return steps;
}

PlanTotals TotalsOf(const graph::Graph& graph, const std::vector<PlannedStep>& steps) {
  PlanTotals totals;
  std::vector<Nanos> ends(graph.steps.size(), Nanos(0));
  for (const PlannedStep& step : steps) {
    bool source = graph::IsSource(graph.steps[step.index].op);
    if (!source && (step.forecast == Forecast::kHit || step.forecast == Forecast::kFetch)) ++totals.hits;
    totals.replays += step.forecast == Forecast::kReplay;
    Nanos begin(0);
    for (const graph::Ref& input : graph.steps[step.index].inputs) {
      begin = std::max(begin, ends[input.step]);
    }
    ends[step.index] = begin;
    if (source || !Runs(step.forecast)) continue;
    ++(step.forecast == Forecast::kRun ? totals.runs : totals.open);
    if (!step.expected) ++totals.unknown_times;
    ends[step.index] += step.expected.value_or(Nanos(0));
    totals.expected_sum += step.expected.value_or(Nanos(0));
    totals.expected = std::max(totals.expected, ends[step.index]);
  }
  return totals;
}

std::string PlanText(const graph::Graph& graph, const engine::Outcome& outcome, const std::vector<PlannedStep>& steps) {
  std::string out;
  for (const PlannedStep& planned : steps) {
    const graph::Step& step = graph.steps[planned.index];
    if (planned.forecast == Forecast::kNotNeeded) continue;
    const engine::StepOutcome& known = outcome.steps[planned.index];
    std::string what(ForecastName(step, planned.forecast));
    std::string time = planned.expected ? FormatDuration(*planned.expected) : Runs(planned.forecast) ? "?" : "";
    out += fmt::format("{:<10} {:>7}  {}\n", what, time, step.name.substr(0, step.name.find('\n')));
    if (!known.reasons.empty()) out += fmt::format("{:20}{}\n", "", engine::Summarise(known.reasons));
    if (planned.forecast == Forecast::kReplay) out += fmt::format("{:20}{}\n", "", known.replayed);
    if (!graph::IsSource(step.op) && !Runs(planned.forecast) && !known.tier.empty()) {
      out += fmt::format("{:20}from {}\n", "", known.tier);
    }
  }
  PlanTotals totals = TotalsOf(graph, steps);
  size_t skipped = static_cast<size_t>(std::ranges::count_if(steps, [&](const PlannedStep& step) {
    return step.forecast == Forecast::kNotNeeded && !graph::IsSource(graph.steps[step.index].op);
  }));
  out += fmt::format("\n{} hit", totals.hits);
  if (totals.replays > 0) out += fmt::format(", {} replayed", totals.replays);
  out += fmt::format(", {} run", totals.runs);
  if (totals.open > 0) out += fmt::format(", {} may run", totals.open);
  if (skipped > 0) out += fmt::format(", {} not needed", skipped);
  if (totals.runs + totals.open > 0) {
    if (totals.unknown_times < totals.runs + totals.open) {
      out += fmt::format(" · expected: {}", FormatDuration(totals.expected));
      if (totals.open > 0) out += " at most";
    }
    if (totals.unknown_times > 0) {
      out += fmt::format(" · {} step{} never timed", totals.unknown_times, totals.unknown_times == 1 ? "" : "s");
    }
  }
  return out + "\n";
}

Json PlanJson(const graph::Graph& graph, const engine::Outcome& outcome, const std::vector<PlannedStep>& steps) {
  Json list = Json::EmptyArray();
  for (const PlannedStep& planned : steps) {
    const graph::Step& step = graph.steps[planned.index];
    const engine::StepOutcome& known = outcome.steps[planned.index];
    Json json = Json().Set("index", planned.index).Set("name", step.name);
    json.SetIf(!step.stage.empty(), "stage", step.stage);
    json.Set("op", graph::OpName(step.op)).Set("forecast", ForecastName(step, planned.forecast));
    Json inputs = Json::EmptyArray();
    for (const graph::Ref& input : step.inputs) inputs.Append(input.step);
    json.SetIf(!step.inputs.empty(), "inputs", std::move(inputs));
    if (!known.key.empty()) json.Set("key", known.key.ToString());
    bool hit = planned.forecast == Forecast::kHit || planned.forecast == Forecast::kFetch;
    if (hit && !graph::IsSource(step.op)) {
      json.Set("tier", known.tier.empty() ? "local" : known.tier);
      json.SetIf(known.saved.count() != 0, "saved_ns", known.saved.count());
    }
    if (planned.forecast == Forecast::kReplay) {
      json.Set("replayed", known.replayed).SetIf(known.saved.count() != 0, "saved_ns", known.saved.count());
    }
    if (planned.expected) json.Set("expected_ns", planned.expected->count());
    if (!known.reasons.empty()) {
      json.Set("why", engine::Summarise(known.reasons)).Set("reasons", engine::ToJson(known.reasons));
    }
    if (known.cause) json.Set("cause", *known.cause);
    list.Append(std::move(json));
  }
  PlanTotals totals = TotalsOf(graph, steps);
  Json sum =
      Json().Set("hit", totals.hits).Set("replay", totals.replays).Set("run", totals.runs).Set("may_run", totals.open);
  sum.Set("expected_ns", totals.expected.count()).Set("expected_sum_ns", totals.expected_sum.count());
  sum.Set("never_timed", totals.unknown_times);
  return Json().Set("steps", std::move(list)).Set("totals", std::move(sum));
}

}  // namespace varve::cli
