// The service in the process, on a clock of its own, for tests of clients and of what is above them.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "gha/service_address.h"
#include "gha_server/cache_service.h"
#include "sys/tempdir.h"

namespace varve::gha_server::testing {

class LocalService {
 public:
  static constexpr uint64_t kMaxSize = 4'000'000;

  explicit LocalService(ServiceOptions options = {}) {
    auto store = EntryStore::Open({.dir = dir_.path(), .max_size = kMaxSize}, clock_);
    CHECK(store);
    store_ = std::move(*store);
    service_ = std::make_unique<CacheService>(*store_, credentials_, clock_, options);
    service_->on_reply = [this](const HttpRequest& request, int status) {
      auto log = log_.Lock();
      log->push_back(request.method + " " + request.path + " " + std::to_string(status));
    };
    auto daemon =
        HttpDaemon::Start("127.0.0.1:0", [this](HttpRequest request) { return service_->Accept(std::move(request)); });
    CHECK(daemon);
    daemon_ = std::move(*daemon);
  }

  gha::ServiceAddress Address(gha::Protocol protocol, const std::string& scopes) {
    return {protocol, "http://" + daemon_->Address(),
            credentials_.IssueToken(*ParseScopes(scopes), std::chrono::hours(6))};
  }
  std::string Url() const { return "http://" + daemon_->Address(); }
  FakeClock& clock() { return clock_; }
  EntryStore& store() { return *store_; }
  const std::string& folder() const { return dir_.path(); }
  // Requests so far whose "METHOD PATH STATUS" has `text` in it.
  size_t Requests(const std::string& text) {
    auto log = log_.Lock();
    return static_cast<size_t>(std::ranges::count_if(*log, [&](auto& line) { return line.find(text) != line.npos; }));
  }

 private:
  sys::TempDir dir_ = *sys::TempDir::Create(sys::TemporaryRoot(), "varve-gha-");
  FakeClock clock_;
  Credentials credentials_{{.secret = "s"}, clock_};
  std::unique_ptr<EntryStore> store_;
  std::unique_ptr<CacheService> service_;
  Guarded<std::vector<std::string>> log_;
  std::unique_ptr<HttpDaemon> daemon_;
};

}  // namespace varve::gha_server::testing
