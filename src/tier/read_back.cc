#include "tier/read_back.h"

#include <algorithm>
#include <random>

#include "base/clock.h"

namespace varve::tier {

namespace {

constexpr Nanos kLeastWait{250'000'000};
constexpr int kLooks = 3;
constexpr uint64_t kLongestPause = 200'000'000;

// Looks once if nobody else is writing, else until three looks, each after twice the time, have seen what
// was added: a machine that is busy enough for many writers may hold up one of them between its reading
// and its writing.
Result<bool> StaysThere(const SharedDocument& document, const std::string& text, Nanos wait, net::Sleeper& sleeper,
                        std::stop_token stop) {
  for (int seen = 0; seen < kLooks; ++seen, wait *= 2) {
    if (!sleeper.Sleep(wait, stop)) return Cancelled("the export was cancelled");
    TRY_ASSIGN(bool unchanged, document.is(text));
    if (unchanged) return true;
    TRY_ASSIGN(bool kept, document.holds());
    if (!kept) return false;
  }
  return true;
}

}  // namespace

Status MergeAndReadBack(const SharedDocument& document, net::Sleeper& sleeper, std::stop_token stop) {
  for (int n = 0; n < kMaxMerges; ++n) {
    Nanos began = SystemClock().Monotonic();
    TRY_ASSIGN(std::string text, document.merge());
    Nanos wait = std::max(kLeastWait, 4 * (SystemClock().Monotonic() - began));
    TRY_ASSIGN(bool kept, StaysThere(document, text, wait, sleeper, stop));
    if (kept) return Ok();
    StepBack(sleeper, stop);
  }
  return Unavailable("{} was overwritten by others {} times", document.name, kMaxMerges);
}

bool StepBack(net::Sleeper& sleeper, std::stop_token stop) {
  return sleeper.Sleep(Nanos(std::random_device()() % kLongestPause), stop);
}

}  // namespace varve::tier
