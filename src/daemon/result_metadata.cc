#include "daemon/result_metadata.h"

#include <set>

#include "base/json.h"
#include "base/strings.h"

namespace varve::daemon {

namespace {

oci::Platform PlatformIn(const Json& json) {
  return oci::Normalise({.os = json.GetString("os"),
                         .architecture = json.GetString("architecture"),
                         .variant = json.GetString("variant"),
                         .os_version = json.GetString("os.version")});
}

std::string Names(const std::vector<oci::Platform>& platforms) {
  std::vector<std::string> names;
  for (const oci::Platform& platform : platforms) names.push_back(platform.ToString());
  return Join(names, ",");
}

}  // namespace

Result<std::vector<ResultPlatform>> PlatformsOf(const ResultMetadata& metadata) {
  std::vector<ResultPlatform> out;
  if (auto list = metadata.find("refs.platforms"); list != metadata.end()) {
    auto json = Json::Parse(list->second.empty() ? "null" : list->second);
    if (!json) return Invalid("failed to parse platforms passed to exporter: {}", json.error().message);
    const auto& entries = json->GetArray("Platforms");
    if (entries.empty()) return Invalid("invalid empty platforms index for exporter");
    for (const Json& entry : entries) {
      ResultPlatform one{.id = entry.GetString("ID"), .platform = {}};
      if (one.id.empty()) return Invalid("invalid empty platform key for exporter");
      const Json* platform = entry.Find("Platform");
      if (platform == nullptr || platform->GetString("os").empty() || platform->GetString("architecture").empty()) {
        return Invalid("invalid platform value of {} for exporter: os and architecture are needed", one.id);
      }
      one.platform = PlatformIn(*platform);
      out.push_back(std::move(one));
    }
    return out;
  }
  oci::Platform platform = oci::HostPlatform();
  if (auto config = metadata.find("containerimage.config"); config != metadata.end()) {
    TRY_ASSIGN(Json json, Json::Parse(config->second));
    if (json.is_null()) return Invalid("invalid null image config for export");
    const bool os = !json.GetString("os").empty();
    if (os != !json.GetString("architecture").empty()) {
      return Invalid("invalid image config: os and architecture must be specified together");
    }
    if (os) platform = PlatformIn(json);
  }
  out.push_back({platform.ToString(), platform});
  return out;
}

std::optional<int64_t> EpochOf(const ResultMetadata& metadata, const std::string& platform) {
  const std::string general = "source.date.epoch";
  for (const std::string& key : {general + "/" + platform, general}) {
    auto epoch = metadata.find(key);
    if (epoch == metadata.end()) continue;
    if (auto seconds = ParseInt(epoch->second)) return seconds;
  }
  return std::nullopt;
}

Result<std::vector<exporter::Output::Annotation>> AnnotationsOf(const ResultMetadata& metadata) {
  std::vector<exporter::Output::Annotation> annotations;
  for (const auto& [key, value] : metadata) {
    TRY_ASSIGN(auto annotation, exporter::ParseAnnotationKey(key, value));
    if (annotation) annotations.push_back(std::move(*annotation));
  }
  return annotations;
}

std::string PlatformWarning(const std::string& requested, bool separate, const std::vector<ResultPlatform>& have) {
  std::vector<oci::Platform> wanted;
  std::set<std::string> names;
  for (const std::string& text : Split(requested, ',')) {
    if (text.empty()) continue;
    auto platform = oci::ParsePlatform(text);
    if (!platform) return "";
    platform = oci::Normalise(std::move(*platform));
    if (!names.insert(platform->ToString()).second)
      return fmt::format("Duplicate platform result requested \"{}\"", text);
    wanted.push_back(std::move(*platform));
  }
  if (wanted.empty()) {
    wanted.push_back(oci::HostPlatform());
    names.insert(wanted.back().ToString());
  }
  std::vector<oci::Platform> made;
  bool all = wanted.size() == have.size();
  for (const ResultPlatform& one : have) {
    // A request names no version of an operating system; a result may.
    oci::Platform plain = one.platform;
    plain.os_version.clear();
    all = all && names.contains(plain.ToString());
    made.push_back(one.platform);
  }
  if (all) return "";
  if (wanted.size() == 1 && made.size() == 1) {
    return fmt::format("Requested platform \"{}\" does not match result platform \"{}\"", wanted[0].ToString(),
                       made[0].ToString());
  }
  if (!separate && wanted.size() > 1) return "Multiple platforms requested but result is not multi-platform";
  return fmt::format("Requested platforms {} do not match result platforms {}", Names(wanted), Names(made));
}

}  // namespace varve::daemon
