// A cache in a registry, for the contract of tiers and for tests of registries' faults.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "registry/testing/client_fixture.h"
#include "tier/registry_storage.h"
#include "tier/testing/contract.h"

namespace varve::tier::testing {

class RegistryPlace final : public Place {
 public:
  explicit RegistryPlace(registry::testing::RegistryOptions options = {.hosted_rules = true})
      : server_(std::move(options)) {}
  std::unique_ptr<BlobStorage> Storage() override {
    registry::ClientOptions client{.docker_config = "/nonexistent"};
    client.clock = &clock_;
    client.sleeper = &sleeper_;
    clients_.push_back(std::make_unique<registry::Client>(http_, std::move(client)));
    net::Sleeper& in_time = in_real_time_ ? net::SystemSleeper() : sleeper_;
    auto reference = *oci::ParseReference(server_.Address() + "/team/app:" + tag);
    return MakeRegistryStorage(*clients_.back(), reference, in_time, clock_);
  }
  void Remove(const Digest& blob) override {
    server_.Fail({.pattern = "(GET|HEAD) .*/blobs/" + blob.ToString(), .status = 404});
  }
  void Damage(const Digest& blob, size_t) override {
    server_.Fail({.pattern = "GET .*/blobs/" + blob.ToString(), .wrong_bytes = true});
  }
  bool Overwrites() override { return false; }
  registry::testing::FakeRegistry& server() { return server_; }
  void MergeInRealTime() override { in_real_time_ = true; }
  std::string tag = "cache";

 private:
  bool in_real_time_ = false;
  registry::testing::FakeRegistry server_;
  net::HttpClient http_;
  registry::testing::RecordingSleeper sleeper_;
  std::vector<std::unique_ptr<registry::Client>> clients_;
};

}  // namespace varve::tier::testing
