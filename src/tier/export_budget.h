// Decides layer by layer, most valuable first, what an export sends: within bytes and time, and in mode=auto
// what is worth it (export_choice.h).
//
//   ExportBudget budget(offer, layers, held, rates, clock);
//   ParallelFor(budget.size(), 8, [&](size_t i) -> Status {
//     ExportBudget::Turn turn(budget, i);
//     …pack it…
//     if (!turn.Take(packed_bytes)) return Ok();
//     …send it…
//   });
//
// Several threads pack and send at once, but each decision is made after all before it, so that under
// max-export the same layers go whichever thread is faster. Safe from any thread.
#pragma once

#include <condition_variable>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "tier/export_choice.h"
#include "tier/tier.h"

namespace varve::tier {

class ExportBudget {
 public:
  // Of `layers`, those in `held` need not be sent. `sent_later`: what is sent goes all at once at the end,
  // so that its time can only be estimated.
  ExportBudget(const Offer& offer, const std::set<DiffId>& layers, const std::set<DiffId>& held, Rates rates,
               bool sent_later, Clock& clock);

  // The layers that are not held.
  size_t size() const { return wanted_.size(); }
  const LayerValue& at(size_t i) const { return order_[wanted_[i]]; }

  bool has_bounds() const { return offer_.max_bytes || offer_.max_time || offer_.only_worth_moving; }
  bool has_time_limit() const { return offer_.max_time && !sent_later_; }
  Nanos TimeLeft() const { return *offer_.max_time - (clock_.Monotonic() - began_); }
  bool TimeIsOver() const { return offer_.max_time && TimeLeft() <= Nanos(0); }

  // Of one layer. Whatever goes wrong, those after it must not wait for its decision for ever.
  class Turn {
   public:
    Turn(ExportBudget& budget, size_t i) : budget_(budget), i_(i) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
      if (!decided_) budget_.Decide(i_, std::nullopt);  // it is nowhere to be had
    }
    // Waits until those before were decided. `bytes`: what would be sent.
    bool Take(uint64_t bytes) {
      decided_ = true;
      return budget_.Decide(i_, bytes);
    }
    // Without its bytes: there is no time for it.
    void LeaveOut() { Take(UINT64_MAX); }

   private:
    ExportBudget& budget_;
    const size_t i_;
    bool decided_ = false;
  };

  // A layer that was taken was sent; or, when the time was over, not all of it.
  void Sent(size_t i);
  void CutOff(size_t i);
  // After a failure: some layers will never be decided, and nobody waits for them.
  void GiveUp();

  size_t left_out() { return state_.Lock()->left_out; }

 private:
  struct State {
    size_t decided = 0, left_out = 0;
    bool given_up = false;
    uint64_t bytes = 0;  // of what was taken
    uint64_t moved = 0;  // of layers, not packed, that were sent
    std::set<DiffId> chosen;
    Rates rates;
  };
  bool Decide(size_t i, std::optional<uint64_t> bytes);
  bool Affordable(State& state, const LayerValue& layer, uint64_t bytes) const;

  const Offer& offer_;
  const std::vector<LayerValue> order_;
  std::vector<size_t> wanted_;  // into order_
  const bool sent_later_;
  Clock& clock_;
  const Nanos began_;
  Guarded<State> state_;
  std::condition_variable decided_;
};

}  // namespace varve::tier
