// The service behind a proxy that counts requests and breaks those that a test chooses.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "gha_server/testing/service.h"
#include "net/http_client.h"
#include "net/testing/http_server.h"

namespace varve::gha_server::testing {

class FaultyService {
 public:
  // What to answer in the service's place; `number` counts requests from 0.
  using Fault = std::function<std::optional<net::testing::ServerReply>(const net::testing::ServerRequest&, int number)>;

  FaultyService() = default;

  gha::ServiceAddress Address(gha::Protocol protocol, const std::string& scopes) {
    gha::ServiceAddress address = service_->Address(protocol, scopes);
    address.url = proxy_.Url("");
    return address;
  }
  LocalService& service() { return *service_; }
  // From now on; the count begins anew.
  void Fail(Fault fault) { *state_.Lock() = {.fault = std::move(fault)}; }
  int requests() { return state_.Lock()->requests; }

 private:
  struct State {
    Fault fault = {};
    int requests = 0;
  };

  net::testing::ServerReply Forward(const net::testing::ServerRequest& request) {
    {
      auto state = state_.Lock();
      int number = state->requests++;
      if (state->fault) {
        if (auto reply = state->fault(request, number)) return std::move(*reply);
      }
    }
    net::Request forwarded{.method = request.method, .url = service_->Url() + request.target, .body = request.body};
    for (const char* name : {"authorization", "accept", "content-type", "content-range", "range", "x-ms-blob-type"}) {
      if (!request.Header(name).empty()) forwarded.headers.emplace_back(name, request.Header(name));
    }
    auto answer = http_.Fetch(forwarded, 64 << 20, {});
    if (!answer) return {.status = 502, .body = answer.error().message};
    net::testing::ServerReply reply{.status = answer->head.status, .body = std::move(answer->body)};
    for (const char* name : {"Content-Range", "Content-Type", "ETag", "Retry-After"}) {
      if (auto value = answer->head.Header(name); !value.empty()) reply.headers.emplace_back(name, value);
    }
    return reply;
  }

  Guarded<State> state_;
  net::HttpClient http_;
  std::unique_ptr<LocalService> service_;  // before the proxy is asked, and after it
  net::testing::HttpServer proxy_{[this](const net::testing::ServerRequest& request) { return Forward(request); }};
  const bool started_ = [this] {
    service_ = std::make_unique<LocalService>(ServiceOptions{.public_url = proxy_.Url("")});
    return true;
  }();
};

}  // namespace varve::gha_server::testing
