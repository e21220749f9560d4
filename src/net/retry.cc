#include "net/retry.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>

#include "base/strings.h"
#include "net/http_date.h"

namespace varve::net {

namespace {

class RealSleeper final : public Sleeper {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop, time, [] { return false; });
    return !stop.stop_requested();
  }
};

double Chance() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return std::uniform_real_distribution<double>(0, 1)(engine);
}

}  // namespace

bool IsRetryableStatus(int status) {
  if (status == 408 || status == 429) return true;
  return status >= 500 && status <= 599 && status != 501 && status != 505;
}

std::optional<Nanos> ParseRetryAfter(std::string_view value, Timestamp now) {
  std::string text(TrimSpace(value));
  if (text.empty()) return {};
  if (text.find_first_not_of("0123456789") == text.npos) {
    int64_t seconds = text.size() > 9 ? 999'999'999 : *ParseInt(text);
    return std::chrono::seconds(seconds);
  }
  auto date = ParseHttpDate(text);
  if (!date) return {};
  return std::chrono::seconds(std::clamp<int64_t>(date->seconds() - now.seconds(), 0, 999'999'999));
}

Nanos Backoff(const RetryPolicy& policy, int failed, double chance) {
  Nanos delay = policy.first_delay;
  for (int i = 1; i < failed && delay < policy.max_delay; ++i) delay *= 2;
  delay = std::min(delay, policy.max_delay);
  return Nanos(static_cast<int64_t>(static_cast<double>(delay.count()) * (1 - chance / 2)));
}

Sleeper& SystemSleeper() {
  static RealSleeper sleeper;
  return sleeper;
}

bool Retrier::Wait(std::optional<Nanos> retry_after, std::stop_token stop, std::optional<int> attempts) {
  ++failed_;
  if (failed_ >= std::min(policy_.attempts, attempts.value_or(policy_.attempts))) return false;
  if (retry_after && *retry_after > policy_.max_retry_after) return false;
  // A "Retry-After: 0" still waits the back-off: some servers send it with every 503.
  Nanos delay = std::max(Backoff(policy_, failed_, Chance()), retry_after.value_or(Nanos(0)));
  return sleeper_.Sleep(delay, stop);
}

}  // namespace varve::net
