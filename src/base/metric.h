// Counters and timed scopes of one process, shown by `--stats`.
//
//   METRIC("tree.hash");                    // times the rest of this scope
//   Counter("registry.bytes").Add(n);       // process-wide, any thread
//
// Tests of cache behaviour assert counters, never times (tests/e2e: expect-counter).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>

#include "base/clock.h"

namespace varve {

class Counter {
 public:
  // Finds or makes the counter of that name. Keep the object where the path is hot.
  explicit Counter(const std::string& name);
  void Add(int64_t n = 1) { *value_ += n; }
  int64_t value() const { return *value_; }

 private:
  std::atomic<int64_t>* value_;
};

// All counters that are not zero, by name. Timed scopes appear as NAME.us and NAME.calls.
std::map<std::string, int64_t> CounterSnapshot();

class TimedScope {
 public:
  explicit TimedScope(const char* name) : name_(name), start_(SystemClock().Monotonic()) {}
  ~TimedScope();

 private:
  const char* name_;
  Nanos start_;
};

}  // namespace varve

#define VARVE_METRIC_CONCAT(a, b) a##b
#define VARVE_METRIC_NAME(line) VARVE_METRIC_CONCAT(timed_scope_, line)
#define METRIC(name) ::varve::TimedScope VARVE_METRIC_NAME(__LINE__)(name)
