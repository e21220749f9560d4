// The daemon's builds as OpenTelemetry traces and metrics (report/otlp.h), sent to the collector that the environment
// names (OTEL_EXPORTER_OTLP_ENDPOINT and the rest, doc/metrics.md).
//
// Sending has a thread of its own: no build waits for a collector. What a collector does not take is logged once until
// it takes something again, and lost.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "history/build.h"
#include "report/otlp_settings.h"

namespace varve::daemon {

class Telemetry {
 public:
  using Send = std::function<Status(const report::OtlpTarget& target, const Json& body)>;

  Telemetry(report::OtlpSettings settings, Send send);
  // Sends what is waiting, as long as the collector answers within its timeouts.
  ~Telemetry();

  // `traceparent`: W3C Trace Context of the client's call, whose part the build then is; may be empty.
  void Ended(history::Build build, const std::string& traceparent);

 private:
  struct Item {
    history::Build build;
    std::optional<report::TraceParent> parent;
  };
  void Run();
  void SendOne(const Item& item);

  const report::OtlpSettings settings_;
  const Send send_;
  bool complained_ = false;  // of the sender's thread
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> waiting_;
  bool stopping_ = false;
  std::jthread thread_;  // last: it uses the others
};

}  // namespace varve::daemon
