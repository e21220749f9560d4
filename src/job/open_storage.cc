#include "job/open_storage.h"

#include <cstdlib>

#include "gha/service_address.h"
#include "objects/http_store.h"
#include "objects/s3_store.h"
#include "tier/bucket_storage.h"
#include "tier/directory_storage.h"
#include "tier/gha_storage.h"
#include "tier/registry_storage.h"
#include "tier/web_storage.h"

namespace varve::job {

namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// Nothing, and a line for people, where the environment names no service. An error is one of the options.
Result<std::optional<gha::ServiceAddress>> FindService(const tier::Spec& spec, std::string& absent) {
  auto option = [&](const char* key) {
    auto it = spec.store.find(key);
    return it == spec.store.end() ? std::string() : it->second;
  };
  gha::ServiceOptions options{
      .url = option("url"), .url_v2 = option("url_v2"), .token = option("token"), .version = option("version")};
  auto found = gha::FindService(options, Environment);
  if (!found && !(options.url + options.url_v2).empty()) return found;
  if (found && *found) return found;
  absent = found ? "ACTIONS_RUNTIME_TOKEN, or ACTIONS_RESULTS_URL and ACTIONS_CACHE_URL, are not set "
                   "(`run:` steps do not get them from GitHub: see doc/cache-tiers.md)"
                 : found.error().message;
  return std::optional<gha::ServiceAddress>();
}

}  // namespace

Result<std::unique_ptr<tier::BlobStorage>> OpenStorage(const tier::Spec& spec, Registries& registries) {
  switch (spec.kind) {
    case tier::Kind::kLocal:
      return tier::MakeDirectoryStorage(
          {.path = spec.place, .tag = spec.tag, .digest = spec.digest, .reset = spec.reset});
    case tier::Kind::kRegistry: {
      TRY_ASSIGN(auto reference, oci::ParseReference(spec.place));
      registry::Client& client = registries.client(reference.domain, spec.insecure);
      return tier::MakeRegistryStorage(client, std::move(reference));
    }
    case tier::Kind::kS3: {
      const objects::Environment environment = objects::ProcessEnvironment();
      auto options = spec.store;
      TRY_ASSIGN(auto s3, objects::TakeS3Options(options, environment));
      TRY_ASSIGN(auto store, objects::S3Store::Open(std::move(s3), registries.http(), environment, SystemClock(),
                                                    net::SystemSleeper()));
      tier::BucketLayout layout;
      if (spec.manifests_prefix) layout.manifests_prefix = *spec.manifests_prefix;
      if (spec.blobs_prefix) layout.blobs_prefix = *spec.blobs_prefix;
      if (!spec.names.empty()) layout.names = spec.names;
      if (spec.touch_refresh) layout.touch_refresh = *spec.touch_refresh;
      return tier::MakeBucketStorage(std::move(store), std::move(layout));
    }
    case tier::Kind::kHttp: {
      auto options = spec.store;
      TRY_ASSIGN(auto http, objects::TakeHttpOptions(options));
      TRY_ASSIGN(auto store,
                 objects::HttpStore::Open(std::move(http), registries.http(), SystemClock(), net::SystemSleeper()));
      const bool bazel = options.contains("layout") && options.at("layout") == "bazel";
      return tier::MakeWebStorage(std::move(store), bazel ? tier::WebLayout::kBazel : tier::WebLayout::kPlain);
    }
    case tier::Kind::kGha: {
      std::string absent;
      TRY_ASSIGN(auto service, FindService(spec, absent));
      if (!service) return NotFound("{}", absent);
      tier::GhaOptions options{
          .address = std::move(*service), .packs = {.scope = spec.place}, .retry_budget = spec.retry_budget};
      return tier::MakeGhaStorage(registries.http(), std::move(options), SystemClock());
    }
    case tier::Kind::kInline:
      break;  // a part of the image, not a tier
  }
  return Internal("a cache of an unknown type");
}

}  // namespace varve::job
