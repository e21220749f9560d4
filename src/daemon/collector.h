// Keeps the state root within its budget while the daemon runs: what `varve build` does after each build, here on a
// timer and only when builds have added something (upkeep/policy.h says what goes). Knows what the root holds, too.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/guarded.h"
#include "cli/collect_after.h"
#include "report/prometheus.h"

namespace varve::daemon {

class Collector {
 public:
  struct Options {
    std::chrono::milliseconds interval = std::chrono::minutes(1);
    bool measure = false;  // for storage()
  };
  Collector(std::string root, Options options);
  ~Collector();  // a collection that is under way is stopped

  // As of the last time that something was added or collected, with all that collections of this process have removed.
  // Nothing before the first time, and without `measure`. Any thread.
  std::optional<report::Storage> storage() const { return *storage_.Lock(); }

 private:
  void Run(std::stop_token stop);
  void CollectOnce(std::stop_token stop);
  void Measure();

  const std::string root_;
  const Options options_;
  cli::Collected collected_;  // of this thread
  mutable Guarded<std::optional<report::Storage>> storage_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace varve::daemon
