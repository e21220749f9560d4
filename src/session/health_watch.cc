#include "session/health_watch.h"

#include <grpcpp/client_context.h>

#include <algorithm>

#include "api/health.grpc.pb.h"
#include "base/log.h"

namespace varve::session {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using std::chrono::system_clock;

struct HealthWatch::Check {
  uint64_t key;  // in watched_, if it is still there
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest request;
  grpc::health::v1::HealthCheckResponse response;
  grpc::Status status;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::health::v1::HealthCheckResponse>> reader;
};

HealthWatch::HealthWatch(Pace pace) : pace_(pace), thread_([this] { Loop(); }) {}

HealthWatch::~HealthWatch() {
  wake_.Set(&queue_, system_clock::now(), nullptr);
  thread_.join();
}

void HealthWatch::Watch(const std::shared_ptr<Session>& session) {
  arrived_.Lock()->push_back(session);  // the loop looks at least once a second
}

void HealthWatch::Ask(uint64_t key, Session& session, Watched& watched) {
  auto check = std::make_unique<Check>();
  check->key = key;
  check->context.set_deadline(system_clock::now() + watched.pace.timeout);
  const auto stub = grpc::health::v1::Health::NewStub(session.channel());
  check->reader = stub->AsyncCheck(&check->context, check->request, &queue_);
  check->reader->Finish(&check->response, &check->status, check.get());
  watched.asked = true;
  watched.next = steady_clock::now() + watched.pace.interval;
  checks_[check.get()] = std::move(check);
}

void HealthWatch::OnAnswer(Check& check) {
  const auto at = watched_.find(check.key);
  if (at == watched_.end()) return;
  Watched& watched = at->second;
  const auto session = watched.session.lock();
  if (!session) return;
  watched.asked = false;
  // A client that answers lives, even if it answers that it has no such service.
  if (check.status.ok() || check.status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    watched.failures = 0;
    return;
  }
  LOG_INFO("session {} does not answer: {}", session->id(), check.status.error_message());
  if (++watched.failures >= watched.pace.failures) {
    session->End("the client does not answer any more");
  }
}

void HealthWatch::Loop() {
  const milliseconds tick = std::min(pace_.interval, milliseconds(1000));
  for (;;) {
    for (const auto& arrival : std::exchange(*arrived_.Lock(), {})) {
      const auto session = arrival.lock();
      if (!session) continue;
      Pace pace = pace_;
      if (const int asked = session->headers().health_milliseconds; asked > 0) {
        const auto time = std::max(milliseconds(asked), milliseconds(1000));
        pace = {.interval = time, .timeout = time, .failures = 1};
      }
      watched_[arrivals_++] = {.session = session, .pace = pace, .next = steady_clock::now() + pace.interval};
    }
    std::erase_if(watched_, [](const auto& entry) {
      const auto session = entry.second.session.lock();
      return !session || session->ended().stop_requested();
    });
    const auto now = steady_clock::now();
    for (auto& [key, watched] : watched_) {
      if (watched.asked || now < watched.next) continue;
      if (const auto session = watched.session.lock()) Ask(key, *session, watched);
    }
    void* tag = nullptr;
    bool ok = false;
    if (queue_.AsyncNext(&tag, &ok, system_clock::now() + tick) != grpc::CompletionQueue::GOT_EVENT) {
      continue;
    }
    if (tag == nullptr) break;  // wake_
    OnAnswer(*checks_.at(tag));
    checks_.erase(tag);
  }
  for (const auto& [tag, check] : checks_) check->context.TryCancel();
  queue_.Shutdown();
  void* tag = nullptr;
  for (bool ok = false; queue_.Next(&tag, &ok);) checks_.erase(tag);
}

}  // namespace varve::session
