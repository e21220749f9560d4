// Time, injectable: tests use FakeClock, so that nothing in them waits or depends on the hour.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve {

using Nanos = std::chrono::nanoseconds;

// Nanoseconds since the Unix epoch.
struct Timestamp {
  int64_t nanos = 0;
  auto operator<=>(const Timestamp&) const = default;
  int64_t seconds() const { return nanos / 1'000'000'000 - (nanos % 1'000'000'000 < 0 ? 1 : 0); }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Timestamp Now() = 0;    // wall clock
  virtual Nanos Monotonic() = 0;  // for durations
};

Clock& SystemClock();

class FakeClock final : public Clock {
 public:
  Timestamp Now() override { return {nanos_}; }
  Nanos Monotonic() override { return Nanos(nanos_); }
  void Advance(Nanos by) { nanos_ += by.count(); }
  void Set(Timestamp t) { nanos_ = t.nanos; }

 private:
  std::atomic<int64_t> nanos_{1'700'000'000'000'000'000};
};

// RFC 3339 in UTC, as Go prints time.Time: fractional digits only as far as they are not zero.
std::string FormatTime(Timestamp time);
Result<Timestamp> ParseTime(std::string_view rfc3339);

// "1.2s", "350ms", "2m03s": for people.
std::string FormatDuration(Nanos duration);

// "45 seconds", "1 minute", "47 hours", "2 days": an age in whole units, for people.
std::string FormatAge(Nanos age);

// "5 minutes ago"; of the last second, or of the future, "just now".
std::string FormatTimeAgo(Timestamp then, Timestamp now);

// Go's time.ParseDuration: "1h2m3.5s", "100ms", "0".
Result<Nanos> ParseGoDuration(std::string_view text);

}  // namespace varve
