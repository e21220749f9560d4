// When to ask a server again, and how long to wait before. Pure: time, chance and sleep come from
// outside, so that tests wait for nothing.
//
//   net::Retrier retrier(policy, sleeper);
//   while (true) {
//     auto response = Ask();
//     if (!WorthAnotherTry(response)) return response;
//     if (!retrier.Wait(retry_after, stop)) return response;   // out of attempts, or cancelled
//   }
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string_view>

#include "base/clock.h"

namespace varve::net {

struct RetryPolicy {
  int attempts = 5;  // in all, the first one included
  Nanos first_delay{250'000'000};
  Nanos max_delay{10'000'000'000};
  // A server that asks for a longer pause than this is not waited for.
  Nanos max_retry_after{60'000'000'000};
};

// 408, 429 and 5xx, without those that a repetition cannot change (501, 505).
bool IsRetryableStatus(int status);

// Seconds, or an HTTP date in its three forms (RFC 9110 §5.6.7); nothing when it is neither. A date
// in the past is 0.
std::optional<Nanos> ParseRetryAfter(std::string_view value, Timestamp now);

// Pause after the `failed`-th attempt (from 1): doubles each time up to the maximum. `chance` in
// [0, 1) takes up to half of it away, so that many clients do not come back at once.
Nanos Backoff(const RetryPolicy& policy, int failed, double chance);

class Sleeper {
 public:
  virtual ~Sleeper() = default;
  // False when `stop` was requested before the time was over. Safe from several threads.
  virtual bool Sleep(Nanos time, std::stop_token stop) = 0;
};
Sleeper& SystemSleeper();

// The attempts of one operation; one thread.
class Retrier {
 public:
  Retrier(const RetryPolicy& policy, Sleeper& sleeper) : policy_(policy), sleeper_(sleeper) {}

  // Called after a failed attempt. Waits and returns true when another is due. `attempts`, if
  // given, is a lower limit than the policy's for this kind of failure.
  bool Wait(std::optional<Nanos> retry_after, std::stop_token stop, std::optional<int> attempts = {});
  // Progress was made (some bytes came): the count begins anew.
  void Reset() { failed_ = 0; }
  int failed() const { return failed_; }

 private:
  const RetryPolicy policy_;
  Sleeper& sleeper_;
  int failed_ = 0;
};

}  // namespace varve::net
