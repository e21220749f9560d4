#include "tier/export_budget.h"

namespace varve::tier {

namespace {

constexpr uint64_t kEnoughToMeasure = 4 << 20;

double SecondsOf(Nanos time) { return static_cast<double>(time.count()) / 1e9; }

}  // namespace

ExportBudget::ExportBudget(const Offer& offer, const std::set<DiffId>& layers, const std::set<DiffId>& held,
                           Rates rates, bool sent_later, Clock& clock)
    : offer_(offer), order_(ByValue(offer.records, layers, clock.Now())), sent_later_(sent_later), clock_(clock),
      began_(clock.Monotonic()) {
  for (size_t i = 0; i < order_.size(); ++i) {
    if (!held.contains(order_[i].layer)) wanted_.push_back(i);
  }
  auto state = state_.Lock();
  state->chosen = held;
  state->rates = rates;
}

bool ExportBudget::Decide(size_t i, std::optional<uint64_t> bytes) {
  if (!has_bounds()) return bytes.has_value();
  auto state = state_.Lock();
  state.Wait(decided_, [&] { return state->decided == i || state->given_up; });
  if (state->given_up) return false;
  bool goes = bytes && Affordable(*state, at(i), *bytes);
  if (goes) {
    state->chosen.insert(at(i).layer);
    state->bytes += *bytes;
  }
  if (!goes && bytes) ++state->left_out;
  ++state->decided;
  decided_.notify_all();
  return goes;
}

bool ExportBudget::Affordable(State& state, const LayerValue& layer, uint64_t bytes) const {
  if (layer.below && !state.chosen.contains(*layer.below)) return false;
  if (offer_.max_bytes && (bytes > *offer_.max_bytes || state.bytes > *offer_.max_bytes - bytes)) return false;
  bool measured = state.moved >= kEnoughToMeasure && clock_.Monotonic() > began_;
  if (measured) state.rates.up = static_cast<double>(state.moved) / SecondsOf(clock_.Monotonic() - began_);
  if (offer_.max_time) {
    double left = SecondsOf(TimeLeft());
    if (left <= 0) return false;
    if (measured && static_cast<double>(layer.bytes) / state.rates.up > left) return false;
    if (sent_later_ && static_cast<double>(state.bytes + bytes) / state.rates.up > left) return false;
  }
  return !offer_.only_worth_moving || WorthMoving(order_, state.chosen, state.rates).contains(layer.layer);
}

void ExportBudget::Sent(size_t i) { state_.Lock()->moved += at(i).bytes; }

void ExportBudget::CutOff(size_t i) {
  auto state = state_.Lock();
  state->chosen.erase(at(i).layer);
  ++state->left_out;
}

void ExportBudget::GiveUp() {
  state_.Lock()->given_up = true;
  decided_.notify_all();
}

}  // namespace varve::tier
