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
#include "job/collect_after.h"
#include "report/prometheus.h"
#include "upkeep/policy.h"

namespace varve::daemon {

// `text` as gc.json has it, for the disk of the root; empty: the root's gc.json or the defaults.
Result<upkeep::PolicyFile> ReadPolicies(const std::string& root, const std::string& text);

class Collector {
 public:
  struct Options {
    std::chrono::milliseconds interval = std::chrono::minutes(1);
    bool measure = false;       // for storage()
    std::string policies = {};  // of ReadPolicies
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
  job::Collected collected_;  // of this thread
  mutable Guarded<std::optional<report::Storage>> storage_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace varve::daemon
