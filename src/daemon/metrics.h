// What a daemon tells Prometheus (doc/daemon.md lists the names):
//   varve_…         sums over its builds, named as doc/metrics.md names those of single builds. All builds count
//                   together: clients name their projects as they like, and each name would be a series for ever
//   varve_daemon_…  what it does now, and how calls ended
//   process_…       the process, as Prometheus' own client libraries report it
//
// Safe from any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "history/build.h"
#include "report/prometheus.h"

namespace varve::daemon {

struct DaemonFacts {
  size_t running_builds = 0;
  size_t open_sessions = 0;
  bool draining = false;
};

class Metrics {
 public:
  // A call of Control.Solve is over: with gRPC's name of its status, "OK" or "UNAVAILABLE".
  void Solved(const std::string& status);
  // A build of the history is over.
  void Ended(history::Build build);

  std::vector<report::Family> Collect(const DaemonFacts& facts, const std::optional<report::Storage>& storage) const;

 private:
  struct Sums {
    std::map<std::string, uint64_t> solves;
    std::vector<report::Family> builds;
  };
  mutable Guarded<Sums> sums_;
};

// Memory, files, threads and CPU time of this process.
std::vector<report::Family> ProcessMetrics();

// "DEADLINE_EXCEEDED" of a number of google.rpc.Code.
std::string StatusCodeName(int code);

}  // namespace varve::daemon
