#include "oci/descriptor.h"

#include <algorithm>
#include <map>

#include "base/hex.h"

namespace varve::oci {

bool IsManifest(std::string_view type) { return type == kOciManifest || type == kDockerManifest; }
bool IsIndex(std::string_view type) { return type == kOciIndex || type == kDockerList; }

bool IsLayer(std::string_view type) {
  return type.starts_with(kOciLayer) || type.starts_with(kDockerLayer) || IsForeignLayer(type);
}

bool IsForeignLayer(std::string_view type) {
  return type.starts_with(kOciForeignLayer) || type.starts_with(kDockerForeignLayer);
}

const std::string* Descriptor::Annotation(std::string_view key) const {
  for (const auto& [name, value] : annotations) {
    if (name == key) return &value;
  }
  return nullptr;
}

Json ToJson(const Annotations& annotations) {
  Annotations sorted = annotations;
  std::ranges::sort(sorted);
  Json json = Json::EmptyObject();
  for (const auto& [key, value] : sorted) json.Set(key, value);
  return json;
}

Annotations AnnotationsFromJson(const Json* json) {
  std::map<std::string, std::string> sorted;  // the last of equal keys, as everywhere in Json
  if (json == nullptr || !json->is_object()) return {};
  for (const auto& [key, value] : json->as_object()) {
    if (value.is_string()) sorted[key] = value.as_string();
  }
  return Annotations(sorted.begin(), sorted.end());
}

Json ToJson(const Descriptor& d) {
  Json json;
  json.Set("mediaType", d.media_type).Set("digest", d.digest.ToString()).Set("size", d.size);
  json.SetIf(!d.urls.empty(), "urls", Json::Strings(d.urls));
  json.SetIf(!d.annotations.empty(), "annotations", ToJson(d.annotations));
  json.SetIf(!d.data.empty(), "data", Base64Encode(d.data));
  if (d.platform) json.Set("platform", ToJson(*d.platform));
  json.SetIf(!d.artifact_type.empty(), "artifactType", d.artifact_type);
  return json;
}

Result<Descriptor> DescriptorFromJson(const Json& json) {
  constexpr int64_t kMaxSize = int64_t{1} << 50;
  if (!json.is_object()) return Invalid("descriptor is not a JSON object");
  Descriptor d;
  d.media_type = json.GetString("mediaType");
  TRY_ASSIGN(d.digest, Digest::Parse(json.GetString("digest")));
  int64_t size = json.GetInt("size", -1);
  if (size < 0 || size > kMaxSize) {
    return Invalid("descriptor of {} has an impossible size", d.digest.ToString());
  }
  d.size = static_cast<uint64_t>(size);
  d.urls = json.GetStrings("urls");
  d.annotations = AnnotationsFromJson(json.Find("annotations"));
  if (const Json* platform = json.Find("platform"); platform && platform->is_object()) {
    d.platform = PlatformFromJson(*platform);
  }
  d.artifact_type = json.GetString("artifactType");
  if (const Json* data = json.Find("data"); data && data->is_string()) {
    if (!Base64Decode(data->as_string(), &d.data) || d.data.size() != d.size || Digest::Of(d.data) != d.digest) {
      return Invalid("descriptor of {} embeds other data", d.digest.ToString());
    }
  }
  return d;
}

}  // namespace varve::oci
