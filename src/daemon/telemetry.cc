#include "daemon/telemetry.h"

#include "base/log.h"

namespace varve::daemon {

namespace {

// A collector that is down does not make the daemon keep its builds for ever.
constexpr size_t kMaxWaiting = 200;

}  // namespace

Telemetry::Telemetry(report::OtlpSettings settings, Send send)
    : settings_(std::move(settings)), send_(std::move(send)) {
  for (const std::string& warning : settings_.warnings) LOG_WARN("OpenTelemetry: {}", warning);
  if (settings_.any()) thread_ = std::jthread([this] { Run(); });
}

Telemetry::~Telemetry() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

void Telemetry::Ended(history::Build build, const std::string& traceparent) {
  if (!settings_.any()) return;
  Item item{std::move(build), report::ParseTraceParent(traceparent)};
  if (!item.parent) item.parent = settings_.parent;
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() >= kMaxWaiting) {
      LOG_WARN("OpenTelemetry: {} builds wait for the collector; the oldest is dropped", waiting_.size());
      waiting_.pop_front();
    }
    waiting_.push_back(std::move(item));
  }
  changed_.notify_all();
}

void Telemetry::Run() {
  while (true) {
    Item item;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      // At the end, one that does not take anything is not asked for each of what is left.
      if (stopping_ && complained_) return;
      item = std::move(waiting_.front());
      waiting_.pop_front();
    }
    SendOne(item);
  }
}

void Telemetry::SendOne(const Item& item) {
  Status sent;
  if (settings_.traces && (!item.parent || item.parent->sampled)) {
    sent = send_(*settings_.traces, report::OtlpTraces(item.build, settings_.resource, item.parent));
  }
  if (sent && settings_.metrics) {
    sent = send_(*settings_.metrics,
                 report::OtlpMetrics(item.build, report::MetricsOf(item.build, std::nullopt), settings_.resource));
  }
  if (!sent && !complained_) LOG_WARN("OpenTelemetry: {}", sent.error().ToString());
  complained_ = !sent;
}

}  // namespace varve::daemon
