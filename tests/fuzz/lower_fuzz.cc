// A Dockerfile and the config of its base images, both from foreign hands: what parses is lowered, and
// what lowers is a valid graph that says the same the second time.
//
// Input: the Dockerfile, a line "%%", then the image config that every reference resolves to; without
// the line, the config is a plain one.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "dockerfile/lower.h"
#include "dockerfile/parser.h"

namespace {

using namespace varve;              // NOLINT
using namespace varve::dockerfile;  // NOLINT

constexpr std::string_view kConfig =
    R"({"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},)"
    R"("rootfs":{"type":"layers","diff_ids":[]}})";

class OneImage : public ImageResolver {
 public:
  explicit OneImage(oci::ImageConfig config) : config_(std::move(config)) {}

  Result<ResolvedImage> Resolve(const std::string& reference, const oci::Platform&, graph::ResolveMode) override {
    return ResolvedImage{.config = config_,
                         .manifest_digest = Digest::Of(reference),
                         .platform = config_.platform(),
                         .pinned_reference = reference + "@" + Digest::Of(reference).ToString()};
  }
  Result<ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout, const oci::Platform& platform) override {
    return Resolve(layout.reference, platform, graph::ResolveMode::kDefault);
  }

 private:
  const oci::ImageConfig config_;
};

std::string Describe(const Parsed<Lowered>& lowered) {
  if (!lowered) return lowered.error().error.ToString();
  return graph::Dump(lowered->graph).Dump() + lowered->config.Serialise();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  size_t cut = input.find("\n%%\n");
  auto config = oci::ImageConfig::Parse(cut == input.npos ? kConfig : input.substr(cut + 4));
  if (!config) return 0;
  auto file = ParseDockerfile(input.substr(0, cut));
  if (!file) return 0;
  OneImage images(std::move(*config));

  LowerOptions options;
  options.target_platform = {.os = "linux", .architecture = "amd64"};
  options.build_platform = options.target_platform;
  options.build_args = {{"A", "abc/abc.abc"}, {"E", ""}};
  options.named_contexts = {{"other", "docker-image://alpine"}};
  options.all_stages = (size & 1) != 0;
  std::vector<Warning> warnings;
  auto lowered = Lower(*file, options, images, &warnings);
  if (lowered) {
    CHECK(graph::Validate(lowered->graph).has_value());
    CHECK(!lowered->root || lowered->root->step < lowered->graph.steps.size());
    for (const graph::Step& step : lowered->graph.steps) CHECK(!step.name.empty());
    (void)ToJson(lowered->outline, std::string(input.substr(0, cut)));
  } else {
    CHECK(!lowered.error().error.message.empty());
  }
  CHECK(Describe(Lower(*file, options, images)) == Describe(lowered));
  return 0;
}
