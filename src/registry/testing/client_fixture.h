// A client that waits for nothing, for the tests of this module.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "base/guarded.h"
#include "registry/client.h"
#include "registry/testing/fake_registry.h"

namespace varve::registry::testing {

class RecordingSleeper final : public net::Sleeper {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    slept.Lock()->push_back(time);
    return !stop.stop_requested();
  }
  Guarded<std::vector<Nanos>> slept;
};

class ClientTest : public ::testing::Test {
 protected:
  // For the registry at `server`, with this configuration and directory of docker's config.json.
  Client& Use(Config config = {}, const std::string& docker_config = "/nonexistent") {
    ClientOptions options{.config = std::move(config), .docker_config = docker_config};
    options.chunk_size = chunk_size_;
    options.always_chunk = always_chunk_;
    options.clock = &clock_;
    options.sleeper = &sleeper_;
    options.timeouts.stall = std::chrono::seconds(20);
    client_ = std::make_unique<Client>(http_, std::move(options));
    return *client_;
  }

  static oci::Reference Ref(const std::string& text) { return *oci::ParseReference(text); }

  static oci::Descriptor Blob(const std::string& content) {
    oci::Descriptor d;
    d.media_type = oci::kOciLayerGzip;
    d.digest = Digest::Of(content);
    d.size = content.size();
    return d;
  }

  // Bytes that differ everywhere, so that a piece in the wrong place is noticed.
  static std::string Content(size_t size) {
    std::string text;
    for (size_t i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
    text.resize(size);
    return text;
  }

  size_t Sleeps() { return sleeper_.slept.Lock()->size(); }

  uint64_t chunk_size_ = 16 << 20;
  bool always_chunk_ = false;
  net::HttpClient http_;
  FakeClock clock_;
  RecordingSleeper sleeper_;
  std::unique_ptr<Client> client_;
};

}  // namespace varve::registry::testing
