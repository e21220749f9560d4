// A client's session: the services that the client offers to the build that it asked for.
//
// The client opens Control.Session and serves gRPC *inside* that stream: the bytes that it carries are an
// HTTP/2 connection on which the daemon is the client. byte_pipe.h turns it into an ordinary channel, and
// nothing else needs to know. What is called on it: contexts.h (files of the client), file_send.h (outputs),
// auth.h, secrets.h, ssh_forward.h, upload.h, content.h.
//
// Safe from any thread.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::session {

// What the client says of itself in the metadata of Control.Session.
struct Headers {
  std::string id;
  std::string name;
  std::string shared_key;         // sessions of one project on one machine have the same
  std::set<std::string> methods;  // "/package.service/method", lower case
  int health_milliseconds = 0;    // a pace of health checks that the client asks for, 0: the usual one
};

class Session {
 public:
  Session(Headers headers, std::shared_ptr<grpc::Channel> channel)
      : headers_(std::move(headers)), channel_(std::move(channel)) {}

  const std::string& id() const { return headers_.id; }
  const std::string& name() const { return headers_.name; }
  const std::string& shared_key() const { return headers_.shared_key; }
  const Headers& headers() const { return headers_; }

  // "/moby.filesync.v1.FileSync/DiffCopy", in any case.
  bool Supports(std::string_view method) const;
  // kInvalid, with what the user may do about it, when the client does not serve the method.
  Status Require(std::string_view method) const;

  // For stubs. Calls on it fail with kUnavailable once the session has ended.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

  // Requested when the session has ended, whatever the reason; Why() then says it.
  std::stop_token ended() const { return ended_.get_token(); }
  // Ends it: calls in flight fail. The first reason stays.
  void End(std::string why);
  std::string Why() const;

 private:
  const Headers headers_;
  const std::shared_ptr<grpc::Channel> channel_;
  mutable std::mutex mutex_;
  std::string why_;  // guarded by mutex_
  std::stop_source ended_;
};

// The sessions that may answer for a build, the preferred one first: a build that several clients wait for
// goes on while any of them is there.
using Group = std::vector<std::string>;

}  // namespace varve::session
