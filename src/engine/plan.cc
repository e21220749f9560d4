#include "engine/plan.h"

#include <algorithm>

#include "graph/reads.h"

namespace varve::engine {

using graph::Ref;
using graph::StepIndex;

Plan::Plan(const graph::Graph& graph, const std::vector<Ref>& wanted, bool want_data)
    : graph_(graph), wanted_(wanted), want_data_(want_data), states_(graph.steps.size()),
      lineage_(graph.steps.size()) {
  for (const Ref& ref : wanted_) states_[ref.step].reachable = true;
  for (size_t i = states_.size(); i-- > 0;) {
    if (!states_[i].reachable) continue;
    for (const Ref& input : graph_.steps[i].inputs) states_[input.step].reachable = true;
  }
  for (size_t i = 0; i < states_.size(); ++i) {
    const graph::Step& step = graph_.steps[i];
    State& state = states_[i];
    state.source = graph::IsSource(step.op);
    state.no_cache = step.no_cache;
    for (const graph::InputUse& use : graph::InputUses(step)) {
      lineage_[i].push_back(use.lineage);
      // A child of a step that must run again writes on its new result: it cannot be answered from
      // a record made on the old one, although its key is the same.
      const State& parent = states_[step.inputs[static_cast<size_t>(use.input)].step];
      if (use.lineage && parent.no_cache && !parent.source) state.no_cache = true;
    }
  }
}

void Plan::Limit(StepIndex limited) {
  states_[limited].limited = true;
  for (StepIndex i = limited + 1; i < states_.size(); ++i) {
    const graph::Step& step = graph_.steps[i];
    for (size_t k = 0; k < step.inputs.size(); ++k) {
      StepIndex parent = step.inputs[k].step;
      if (!lineage_[i][k]) continue;
      if (states_[parent].limited) states_[i].limited_by = parent;
      else if (states_[parent].limited_by) states_[i].limited_by = states_[parent].limited_by;
    }
  }
}

// Not to be looked up before the limited step below it is settled.
bool Plan::IsHeld(const State& state) const {
  if (!state.limited_by) return false;
  const State& limited = states_[*state.limited_by];
  return !limited.no_cache && !limited.outputs && limited.look_up != LookUp::kMiss;
}

// What builds on `step` holds its layers, so it cannot be answered from a record any more.
void Plan::ForceAbove(StepIndex step) {
  std::vector<bool> above(states_.size(), false);
  above[step] = true;
  for (StepIndex i = step + 1; i < states_.size(); ++i) {
    for (size_t k = 0; k < graph_.steps[i].inputs.size(); ++k) {
      above[i] = above[i] || (lineage_[i][k] && above[graph_.steps[i].inputs[k].step]);
    }
    if (above[i]) states_[i].no_cache = true;
  }
}

bool Plan::KeyInputsKnown(StepIndex i) const {
  const graph::Step& step = graph_.steps[i];
  for (size_t k = 0; k < step.inputs.size(); ++k) {
    const State& input = states_[step.inputs[k].step];
    if (input.source) {
      if (!input.outputs) return false;
    } else if (lineage_[i][k]) {
      if (!input.key) return false;
    } else if (!input.outputs) {
      return false;
    }
  }
  return true;
}

bool Plan::InputsHere(StepIndex i) const {
  return std::ranges::all_of(graph_.steps[i].inputs, [&](const Ref& ref) {
    return states_[ref.step].outputs && states_[ref.step].data_local;
  });
}

bool Plan::KeyIsBusy(StepIndex i) const {
  return std::ranges::any_of(states_, [&](const State& other) {
    return other.busy && other.key && other.key == states_[i].key;
  });
}

void Plan::DemandInputs(StepIndex i, Demand demand) {
  for (const Ref& ref : graph_.steps[i].inputs) {
    demand_[ref.step] = std::max<uint8_t>(demand_[ref.step], demand);
  }
}

void Plan::DemandForKey(StepIndex i) {
  const graph::Step& step = graph_.steps[i];
  for (size_t k = 0; k < step.inputs.size(); ++k) {
    const State& input = states_[step.inputs[k].step];
    if (input.source || input.outputs) continue;
    uint8_t demand = kNone;
    if (!lineage_[i][k] || !input.key) {
      demand = kResult;
    } else if (input.look_up == LookUp::kMiss) {
      demand = kData;
    }
    demand_[step.inputs[k].step] = std::max(demand_[step.inputs[k].step], demand);
  }
}

Plan::Actions Plan::Next() {
  Actions actions;
  demand_.assign(states_.size(), kNone);
  for (const Ref& ref : wanted_) demand_[ref.step] = want_data_ ? kData : kResult;

  // Inputs come before the steps that use them, so one pass from the end settles all demand.
  for (size_t n = states_.size(); n-- > 0;) {
    auto i = static_cast<StepIndex>(n);
    State& state = states_[i];
    if (!state.reachable) continue;
    auto start = [&](std::vector<StepIndex>& kind) {
      state.busy = true;
      kind.push_back(i);
    };
    if (state.outputs) {
      if (demand_[i] == kData && !state.data_local && !state.busy) start(actions.obtain);
      continue;
    }
    if (state.source) {
      if (!state.busy) start(actions.resolve);
      continue;
    }
    if (!state.key) {
      if (demand_[i] != kNone) DemandForKey(i);
      if (!state.busy && !state.key_blocked && KeyInputsKnown(i)) start(actions.key);
      continue;
    }
    if (state.look_up == LookUp::kNotAsked) {
      if (state.no_cache) {
        state.look_up = LookUp::kMiss;
      } else if (IsHeld(state)) {
        // Its key may need the result of a step that has to run first.
        uint8_t& demand = demand_[*state.limited_by];
        if (demand_[i] != kNone) demand = std::max<uint8_t>(demand, kResult);
      } else if (!state.busy) {
        state.look_up = LookUp::kAsked;
        start(actions.look_up);
      }
    }
    if (state.look_up == LookUp::kMiss && demand_[i] != kNone) {
      DemandInputs(i, kData);
      if (!state.busy && InputsHere(i) && !KeyIsBusy(i)) start(actions.run);
    }
  }
  for (auto* list : {&actions.resolve, &actions.key, &actions.look_up, &actions.obtain, &actions.run}) {
    std::ranges::reverse(*list);
  }
  return actions;
}

void Plan::Settle(StepIndex i, std::vector<cache::Rootfs> outputs) {
  states_[i].outputs = std::move(outputs);
  // Steps that read this one may be keyed now.
  for (StepIndex j = i + 1; j < states_.size(); ++j) states_[j].key_blocked = false;
}

void Plan::OnPin(StepIndex i, cache::Rootfs rootfs, bool is_image, bool data_local) {
  states_[i].busy = false;
  states_[i].is_image = is_image;
  states_[i].data_local = data_local;
  Settle(i, {std::move(rootfs)});
}

void Plan::OnKey(StepIndex i, StepKey key) {
  states_[i].busy = false;
  states_[i].key = key;
  // One result per key in a job, also for the step that arrives second.
  for (const State& other : states_) {
    if (&other != &states_[i] && other.key == states_[i].key && other.outputs) {
      states_[i].look_up = other.look_up;
      states_[i].data_local = other.data_local;
      Settle(i, *other.outputs);
      return;
    }
  }
  for (StepIndex j = i + 1; j < states_.size(); ++j) states_[j].key_blocked = false;
}

void Plan::Withdraw(StepIndex i) {
  State& state = states_[i];
  state.busy = false;
  if (state.look_up == LookUp::kAsked) state.look_up = LookUp::kNotAsked;
}

void Plan::OnKeyUnknown(StepIndex i) {
  states_[i].busy = false;
  states_[i].key_blocked = true;
}

void Plan::OnLookUp(StepIndex i, std::optional<std::vector<cache::Rootfs>> outputs,
                    bool data_local) {
  State& state = states_[i];
  state.busy = false;
  state.look_up = outputs ? LookUp::kHit : LookUp::kMiss;
  if (outputs) {
    state.data_local = data_local;
    Settle(i, std::move(*outputs));
  } else if (state.limited) {
    ForceAbove(i);
  }
}

void Plan::OnTooOld(StepIndex i) {
  State& state = states_[i];
  state.busy = false;
  state.look_up = LookUp::kMiss;
  state.no_cache = true;
  ForceAbove(i);
}

void Plan::OnObtained(StepIndex i, std::vector<cache::Rootfs> outputs) {
  states_[i].busy = false;
  states_[i].data_local = true;
  Settle(i, std::move(outputs));
}

bool Plan::OnDataGone(StepIndex i) {
  State& state = states_[i];
  state.busy = false;
  if (state.gone_key == state.key) return false;
  state.gone_key = state.key;
  state.look_up = LookUp::kMiss;
  state.gone_outputs = std::exchange(state.outputs, std::nullopt);
  return true;
}

// A step ran again and gave something else than the record that others were keyed by: what has not
// run in this job is keyed anew, from the result that this job now uses.
void Plan::Forget(StepIndex changed) {
  std::vector<bool> depends(states_.size(), false);
  depends[changed] = true;
  for (StepIndex j = changed + 1; j < states_.size(); ++j) {
    for (const Ref& ref : graph_.steps[j].inputs) depends[j] = depends[j] || depends[ref.step];
    State& state = states_[j];
    if (!depends[j] || state.busy || state.source) continue;
    state.key.reset();
    state.key_blocked = false;
    state.look_up = LookUp::kNotAsked;
    state.outputs.reset();
    state.data_local = false;
  }
}

std::vector<StepIndex> Plan::OnRan(StepIndex i, std::vector<cache::Rootfs> outputs) {
  std::vector<StepIndex> shared;
  State& state = states_[i];
  state.busy = false;
  bool changed = state.gone_outputs && *state.gone_outputs != outputs;
  for (StepIndex j = 0; j < states_.size(); ++j) {
    State& other = states_[j];
    if (j != i && (!other.key || other.key != state.key || other.outputs || other.busy)) continue;
    if (j != i) shared.push_back(j);
    other.data_local = true;
    Settle(j, outputs);
  }
  if (changed) Forget(i);
  return shared;
}

std::vector<Plan::Forecast> Plan::Predict() const {
  std::vector<Forecast> out(states_.size(), Forecast::kNotNeeded);
  std::vector<uint8_t> demand(states_.size(), kNone);
  for (const Ref& ref : wanted_) demand[ref.step] = want_data_ ? kData : kResult;
  for (size_t i = states_.size(); i-- > 0;) {
    const State& state = states_[i];
    if (demand[i] == kNone) continue;
    if (state.outputs) {
      out[i] = demand[i] == kData && !state.data_local ? Forecast::kFetch : Forecast::kHit;
      continue;
    }
    bool runs = state.key && state.look_up == LookUp::kMiss;
    out[i] = runs ? Forecast::kRun : Forecast::kUnknown;
    for (const Ref& input : graph_.steps[i].inputs) {
      demand[input.step] = std::max<uint8_t>(demand[input.step], runs ? kData : kResult);
    }
  }
  return out;
}

bool Plan::Done() const {
  return std::ranges::all_of(wanted_, [&](const Ref& ref) {
    const State& state = states_[ref.step];
    return state.outputs && (!want_data_ || state.data_local);
  });
}

const std::vector<cache::Rootfs>* Plan::Outputs(StepIndex step) const {
  return states_[step].outputs ? &*states_[step].outputs : nullptr;
}

}  // namespace varve::engine
