#include "base/metric.h"

#include <deque>

#include "base/guarded.h"

namespace varve {

namespace {

struct Registry {
  std::map<std::string, std::atomic<int64_t>*> by_name;
  std::deque<std::atomic<int64_t>> values;  // a deque: addresses stay
};

Guarded<Registry>& Counters() {
  static auto* registry = new Guarded<Registry>();
  return *registry;
}

}  // namespace

Counter::Counter(const std::string& name) {
  auto registry = Counters().Lock();
  auto& slot = registry->by_name[name];
  if (slot == nullptr) slot = &registry->values.emplace_back(0);
  value_ = slot;
}

std::map<std::string, int64_t> CounterSnapshot() {
  std::map<std::string, int64_t> out;
  auto registry = Counters().Lock();
  for (const auto& [name, value] : registry->by_name) {
    if (*value != 0) out[name] = *value;
  }
  return out;
}

TimedScope::~TimedScope() {
  auto elapsed = SystemClock().Monotonic() - start_;
  Counter(std::string(name_) + ".us").Add(elapsed.count() / 1000);
  Counter(std::string(name_) + ".calls").Add();
}

}  // namespace varve
