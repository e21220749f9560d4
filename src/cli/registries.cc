#include "cli/registries.h"

#include <unistd.h>

#include <cstdlib>
#include <mutex>

#include "registry/client.h"

namespace varve::cli {

namespace {

// The first configuration that is there; none is fine.
Result<registry::Config> LoadConfig(const std::string& root) {
  std::vector<std::string> candidates = {root + "/registries.json", "/etc/varve/registries.json"};
  const char* named = std::getenv("VARVE_REGISTRIES");
  if (named != nullptr && *named != '\0') return registry::Config::Load(named);
  for (const std::string& path : candidates) {
    auto config = registry::Config::Load(path);
    if (config || config.error().code != Code::kNotFound) return config;
  }
  return registry::Config();
}

class ClientDistribution final : public source::Distribution {
 public:
  explicit ClientDistribution(registry::Client& client) : client_(client) {}

  Result<oci::Descriptor> Resolve(const oci::Reference& reference, std::stop_token stop) override {
    return client_.Resolve(reference, {}, stop);
  }
  Result<std::string> FetchManifest(const oci::Reference& repository,
                                    const oci::Descriptor& descriptor,
                                    std::stop_token stop) override {
    oci::Reference exact = repository;
    exact.tag.clear();
    exact.digest = descriptor.digest;
    TRY_ASSIGN(auto document, client_.FetchManifest(exact, stop));
    return std::move(document.text);
  }
  Result<std::string> FetchSmallBlob(const oci::Reference& repository,
                                     const oci::Descriptor& descriptor,
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

// Skips to an offset of a blob whose reader cannot seek.
Result<std::unique_ptr<Reader>> OpenAt(cas::BlobStore& blobs, const Digest& blob, uint64_t offset) {
  TRY_ASSIGN(auto reader, blobs.Open(blob));
  std::vector<char> buffer(64 << 10);
  while (offset > 0) {
    size_t want = std::min<uint64_t>(buffer.size(), offset);
    TRY_ASSIGN(size_t n, reader->Read(std::span(buffer.data(), want)));
    if (n == 0) return Corrupt("blob {} is shorter than it was", blob.ToString());
    offset -= n;
  }
  return reader;
}

class ClientPusher final : public Pusher {
 public:
  ClientPusher(registry::Client& client, std::function<Result<registry::Client*>(const std::string&)> insecure)
      : client_(client), insecure_(std::move(insecure)) {}

  Status Push(const exporter::Image& image, const oci::Reference& name, bool insecure, bool by_digest,
              cas::BlobStore& blobs, cache::LocalStore& local, engine::StepSink& sink,
              std::stop_token stop) override {
    registry::Client* client = &client_;
    if (insecure) {
      TRY_ASSIGN(client, insecure_(name.domain));
    }
    std::vector<oci::Descriptor> wanted = image.manifest.layers;
    wanted.push_back(image.manifest.config);
    oci::ImageConfig config = *oci::ImageConfig::Parse(image.config);
    std::vector<DiffId> diff_ids = config.diff_ids();
    for (size_t i = 0; i < wanted.size(); ++i) {
      const oci::Descriptor& blob = wanted[i];
      std::vector<std::string> mount_from;
      if (i < diff_ids.size()) {
        TRY_ASSIGN(auto known, local.FindLayerBlobs(diff_ids[i]));
        for (const cache::LayerBlob& other : known) {
          auto from = oci::ParseReference(other.repository);
          if (other.blob == blob.digest && from && from->domain == name.domain) {
            mount_from.push_back(from->path);
          }
        }
      }
      std::string id = "pushing " + blob.digest.Short();
      sink.Progress(id, 0, blob.size, false);
      auto open = [&](uint64_t offset) { return OpenAt(blobs, blob.digest, offset); };
      auto pushed = client->PushBlob(name, blob, open, mount_from, stop);
      if (!pushed) return Error(std::move(pushed).error());
      sink.Progress(id, blob.size, blob.size, true);
    }
    oci::Reference target = name;
    if (by_digest) {
      target.tag.clear();
      target.digest = image.manifest_digest;
    }
    TRY(client->PushManifest(target, image.manifest.media_type, image.manifest_text, stop));
    sink.Progress("pushing manifest for " + name.Familiar(), image.manifest_text.size(),
                  image.manifest_text.size(), true);
    return Ok();
  }

 private:
  registry::Client& client_;
  std::function<Result<registry::Client*>(const std::string&)> insecure_;
};

}  // namespace

struct Registries::Impl {
  registry::Config config;
  net::HttpClient http;
  std::unique_ptr<registry::Client> client;
  std::unique_ptr<registry::Client> insecure;
  std::unique_ptr<ClientDistribution> distribution;
  std::unique_ptr<ClientPusher> pusher;
};

Registries::Registries(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Registries::~Registries() = default;

Result<std::unique_ptr<Registries>> Registries::Open(const std::string& root) {
  auto impl = std::make_unique<Impl>();
  TRY_ASSIGN(impl->config, LoadConfig(root));
  impl->client = std::make_unique<registry::Client>(
      impl->http, registry::ClientOptions{.config = impl->config});
  impl->distribution = std::make_unique<ClientDistribution>(*impl->client);
  Impl* raw = impl.get();
  impl->pusher = std::make_unique<ClientPusher>(
      *impl->client, [raw](const std::string& domain) -> Result<registry::Client*> {
        registry::Config config = raw->config;
        config.AllowPlainHttp(domain);
        raw->insecure = std::make_unique<registry::Client>(
            raw->http, registry::ClientOptions{.config = std::move(config)});
        return raw->insecure.get();
      });
  return std::unique_ptr<Registries>(new Registries(std::move(impl)));
}

source::Distribution& Registries::distribution() { return *impl_->distribution; }
Pusher& Registries::pusher() { return *impl_->pusher; }
net::HttpClient& Registries::http() { return impl_->http; }

}  // namespace varve::cli
