#include "llb/input.h"

#include "base/hex.h"

namespace varve::llb {

namespace {

constexpr char kConfigKey[] = "containerimage.config";

Result<std::optional<oci::ImageConfig>> ConfigOf(const std::string& metadata) {
  TRY_ASSIGN(Json json, Json::Parse(metadata));
  const Json* value = json.Find(kConfigKey);
  if (value == nullptr || value->is_null()) return std::optional<oci::ImageConfig>();
  std::string text;
  if (!value->is_string() || !Base64Decode(value->as_string(), &text)) {
    return Invalid("{} is not base64", kConfigKey);
  }
  TRY_ASSIGN(oci::ImageConfig config, oci::ImageConfig::Parse(text));
  return std::optional(std::move(config));
}

}  // namespace

std::map<std::string, dockerfile::LoweredInput> Inputs::Lowered() const {
  std::map<std::string, dockerfile::LoweredInput> out;
  for (const auto& [name, input] : by_name) {
    out[name] = {.graph = &input.build.graph, .root = input.build.root, .config = input.config, .history = {}};
  }
  return out;
}

Result<Inputs> DecodeInputs(const Definitions& definitions, const StringAttributes& attributes,
                            const DecodeOptions& options) {
  Inputs out;
  for (const auto& [name, definition] : definitions) {
    if (definition.def_size() == 0) return Invalid("invalid nil input definition to definition op: {}", name);
    auto decoded = Decode(definition, options);
    if (!decoded) return Error(std::move(decoded).error()).With("input " + name);
    Input& input = out.by_name[name];
    input.build = std::move(*decoded);
    auto metadata = attributes.find("input-metadata:" + name);
    if (metadata == attributes.end()) continue;
    auto config = ConfigOf(metadata->second);
    if (!config) return Error(std::move(config).error()).With("failed to parse input metadata of " + name);
    input.config = std::move(*config);
  }
  return out;
}

std::string InputMetadata(const oci::ImageConfig& config) {
  return Json().Set(kConfigKey, Base64Encode(config.Serialise())).Dump();
}

}  // namespace varve::llb
