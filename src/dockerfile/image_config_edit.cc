#include "dockerfile/image_config_edit.h"

#include <algorithm>

namespace varve::dockerfile {

namespace {

constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

constexpr std::string_view kMembers[] = {"author",      "architecture", "variant", "os",     "os.version",
                                         "os.features", "config",       "rootfs",  "history"};
constexpr std::string_view kConfigMembers[] = {"User",        "ExposedPorts", "Env",    "Entrypoint", "Cmd",
                                               "Volumes",     "WorkingDir",   "Labels", "StopSignal", "ArgsEscaped",
                                               "Healthcheck", "OnBuild",      "Shell"};

bool IsEmpty(const Json& value) {
  return value.is_null() || (value.is_string() && value.as_string().empty()) ||
         (value.is_array() && value.as_array().empty()) || (value.is_object() && value.as_object().empty()) ||
         (value.is_bool() && !value.as_bool());
}

}  // namespace

oci::ImageConfig InheritConfig(const oci::ImageConfig& base) {
  Json document = Json::EmptyObject();
  for (std::string_view member : kMembers) {
    const Json* value = base.document().Find(member);
    if (value == nullptr || (member != "config" && IsEmpty(*value))) continue;
    if (member != "config") {
      document.Set(member, *value);
      continue;
    }
    Json config = Json::EmptyObject();
    for (std::string_view key : kConfigMembers) {
      const Json* entry = value->Find(key);
      if (entry != nullptr && !IsEmpty(*entry)) config.Set(key, *entry);
    }
    document.Set(member, std::move(config));
  }
  oci::ImageConfig out;
  out.document() = std::move(document);
  return out;
}

void SetList(oci::ImageConfig& config, std::string_view member, const std::vector<std::string>& items) {
  if (items.empty()) {
    config.EraseConfig(member);
  } else {
    config.SetConfig(member, Json::Strings(items));
  }
}

void AddOnBuild(oci::ImageConfig& config, const std::string& trigger) {
  std::vector<std::string> triggers = config.on_build();
  triggers.push_back(trigger);
  SetList(config, "OnBuild", triggers);
}

void EnsurePath(oci::ImageConfig& config) {
  if (config.platform().os != "windows" && !config.GetEnv("PATH")) config.SetEnv("PATH", kDefaultPath);
}

std::vector<std::string> ShellOf(const oci::ImageConfig& config) {
  std::vector<std::string> shell = config.shell();
  if (!shell.empty()) return shell;
  if (config.platform().os == "windows") return {"cmd", "/S", "/C"};
  return {"/bin/sh", "-c"};
}

void SetResultPlatform(oci::ImageConfig& config, const oci::Platform& target) {
  oci::Platform platform = config.platform();
  bool same = platform.os == target.os && platform.architecture == target.architecture;
  platform.os = target.os;
  platform.architecture = target.architecture;
  if (!target.variant.empty() || !same) platform.variant = target.variant;
  if (!target.os_version.empty() || !same) platform.os_version = target.os_version;
  if (!target.os_features.empty()) platform.os_features = target.os_features;
  for (const char* member : {"variant", "os.version", "os.features"}) {
    config.document().Erase(member);
  }
  config.set_platform(oci::Normalise(platform));
}

}  // namespace varve::dockerfile
