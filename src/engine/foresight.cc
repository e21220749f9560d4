#include "engine/foresight.h"

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "engine/age.h"
#include "engine/replay.h"
#include "graph/reads.h"

namespace varve::engine {

namespace {

using graph::StepIndex;
using Kind = Plan::Forecast;

class Foresight {
 public:
  Foresight(const Known& known, const Request& request, const Services& services, Outcome& outcome)
      : known_(known), request_(request), services_(services), outcome_(outcome), keyed_(known.keyed),
        results_(known.graph.steps.size()) {}

  void Look(StepIndex i) {
    Kind& forecast = outcome_.forecast[i];
    const graph::Op& op = known_.graph.steps[i].op;
    // What a copy adds is told without its layer, too.
    if (forecast == Kind::kFetch && std::holds_alternative<graph::FileOp>(op)) return Copy(i);
    if (forecast != Kind::kRun && forecast != Kind::kUnknown) return;
    if (forecast == Kind::kUnknown && !Key(i)) return;
    if (forecast == Kind::kUnknown) {
      if (LookUp(i)) return;
      forecast = Kind::kRun;
    }
    if (std::holds_alternative<graph::FileOp>(op)) Copy(i);
    if (std::holds_alternative<graph::Exec>(op)) Replay(i);
  }

 private:
  const std::vector<cache::Rootfs>* OutputsOf(StepIndex i) const {
    return results_[i] ? &*results_[i] : known_.plan.Outputs(i);
  }

  const cache::Rootfs* InputOf(StepIndex i, size_t input) const {
    const graph::Ref& ref = known_.graph.steps[i].inputs[input];
    const auto* outputs = OutputsOf(ref.step);
    return outputs != nullptr && ref.output < outputs->size() ? &(*outputs)[ref.output] : nullptr;
  }

  bool Forced(StepIndex i) const { return known_.plan.NoCache(i) || known_.too_old.contains(i); }

  // Of a step that reads what an earlier one would give.
  bool Key(StepIndex i) {
    const graph::Step& step = known_.graph.steps[i];
    std::vector<InputFact> facts;
    for (size_t n = 0; n < step.inputs.size(); ++n) {
      const graph::Ref& ref = step.inputs[n];
      InputFact fact{.name = NameOf(known_.graph.steps[ref.step]), .output = ref.output};
      if (known_.pins[ref.step]) fact.chain = known_.pins[ref.step]->chain;
      else if (keyed_[ref.step]) fact.key = keyed_[ref.step]->key;
      const cache::Rootfs* input = InputOf(i, n);
      if (!fact.chain && input != nullptr && !input->tree_root.empty()) fact.tree_root = input->tree_root;
      facts.push_back(std::move(fact));
    }
    auto keyed = ComputeKey(step, facts, services_.trees, request_.salt);
    if (!keyed || !*keyed) return false;
    keyed_[i] = std::make_shared<const KeyedStep>(std::move(**keyed));
    return true;
  }

  bool LookUp(StepIndex i) {
    if (Forced(i)) return false;
    auto found = services_.records.GetMany({keyed_[i]->key});
    if (!found || found->size() != 1 || !(*found)[0]) return false;
    const cache::StepRecord& record = *(*found)[0];
    if (TooOld(request_, known_.plan, i, record, known_.began)) return false;
    results_[i] = record.outputs;
    StepOutcome& step = outcome_.steps[i];
    step.key = keyed_[i]->key;
    step.saved = record.wall;
    Settle(i, services_.runner.HasLocally(record.outputs) ? Kind::kHit : Kind::kFetch);
    return true;
  }

  void Settle(StepIndex i, Kind forecast) {
    outcome_.forecast[i] = forecast;
    StepOutcome& step = outcome_.steps[i];
    step.reasons.clear();
    step.cause.reset();
    step.expected.reset();
  }

  void Copy(StepIndex i) {
    const graph::Step& step = known_.graph.steps[i];
    const auto& op = std::get<graph::FileOp>(step.op);
    std::vector<cache::Rootfs> inputs;
    for (size_t n = 0; n < step.inputs.size(); ++n) {
      const cache::Rootfs* input = InputOf(i, n);
      if (input == nullptr) return;
      inputs.push_back(*input);
    }
    auto foreseen = services_.runner.Foresee(known_.graph, i, inputs);
    if (!foreseen) LOG_INFO("what \"{}\" would add: {}", step.name, foreseen.error().message);
    if (!foreseen || !*foreseen) return;
    cache::Rootfs result;
    if (op.base >= 0) result.layers = inputs[static_cast<size_t>(op.base)].layers;
    result.layers.push_back((*foreseen)->layer);
    result.tree_root = (*foreseen)->tree_root;
    results_[i] = {std::move(result)};
  }

  void Replay(StepIndex i) {
    const graph::Step& step = known_.graph.steps[i];
    const cache::Rootfs* base = nullptr;
    for (const graph::InputUse& use : graph::InputUses(step)) {
      if (!use.lineage) continue;
      base = InputOf(i, static_cast<size_t>(use.input));
      if (base == nullptr) return;
    }
    if (base == nullptr || Forced(i) || !keyed_[i] || (!request_.trace.on && step.installs.empty())) return;
    auto below = LayersBelow(
        known_.graph, known_.plan, [this](StepIndex of) { return OutputsOf(of); }, i, request_.trace.on);
    if (!below) return;
    auto weak =
        ComputeWeakStep(step, *keyed_[i], *below, request_.trace.strict_mtime, services_.trees, services_.runner);
    if (!weak) {
      LOG_INFO("whether an earlier run stands for \"{}\": {}", step.name, weak.error().message);
      return;
    }
    StepOutcome& outcome = outcome_.steps[i];
    ReplayedStep replayed{.keyed = *keyed_[i],
                          .slot = known_.slots[i],
                          .now = services_.clock.Now(),
                          .age = LimitsOfReplays(request_, i)};
    auto take = [&](cache::StepRecord record, const engine::Replay& checked) -> Result<bool> {
      cache::Rootfs result{base->layers, Digest()};
      const DiffId& layer = record.outputs[0].layers.back();
      result.layers.push_back(layer);
      if (auto tree = services_.runner.TreeOn(base->tree_root, layer); tree && !base->tree_root.empty()) {
        result.tree_root = *tree;
      }
      size_t unread = result.tree_root.empty() ? 0 : CountUnread(record, result.tree_root, services_.trees);
      Settle(i, Kind::kReplay);
      outcome.saved = record.wall;
      outcome.created = record.created;
      outcome.replayed = DescribeReplay(checked, *weak, unread);
      results_[i] = {std::move(result)};
      return true;
    };
    auto why_not = FindRuns({services_.records, services_.trees, services_.runner}, *weak, replayed, step.name, take);
    if (!why_not) LOG_WARN("earlier runs of \"{}\": {}", step.name, why_not.error().message);
    else if (*why_not) AddWhyNotReplayed(std::move(**why_not), outcome.reasons);
  }

  const Known& known_;
  const Request& request_;
  const Services& services_;
  Outcome& outcome_;
  std::vector<std::shared_ptr<const KeyedStep>> keyed_;
  std::vector<std::optional<std::vector<cache::Rootfs>>> results_;  // foreseen, by step
};

}  // namespace

void Foresee(const Known& known, const MissStores& stores, const Request& request, const Services& services,
             Outcome& outcome) {
  Forecast(known, stores, outcome);
  METRIC("engine.foresee");
  Foresight foresight(known, request, services, outcome);
  for (StepIndex i = 0; i < known.graph.steps.size(); ++i) foresight.Look(i);
}

}  // namespace varve::engine
