#include "engine/plan.h"

#include <algorithm>

#include "graph/reads.h"

namespace varve::engine {

using graph::Ref;
using graph::StepIndex;

Plan::Plan(const graph::Graph& graph, const std::vector<Ref>& wanted, bool want_data)
    : graph_(graph), wanted_(wanted), want_data_(want_data), states_(graph.steps.size()), lineage_(graph.steps.size()),
      readers_(graph.steps.size()), limited_(graph.steps.size()), wishes_(graph.steps.size()),
      wishes_of_(graph.steps.size()), queued_(graph.steps.size()) {
  for (const Ref& ref : wanted_) {
    states_[ref.step].reachable = true;
    ++(want_data_ ? wishes_[ref.step].data : wishes_[ref.step].result);
  }
  for (size_t i = states_.size(); i-- > 0;) {
    if (!states_[i].reachable) continue;
    for (const Ref& input : graph_.steps[i].inputs) states_[input.step].reachable = true;
  }
  for (StepIndex i = 0; i < states_.size(); ++i) {
    const graph::Step& step = graph_.steps[i];
    State& state = states_[i];
    state.source = graph::IsSource(step.op);
    state.takes_parts = std::holds_alternative<graph::FileOp>(step.op);
    state.no_cache = step.no_cache;
    wishes_of_[i].resize(step.inputs.size() + 1, kNone);
    for (const graph::InputUse& use : graph::InputUses(step)) {
      lineage_[i].push_back(use.lineage);
      // A child of a step that must run again writes on its new result: it cannot be answered from
      // a record made on the old one, although its key is the same.
      StepIndex input = step.inputs[static_cast<size_t>(use.input)].step;
      const State& parent = states_[input];
      if (use.lineage && parent.no_cache && !parent.source) state.no_cache = true;
      if (state.reachable) readers_[input].push_back({i, use.lineage});
    }
    Enqueue(i);
  }
}

void Plan::Limit(const std::vector<StepIndex>& steps) {
  if (steps.empty()) return;
  for (StepIndex limited : steps) states_[limited].limited = true;
  for (StepIndex i = steps.front() + 1; i < states_.size(); ++i) {
    const graph::Step& step = graph_.steps[i];
    for (size_t k = 0; k < step.inputs.size(); ++k) {
      StepIndex parent = step.inputs[k].step;
      if (!lineage_[i][k]) continue;
      if (states_[parent].limited) states_[i].limited_by = parent;
      else if (states_[parent].limited_by) states_[i].limited_by = states_[parent].limited_by;
    }
    if (states_[i].limited_by) limited_[*states_[i].limited_by].push_back(i);
  }
}

// --- what is to be looked at ---------------------------------------------------------------------

void Plan::Enqueue(StepIndex i) {
  if (!states_[i].reachable || queued_[i]) return;
  queued_[i] = true;
  queue_.push(i);
}

// What `i` and its readers are ready for may be another thing now.
void Plan::Changed(StepIndex i) {
  Enqueue(i);
  for (const Reader& reader : readers_[i]) Enqueue(reader.step);
  for (StepIndex held : limited_[i]) Enqueue(held);
}

void Plan::SetBusy(StepIndex i, bool busy) {
  State& state = states_[i];
  if (state.busy == busy) return;
  state.busy = busy;
  if (!busy) Enqueue(i);
  if (!state.key) return;
  Peers& peers = peers_.at(*state.key);
  peers.busy += busy ? 1 : -1;
  if (peers.busy > 0) return;
  for (StepIndex peer : peers.steps) Enqueue(peer);
}

void Plan::ForgetKey(StepIndex i) {
  State& state = states_[i];
  if (!state.key) return;
  std::erase(peers_.at(*state.key).steps, i);
  state.key.reset();
}

// Not to be looked up before the limited step below it is settled.
bool Plan::IsHeld(const State& state) const {
  if (!state.limited_by) return false;
  const State& limited = states_[*state.limited_by];
  return !limited.no_cache && !limited.outputs && limited.look_up != LookUp::kMiss;
}

// What builds on `step` holds its layers, so it cannot be answered from a record any more. Where that
// is known of a step already, it is known of all above it.
void Plan::ForceAbove(StepIndex step) {
  std::vector<StepIndex> open = {step};
  while (!open.empty()) {
    StepIndex i = open.back();
    open.pop_back();
    Changed(i);
    for (const Reader& reader : readers_[i]) {
      if (!reader.lineage || states_[reader.step].no_cache) continue;
      states_[reader.step].no_cache = true;
      open.push_back(reader.step);
    }
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

bool Plan::TreeKnown(const Ref& ref) const {
  const auto& outputs = states_[ref.step].outputs;
  return outputs && ref.output < outputs->size() && !(*outputs)[ref.output].tree_root.empty();
}

// What a step writes on will be needed whole where its result is.
bool Plan::TakesPartsOf(StepIndex i, size_t k) const {
  return states_[i].takes_parts && (!lineage_[i][k] || wishes_[i].demand() != kData);
}

bool Plan::InputsHere(StepIndex i) const {
  const std::vector<Ref>& inputs = graph_.steps[i].inputs;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const State& input = states_[inputs[k].step];
    bool here = input.outputs && input.data_local;
    if (!here && !(TakesPartsOf(i, k) && TreeKnown(inputs[k]))) return false;
  }
  return true;
}

bool Plan::KeyIsBusy(StepIndex i) const { return peers_.at(*states_[i].key).busy > 0; }

// What `i` needs of an input, in the state in which it is.
Plan::Demand Plan::WishOf(StepIndex i, size_t k) const {
  const State& state = states_[i];
  if (state.outputs || state.source || wishes_[i].demand() == kNone) return kNone;
  const State& input = states_[graph_.steps[i].inputs[k].step];
  if (state.key) {
    if (state.look_up != LookUp::kMiss) return kNone;
    if (!TakesPartsOf(i, k)) return kData;
    if (!input.outputs) return kResult;
    return TreeKnown(graph_.steps[i].inputs[k]) ? kNone : kData;
  }
  if (input.source) return kNone;
  if (input.outputs) {
    // What is read is a part of the key; the tree shows when the layers are here.
    uint32_t output = graph_.steps[i].inputs[k].output;
    bool known = output >= input.outputs->size() || !(*input.outputs)[output].tree_root.empty();
    return lineage_[i][k] || known || input.data_local ? kNone : kData;
  }
  if (!lineage_[i][k] || !input.key) return kResult;
  return input.look_up == LookUp::kMiss ? kData : kNone;
}

void Plan::Wish(StepIndex of, uint8_t& wish, Demand now) {
  if (wish == now) return;
  Demand before = wishes_[of].demand();
  auto count = [&](uint8_t kind, uint32_t by) {
    if (kind == kResult) wishes_[of].result += by;
    if (kind == kData) wishes_[of].data += by;
  };
  count(wish, -1U);
  count(now, 1);
  wish = now;
  if (wishes_[of].demand() != before) Enqueue(of);
}

void Plan::Visit(StepIndex i, Actions& actions) {
  State& state = states_[i];
  if (state.key && !state.outputs && state.look_up == LookUp::kNotAsked && state.no_cache) {
    state.look_up = LookUp::kMiss;
    Changed(i);
  }
  bool held = state.key && !state.outputs && state.look_up == LookUp::kNotAsked && IsHeld(state);
  const std::vector<Ref>& inputs = graph_.steps[i].inputs;
  for (size_t k = 0; k < inputs.size(); ++k) Wish(inputs[k].step, wishes_of_[i][k], WishOf(i, k));
  // The key of the step that holds it may need the result of a step that has to run first.
  bool wish = held && wishes_[i].demand() != kNone;
  if (state.limited_by) Wish(*state.limited_by, wishes_of_[i].back(), wish ? kResult : kNone);

  if (state.busy) return;
  auto start = [&](std::vector<StepIndex>& kind) {
    SetBusy(i, true);
    kind.push_back(i);
  };
  Demand demand = wishes_[i].demand();
  if (state.outputs) {
    // Of steps of one key one brings the layers here; where it cannot, the others need not try.
    if (demand == kData && !state.data_local && !(state.key && KeyIsBusy(i))) start(actions.obtain);
  } else if (state.source) {
    start(actions.resolve);
  } else if (!state.key) {
    if (!state.key_blocked && KeyInputsKnown(i)) start(actions.key);
  } else if (state.look_up == LookUp::kNotAsked) {
    if (held) return;
    state.look_up = LookUp::kAsked;
    start(actions.look_up);
  } else if (state.look_up == LookUp::kMiss && demand != kNone) {
    if (InputsHere(i) && !KeyIsBusy(i)) start(actions.run);
  }
}

Plan::Actions Plan::Next() {
  Actions actions;
  // Readers come before what they read, so that demand is settled when a step's turn comes.
  while (!queue_.empty()) {
    StepIndex i = queue_.top();
    queue_.pop();
    queued_[i] = false;
    Visit(i, actions);
  }
  for (auto* list : {&actions.resolve, &actions.key, &actions.look_up, &actions.obtain, &actions.run}) {
    std::ranges::sort(*list);
  }
  return actions;
}

// --- facts -----------------------------------------------------------------------------------------

void Plan::Settle(StepIndex i, std::vector<cache::Rootfs> outputs) {
  states_[i].outputs = std::move(outputs);
  // Steps that read this one may be keyed now.
  for (const Reader& reader : readers_[i]) states_[reader.step].key_blocked = false;
  Changed(i);
}

void Plan::OnPin(StepIndex i, cache::Rootfs rootfs, bool is_image, bool data_local) {
  SetBusy(i, false);
  states_[i].is_image = is_image;
  states_[i].data_local = data_local;
  Settle(i, {std::move(rootfs)});
}

void Plan::OnKey(StepIndex i, StepKey key) {
  SetBusy(i, false);
  states_[i].key = key;
  std::vector<StepIndex>& peers = peers_[key].steps;
  peers.insert(std::ranges::lower_bound(peers, i), i);
  // One result per key in a job, also for the step that arrives second.
  for (StepIndex peer : peers) {
    const State& other = states_[peer];
    if (peer == i || !other.outputs) continue;
    states_[i].look_up = other.look_up;
    states_[i].data_local = other.data_local;
    return Settle(i, *other.outputs);
  }
  for (const Reader& reader : readers_[i]) states_[reader.step].key_blocked = false;
  Changed(i);
}

void Plan::Withdraw(StepIndex i) {
  State& state = states_[i];
  if (state.look_up == LookUp::kAsked) state.look_up = LookUp::kNotAsked;
  SetBusy(i, false);
  Changed(i);
}

void Plan::OnKeyUnknown(StepIndex i) {
  SetBusy(i, false);
  states_[i].key_blocked = true;
}

void Plan::OnLookUp(StepIndex i, std::optional<std::vector<cache::Rootfs>> outputs, bool data_local) {
  State& state = states_[i];
  SetBusy(i, false);
  state.look_up = outputs ? LookUp::kHit : LookUp::kMiss;
  Changed(i);
  if (outputs) {
    state.data_local = data_local;
    Settle(i, std::move(*outputs));
  } else if (state.limited) {
    ForceAbove(i);
  }
}

void Plan::OnTooOld(StepIndex i) {
  State& state = states_[i];
  SetBusy(i, false);
  state.look_up = LookUp::kMiss;
  state.no_cache = true;
  ForceAbove(i);
}

void Plan::OnObtained(StepIndex i, std::vector<cache::Rootfs> outputs) {
  SetBusy(i, false);
  states_[i].data_local = true;
  Settle(i, std::move(outputs));
}

bool Plan::OnDataGone(StepIndex i) {
  State& state = states_[i];
  SetBusy(i, false);
  if (state.gone_key == state.key) return false;
  // Steps of the same key have the same result: it is gone for them too, and is made again once.
  for (StepIndex j : peers_.at(*state.key).steps) {
    State& peer = states_[j];
    if (j != i && (!peer.outputs || peer.data_local || peer.busy)) continue;
    peer.gone_key = peer.key;
    peer.look_up = LookUp::kMiss;
    peer.gone_outputs = std::exchange(peer.outputs, std::nullopt);
    peer.takes_parts = false;  // or what is below it would never be made again
    Changed(j);
  }
  return true;
}

void Plan::OnInputsMissing(StepIndex i) {
  SetBusy(i, false);
  for (StepIndex j : peers_.at(*states_[i].key).steps) {
    states_[j].takes_parts = false;
    Changed(j);
  }
}

// A step ran again and gave something else than the record that others were keyed by: what has not
// run in this job is keyed anew, from the result that this job now uses.
void Plan::Forget(const std::vector<StepIndex>& changed) {
  std::vector<bool> depends(states_.size(), false);
  for (StepIndex i : changed) depends[i] = true;
  for (StepIndex j = 0; j < states_.size(); ++j) {
    if (depends[j]) continue;
    for (const Ref& ref : graph_.steps[j].inputs) depends[j] = depends[j] || depends[ref.step];
    State& state = states_[j];
    if (!depends[j] || state.busy || state.source) continue;
    ForgetKey(j);
    state.key_blocked = false;
    state.look_up = LookUp::kNotAsked;
    state.outputs.reset();
    state.data_local = false;
    Changed(j);
  }
}

std::vector<StepIndex> Plan::OnRan(StepIndex i, std::vector<cache::Rootfs> outputs, bool data_local) {
  std::vector<StepIndex> shared;
  State& state = states_[i];
  SetBusy(i, false);
  std::vector<StepIndex> changed;
  for (StepIndex j : peers_.at(*state.key).steps) {
    State& other = states_[j];
    if (j != i && (other.outputs || other.busy)) continue;
    if (j != i) shared.push_back(j);
    other.data_local = data_local;
    if (other.gone_outputs && *other.gone_outputs != outputs) changed.push_back(j);
    Settle(j, outputs);
  }
  if (!changed.empty()) Forget(changed);
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
    const std::vector<Ref>& inputs = graph_.steps[i].inputs;
    for (size_t k = 0; k < inputs.size(); ++k) {
      bool parts = state.takes_parts && (!lineage_[i][k] || demand[i] != kData);
      demand[inputs[k].step] = std::max<uint8_t>(demand[inputs[k].step], runs && !parts ? kData : kResult);
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

std::vector<std::optional<StepIndex>> Plan::AddedBy(const Ref& ref) const {
  auto layers_of = [&](const Ref& of) -> const std::vector<DiffId>* {
    const auto* outputs = Outputs(of.step);
    return outputs != nullptr && of.output < outputs->size() ? &(*outputs)[of.output].layers : nullptr;
  };
  const std::vector<DiffId>* all = layers_of(ref);
  std::vector<std::optional<StepIndex>> added(all != nullptr ? all->size() : 0);
  // One step after the other, each with one layer more than what it writes on.
  for (Ref at = ref; all != nullptr && !all->empty();) {
    const std::vector<bool>& lineage = lineage_[at.step];
    auto base = std::ranges::find(lineage, true);
    if (base == lineage.end() || std::find(base + 1, lineage.end(), true) != lineage.end()) break;
    const StepIndex step = at.step;
    at = graph_.steps[step].inputs[static_cast<size_t>(base - lineage.begin())];
    const std::vector<DiffId>* below = layers_of(at);
    if (below == nullptr || below->size() + 1 != all->size() ||
        !std::equal(below->begin(), below->end(), all->begin())) {
      break;
    }
    added[below->size()] = step;
    all = below;
  }
  return added;
}

const std::vector<cache::Rootfs>* Plan::Outputs(StepIndex step) const {
  return states_[step].outputs ? &*states_[step].outputs : nullptr;
}

}  // namespace varve::engine
