// The sessions that are open: clients bring them, builds look them up.
//
//   grpc::Status Session(ServerContext* context, Stream* stream) {      // of the Control service
//     return sessions.Serve(*context, *stream);                         // returns when the session is over
//   }
//   TRY_ASSIGN(auto session, sessions.Find(request.session(), stop));   // in a build
//
// Safe from any thread.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/sync_stream.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>

#include "api/control.pb.h"
#include "base/guarded.h"
#include "base/result.h"
#include "session/health_watch.h"
#include "session/session.h"

namespace varve::session {

struct SessionLimits {
  size_t sessions = 1000;  // open at once
  int message_bytes = 16 << 20;
  // A client that is asked for by its build may still be on its way.
  std::chrono::milliseconds wait = std::chrono::seconds(5);
  std::chrono::milliseconds health_interval = std::chrono::seconds(5);
  std::chrono::milliseconds health_timeout = std::chrono::seconds(15);
  int health_failures = 2;
};

class Sessions {
 public:
  using Stream = grpc::ServerReaderWriterInterface<moby::buildkit::v1::BytesMessage, moby::buildkit::v1::BytesMessage>;

  explicit Sessions(SessionLimits limits = {});
  // Ends all sessions and waits until their calls of Serve have returned.
  ~Sessions();
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  // The whole of Control.Session: makes the session known, moves its bytes, and returns when either side ended
  // it. Uses this thread and one more. INVALID_ARGUMENT without an id, ALREADY_EXISTS for an id that is in
  // use, RESOURCE_EXHAUSTED beyond the limit.
  grpc::Status Serve(grpc::ServerContext& context, Stream& stream);

  // The session of that id, waiting for it a while. An id may have a prefix that ends in ':'. kNotFound when it
  // does not come, kCancelled after a stop.
  Result<std::shared_ptr<Session>> Find(const std::string& id, std::stop_token stop);
  // Without waiting; null when it is not there.
  std::shared_ptr<Session> FindNow(const std::string& id);

  // Calls `use` with the sessions of the group, one after the other, until one succeeds; else the last error, or
  // kNotFound when none of them is there.
  Status WithAny(const Group& group, std::stop_token stop, const std::function<Status(Session&)>& use);

  size_t count();
  // Ends the sessions that there are and refuses new ones: for a daemon that is going down.
  void Close(const std::string& why);

 private:
  struct State {
    std::map<std::string, std::shared_ptr<Session>> sessions;
    std::string closing;  // why new ones are refused; empty: they are not
    size_t serving = 0;
  };
  const SessionLimits limits_;
  Guarded<State> state_;
  std::condition_variable changed_;
  HealthWatch health_;
};

}  // namespace varve::session
