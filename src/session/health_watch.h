// Ends sessions whose client does not answer: one whose machine went to sleep keeps its connection.
//
// One thread asks all clients and waits for none of them. It has a completion queue of its own: gRPC's callbacks would
// share one among all channels, which release 1.51 takes down when the last channel goes, and aborts the process when
// that meets a thread that polls it.
#pragma once

#include <grpcpp/alarm.h>
#include <grpcpp/completion_queue.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "session/session.h"

namespace varve::session {

class HealthWatch {
 public:
  struct Pace {
    std::chrono::milliseconds interval;
    std::chrono::milliseconds timeout;
    int failures;  // in a row, until the session is over
  };

  explicit HealthWatch(Pace pace);
  ~HealthWatch();
  HealthWatch(const HealthWatch&) = delete;
  HealthWatch& operator=(const HealthWatch&) = delete;

  // Until the session ends. From any thread.
  void Watch(const std::shared_ptr<Session>& session);

 private:
  struct Check;
  using Moment = std::chrono::steady_clock::time_point;
  struct Watched {
    std::weak_ptr<Session> session;
    Pace pace;
    Moment next;
    int failures = 0;
    bool asked = false;
  };

  void Loop();
  void Ask(uint64_t key, Session& session, Watched& watched);
  void OnAnswer(Check& check);

  const Pace pace_;
  Guarded<std::vector<std::weak_ptr<Session>>> arrived_;
  grpc::CompletionQueue queue_;
  // The loop's alone.
  uint64_t arrivals_ = 0;
  std::map<uint64_t, Watched> watched_;  // by arrival
  std::map<void*, std::unique_ptr<Check>> checks_;
  grpc::Alarm wake_;     // set once: the end
  std::jthread thread_;  // last: it uses the others
};

}  // namespace varve::session
