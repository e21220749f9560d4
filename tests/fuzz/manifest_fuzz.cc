// Documents of foreign registries: any bytes give an error or a value, and a value that parsed is
// written in a form that parses to the same again.
//
// The first byte chooses the parser; the rest is its input.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/image_config.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "oci/platform.h"
#include "oci/reference.h"

namespace oci = varve::oci;

namespace {

void FuzzManifest(std::string_view text) {
  auto manifest = oci::ParseManifest(text);
  if (!manifest) return;
  std::string written = oci::Serialise(*manifest);
  auto again = oci::ParseManifest(written);
  // The written form is indented and may grow beyond the limit that the first one kept.
  if (written.size() > oci::kMaxManifestSize) return;
  CHECK(again && again->layers == manifest->layers && again->config == manifest->config);
  CHECK(oci::Serialise(*again) == written);
}

void FuzzIndex(std::string_view text) {
  auto index = oci::ParseLayoutIndex(text);
  if (!index) return;
  for (const oci::Descriptor& d : index->manifests) {
    if (d.platform) (void)index->Find(*d.platform);
  }
  (void)index->Find(oci::HostPlatform());
  (void)oci::FindInLayout(*index, "v1");
  (void)oci::FindInLayout(*index, "");
  auto again = oci::ParseLayoutIndex(oci::SerialiseLayoutIndex(*index));
  CHECK(again && again->manifests == index->manifests);
}

void FuzzConfig(std::string_view text) {
  auto config = oci::ImageConfig::Parse(text);
  if (!config) return;
  (void)config->platform();
  (void)config->created();
  (void)config->env();
  (void)config->entrypoint();
  (void)config->labels();
  (void)config->healthcheck();
  (void)oci::ChainOf(config->diff_ids());
  std::string written = config->Serialise();
  auto again = oci::ImageConfig::Parse(written);
  CHECK(written.size() > oci::kMaxManifestSize || (again && again->Serialise() == written));
  config->SetEnv("A", "b");
  CHECK(config->GetEnv("A") == "b");
  config->SetLabel("l", "v");
  CHECK(config->GetLabel("l") == "v");
  config->set_history(config->history());
  config->AddHistory({.created_by = "RUN x"});
  config->set_diff_ids(config->diff_ids());
  CHECK(config->history().back().created_by == "RUN x");
}

void FuzzReference(std::string_view text) {
  if (auto platform = oci::ParsePlatform(text)) {
    auto again = oci::ParsePlatform(platform->ToString());
    CHECK(again && again->ToString() == platform->ToString());
    CHECK(oci::Matches(*platform, *platform));
  }
  auto ref = oci::ParseReference(text);
  if (!ref) return;
  auto again = oci::ParseReference(ref->String());
  CHECK(again && *again == *ref);
  auto familiar = oci::ParseReference(ref->Familiar());
  CHECK(familiar && *familiar == *ref);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'm':
      FuzzManifest(input);
      break;
    case 'i':
      FuzzIndex(input);
      break;
    case 'c':
      FuzzConfig(input);
      break;
    case 'r':
      FuzzReference(input);
      break;
    default:
      break;
  }
  return 0;
}
