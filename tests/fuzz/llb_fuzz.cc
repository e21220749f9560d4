// A definition from foreign hands: what decodes is a valid graph, goes out again, and comes back the same.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "llb/definition.h"

namespace {

using namespace varve;  // NOLINT

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  pb::Definition definition;
  if (!definition.ParseFromArray(data, static_cast<int>(size))) return 0;
  const llb::DecodeOptions options{.platform = {.os = "linux", .architecture = "amd64"}};
  auto decoded = llb::Decode(definition, options);
  if (!decoded) {
    CHECK(!decoded.error().message.empty());
    return 0;
  }
  CHECK(graph::Validate(decoded->graph).has_value());
  CHECK(decoded->vertex_of.size() == decoded->graph.steps.size());
  (void)llb::CheckEntitlements(decoded->graph, {});
  pb::Definition out = llb::Encode(decoded->graph, decoded->root);
  auto again = llb::Decode(out, options);
  CHECK(again.has_value());
  CHECK(again->root.has_value() == decoded->root.has_value());
  return 0;
}
