// Keeps the state root within its budget while the daemon runs: what `varve build` does after each build, here on a
// timer and only when builds have added something (upkeep/policy.h says what goes).
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace varve::daemon {

class Collector {
 public:
  Collector(std::string root, std::chrono::milliseconds interval);
  ~Collector();  // a collection that is under way is stopped

 private:
  void Run(std::stop_token stop);

  const std::string root_;
  const std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace varve::daemon
