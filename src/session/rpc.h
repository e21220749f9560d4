// What every call to a client has in common: it ends with a stop token, and its error becomes ours.
#pragma once

#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::session {

// A ClientContext that is cancelled when the stop is requested.
//
//   Call call(stop);
//   const grpc::Status status = stub->GetSecret(call.context(), request, &response);
//   if (!status.ok()) return call.ToError(status, "secret mysecret");
class Call {
 public:
  explicit Call(std::stop_token stop, std::optional<std::chrono::milliseconds> timeout = {});
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  grpc::ClientContext* context() { return &context_; }
  void Cancel() { context_.TryCancel(); }

  // A list as metadata, in the form that BuildKit's clients decode: values that are not plain ASCII make all
  // of them query-escaped, which `key`-encoded=1 says. Before the call begins.
  void AddList(const std::string& key, const std::vector<std::string>& values);
  void Add(const std::string& key, const std::string& value) { context_.AddMetadata(key, value); }

  // kCancelled when it was us, whatever the status says.
  Error ToError(const grpc::Status& status, std::string_view what) const;

 private:
  grpc::ClientContext context_;
  std::stop_token stop_;
  std::stop_callback<std::function<void()>> callback_;  // after context_: it uses it
};

// By its code: NOT_FOUND → kNotFound, UNAVAILABLE and DEADLINE_EXCEEDED → kUnavailable, RESOURCE_EXHAUSTED →
// kResource, CANCELLED → kCancelled, DATA_LOSS → kCorrupt, INTERNAL → kInternal; anything else → kInvalid.
Error StatusError(const grpc::Status& status, std::string_view what);

// url.QueryEscape of Go: space is "+". base/percent.h has FormDecode, which reads it.
std::string QueryEscape(std::string_view text);

}  // namespace varve::session
