// Compose files, templates and .env files: any bytes give an error or a value, and a model that is
// printed reads as the same model.
//
// The first byte chooses: 'y' a Compose file, 't' a template, 'e' an environment file.
#include <cstdint>
#include <string>
#include <string_view>

#include "compose/canonical.h"
#include "compose/dotenv.h"
#include "compose/render.h"

namespace {

using namespace varve;           // NOLINT
using namespace varve::compose;  // NOLINT

std::optional<std::string> ValueOf(const std::string& name) {
  return name.size() % 2 == 0 ? std::optional(name) : std::nullopt;
}

void FuzzFile(std::string_view text) {
  auto documents = ParseDocuments(text, "compose.yaml");
  if (!documents) {
    CHECK(!documents.error().message.empty());
    return;
  }
  Node model = Node::Mapping({});
  for (Node& document : *documents) {
    if (!Canonicalize(document, "/project")) return;
    Merge(model, document);
    Merge(model, document);
  }
  DropResets(model);
  Json json = model.ToJson();
  auto again = ParseDocuments(ToYaml(json), "again.yaml");
  CHECK(again.has_value());
  Loaded loaded{.name = "fuzz", .directory = "/project", .model = std::move(model)};
  auto project = MakeProject(std::move(loaded), {"*"}, {});
  if (project) {
    auto ordered = ServicesToBuild(*project, {}, true);
    CHECK(ordered || !ordered.error().message.empty());
    (void)ResolvedModel(*project, {}, false);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'y') FuzzFile(input);
  if (data[0] == 't') (void)Interpolate(input, ValueOf);
  if (data[0] == 'e') {
    Environment out;
    (void)ReadDotenv(input, ".env", ValueOf, out);
  }
  return 0;
}
