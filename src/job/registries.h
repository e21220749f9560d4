// The registries that a build talks to: configuration, credentials, client.
//
// Nothing is read or opened before the first request, so that a build without one pays nothing.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "job/pusher.h"
#include "net/http_client.h"
#include "registry/client.h"
#include "source/image.h"

namespace varve::job {

// What is not this user's own.
struct RegistryOptions {
  std::optional<registry::Config> config;            // instead of registries.json
  registry::CredentialLookup credentials = nullptr;  // instead of docker's config.json
  registry::TokenLookup tokens = nullptr;            // before those
};

// The first of $VARVE_REGISTRIES, <root>/registries.json and /etc/varve/registries.json that is there
// (registry/config.h).
Result<registry::Config> LoadRegistryConfig(const std::string& root);

class Registries {
 public:
  // Without a configuration among the options: LoadRegistryConfig's.
  static Result<std::unique_ptr<Registries>> Open(const std::string& root, RegistryOptions options = {});
  ~Registries();

  source::Distribution& distribution();
  Pusher& pusher();
  net::HttpClient& http();
  // For a registry by its host; `insecure`: one that speaks plain http and takes any certificate. Lives as
  // long as this object.
  registry::Client& client(const std::string& host, bool insecure);

 private:
  struct Impl;
  explicit Registries(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::job
