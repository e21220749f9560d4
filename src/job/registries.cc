#include "job/registries.h"

#include <cstdlib>
#include <map>

#include "base/guarded.h"
#include "job/image_push.h"
#include "registry/client.h"

namespace varve::job {

Result<registry::Config> LoadRegistryConfig(const std::string& root) {
  std::vector<std::string> candidates = {root + "/registries.json", "/etc/varve/registries.json"};
  const char* named = std::getenv("VARVE_REGISTRIES");
  if (named != nullptr && *named != '\0') return registry::Config::Load(named);
  for (const std::string& path : candidates) {
    auto config = registry::Config::Load(path);
    if (config || config.error().code != Code::kNotFound) return config;
  }
  return registry::Config();
}

namespace {

class ClientDistribution final : public source::Distribution {
 public:
  explicit ClientDistribution(registry::Client& client) : client_(client) {}

  Result<oci::Descriptor> Resolve(const oci::Reference& reference, std::stop_token stop) override {
    return client_.Resolve(reference, {}, stop);
  }
  Result<std::string> FetchManifest(const oci::Reference& repository, const oci::Descriptor& descriptor,
                                    std::stop_token stop) override {
    oci::Reference exact = repository;
    exact.tag.clear();
    exact.digest = descriptor.digest;
    TRY_ASSIGN(auto document, client_.FetchManifest(exact, stop));
    return std::move(document.text);
  }
  Result<std::string> FetchSmallBlob(const oci::Reference& repository, const oci::Descriptor& descriptor,
                                     std::stop_token stop) override {
    return client_.FetchSmallBlob(repository, descriptor, oci::kMaxManifestSize, stop);
  }
  Status FetchBlob(const oci::Reference& repository, const oci::Descriptor& descriptor, Writer& out,
                   std::stop_token stop) override {
    return client_.FetchBlob(repository, descriptor, out, stop);
  }

 private:
  registry::Client& client_;
};

}  // namespace

struct Registries::Impl {
  registry::Config config;
  registry::CredentialLookup credentials;
  registry::TokenLookup tokens;
  net::HttpClient http;
  std::unique_ptr<registry::Client> client;
  Guarded<std::map<std::string, std::unique_ptr<registry::Client>>> insecure;  // by host
  std::unique_ptr<ClientDistribution> distribution;
  std::unique_ptr<ImagePusher> pusher;

  registry::Client* ClientFor(const std::string& host, bool plain_http) {
    if (!plain_http) return client.get();
    auto clients = insecure.Lock();
    std::unique_ptr<registry::Client>& made = (*clients)[host];
    if (!made) {
      registry::Config own = config;
      own.AllowPlainHttp(host);
      made = std::make_unique<registry::Client>(
          http, registry::ClientOptions{.config = std::move(own), .credentials = credentials, .tokens = tokens});
    }
    return made.get();
  }
};

Registries::Registries(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Registries::~Registries() = default;

Result<std::unique_ptr<Registries>> Registries::Open(const std::string& root, RegistryOptions options) {
  auto impl = std::make_unique<Impl>();
  if (options.config) {
    impl->config = std::move(*options.config);
  } else {
    TRY_ASSIGN(impl->config, LoadRegistryConfig(root));
  }
  impl->credentials = std::move(options.credentials);
  impl->tokens = std::move(options.tokens);
  impl->client = std::make_unique<registry::Client>(
      impl->http,
      registry::ClientOptions{.config = impl->config, .credentials = impl->credentials, .tokens = impl->tokens});
  impl->distribution = std::make_unique<ClientDistribution>(*impl->client);
  impl->pusher = std::make_unique<ImagePusher>(
      [own = impl.get()](const std::string& host, bool insecure) -> Result<registry::Client*> {
        return own->ClientFor(host, insecure);
      });
  return std::unique_ptr<Registries>(new Registries(std::move(impl)));
}

source::Distribution& Registries::distribution() { return *impl_->distribution; }
Pusher& Registries::pusher() { return *impl_->pusher; }
net::HttpClient& Registries::http() { return impl_->http; }

registry::Client& Registries::client(const std::string& host, bool insecure) {
  return *impl_->ClientFor(host, insecure);
}

}  // namespace varve::job
