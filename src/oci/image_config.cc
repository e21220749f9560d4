#include "oci/image_config.h"

#include "oci/descriptor.h"
#include "oci/manifest.h"

namespace varve::oci {

namespace {

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

Json ToJson(const History& entry) {
  Json json;
  if (entry.created) json.Set("created", FormatTime(*entry.created));
  json.SetIf(!entry.created_by.empty(), "created_by", entry.created_by);
  json.SetIf(!entry.author.empty(), "author", entry.author);
  json.SetIf(!entry.comment.empty(), "comment", entry.comment);
  json.SetIf(entry.empty_layer, "empty_layer", true);
  return json.is_null() ? Json::EmptyObject() : json;
}

}  // namespace

Result<ImageConfig> ImageConfig::Parse(std::string_view text) {
  if (text.size() > kMaxManifestSize) return Invalid("image config is larger than 4 MiB");
  TRY_ASSIGN(Json json, Json::Parse(text));
  if (!json.is_object()) return Invalid("image config is not a JSON object");
  ImageConfig config;
  config.json_ = std::move(json);
  return config;
}

ImageConfig ImageConfig::Scratch(const Platform& platform) {
  ImageConfig config;
  config.set_platform(platform);
  config.SetConfig("WorkingDir", "/");
  if (platform.os != "windows") config.SetConfig("Env", Json().Append(kDefaultPath));
  config.json_.Set("rootfs", Json().Set("type", "layers").Set("diff_ids", Json::EmptyArray()));
  return config;
}

std::string ImageConfig::Serialise() const { return json_.Dump({.sort_keys = true, .escape_html = true}); }

Platform ImageConfig::platform() const { return PlatformFromJson(json_); }

void ImageConfig::set_platform(const Platform& platform) {
  json_.Set("architecture", platform.architecture).Set("os", platform.os);
  for (const char* optional : {"variant", "os.version", "os.features"}) json_.Erase(optional);
  json_.SetIf(!platform.variant.empty(), "variant", platform.variant);
  json_.SetIf(!platform.os_version.empty(), "os.version", platform.os_version);
  json_.SetIf(!platform.os_features.empty(), "os.features", Json::Strings(platform.os_features));
}

std::optional<Timestamp> ImageConfig::created() const {
  auto time = ParseTime(json_.GetString("created"));
  if (!time) return {};
  return *time;
}

void ImageConfig::set_created(Timestamp time) { json_.Set("created", FormatTime(time)); }

const Json* ImageConfig::FindConfig(std::string_view key) const {
  const Json* config = json_.Find("config");
  return config == nullptr ? nullptr : config->Find(key);
}

void ImageConfig::SetConfig(std::string_view key, Json value) {
  Json* config = json_.Find("config");
  if (config == nullptr || !config->is_object()) {
    json_.Set("config", Json::EmptyObject());
    config = json_.Find("config");
  }
  config->Set(key, std::move(value));
}

void ImageConfig::EraseConfig(std::string_view key) {
  if (Json* config = json_.Find("config")) config->Erase(key);
}

std::string ImageConfig::ConfigString(std::string_view key) const {
  const Json* value = FindConfig(key);
  return value && value->is_string() ? value->as_string() : "";
}

std::optional<std::vector<std::string>> ImageConfig::ConfigList(std::string_view key) const {
  const Json* value = FindConfig(key);
  if (value == nullptr || !value->is_array()) return {};
  return json_.Find("config")->GetStrings(key);
}

std::vector<std::string> ImageConfig::ConfigKeys(std::string_view key) const {
  std::vector<std::string> keys;
  const Json* config = json_.Find("config");
  if (config == nullptr) return keys;
  for (const auto& [name, value] : config->GetObject(key)) keys.push_back(name);
  return keys;
}

bool ImageConfig::args_escaped() const {
  const Json* config = json_.Find("config");
  return config != nullptr && config->GetBool("ArgsEscaped");
}

std::vector<std::pair<std::string, std::string>> ImageConfig::labels() const {
  return AnnotationsFromJson(FindConfig("Labels"));
}

std::optional<Healthcheck> ImageConfig::healthcheck() const {
  const Json* json = FindConfig("Healthcheck");
  if (json == nullptr || !json->is_object()) return {};
  return Healthcheck{.test = json->GetStrings("Test"),
                     .interval = Nanos(json->GetInt("Interval")),
                     .timeout = Nanos(json->GetInt("Timeout")),
                     .start_period = Nanos(json->GetInt("StartPeriod")),
                     .start_interval = Nanos(json->GetInt("StartInterval")),
                     .retries = json->GetInt("Retries")};
}

std::vector<std::string> ImageConfig::env() const {
  const Json* config = json_.Find("config");
  return config == nullptr ? std::vector<std::string>() : config->GetStrings("Env");
}

std::optional<std::string> ImageConfig::GetEnv(std::string_view name) const {
  for (const std::string& entry : env()) {
    if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=') {
      return entry.substr(name.size() + 1);
    }
  }
  return {};
}

void ImageConfig::SetEnv(std::string_view name, std::string_view value) {
  std::vector<std::string> entries = env();
  std::string entry = fmt::format("{}={}", name, value);
  bool found = false;
  for (std::string& old : entries) {
    if (old.substr(0, old.find('=')) != name) continue;
    old = entry;
    found = true;
  }
  if (!found) entries.push_back(entry);
  SetConfig("Env", Json::Strings(entries));
}

std::vector<std::string> ImageConfig::shell() const {
  const Json* config = json_.Find("config");
  return config == nullptr ? std::vector<std::string>() : config->GetStrings("Shell");
}

std::vector<std::string> ImageConfig::on_build() const {
  const Json* config = json_.Find("config");
  return config == nullptr ? std::vector<std::string>() : config->GetStrings("OnBuild");
}

void ImageConfig::SetLabel(const std::string& key, const std::string& value) {
  const Json* labels = FindConfig("Labels");
  Json updated = labels && labels->is_object() ? *labels : Json::EmptyObject();
  updated.Set(key, value);
  SetConfig("Labels", std::move(updated));
}

std::optional<std::string> ImageConfig::GetLabel(std::string_view key) const {
  const Json* labels = FindConfig("Labels");
  const Json* value = labels == nullptr ? nullptr : labels->Find(key);
  if (value == nullptr || !value->is_string()) return {};
  return value->as_string();
}

void ImageConfig::AddToSet(std::string_view member, const std::string& key) {
  const Json* set = FindConfig(member);
  Json updated = set && set->is_object() ? *set : Json::EmptyObject();
  updated.Set(key, Json::EmptyObject());
  SetConfig(member, std::move(updated));
}

void ImageConfig::SetHealthcheck(const Healthcheck& check) {
  Json json;
  json.SetIf(!check.test.empty(), "Test", Json::Strings(check.test));
  json.SetIf(check.interval.count() != 0, "Interval", check.interval.count());
  json.SetIf(check.timeout.count() != 0, "Timeout", check.timeout.count());
  json.SetIf(check.start_period.count() != 0, "StartPeriod", check.start_period.count());
  json.SetIf(check.start_interval.count() != 0, "StartInterval", check.start_interval.count());
  json.SetIf(check.retries != 0, "Retries", check.retries);
  SetConfig("Healthcheck", json.is_null() ? Json::EmptyObject() : json);
}

std::vector<DiffId> ImageConfig::diff_ids() const {
  std::vector<DiffId> ids;
  const Json* rootfs = json_.Find("rootfs");
  if (rootfs == nullptr) return ids;
  for (const std::string& text : rootfs->GetStrings("diff_ids")) {
    if (auto digest = Digest::Parse(text)) ids.emplace_back(*digest);
  }
  return ids;
}

void ImageConfig::set_diff_ids(const std::vector<DiffId>& ids) {
  Json list = Json::EmptyArray();
  for (const DiffId& id : ids) list.Append(id.ToString());
  const Json* old = json_.Find("rootfs");
  Json rootfs = old && old->is_object() ? *old : Json::EmptyObject();
  json_.Set("rootfs", rootfs.Set("type", "layers").Set("diff_ids", std::move(list)));
}

std::vector<History> ImageConfig::history() const {
  std::vector<History> out;
  for (const Json& json : json_.GetArray("history")) {
    History entry{.created_by = json.GetString("created_by"),
                  .author = json.GetString("author"),
                  .comment = json.GetString("comment"),
                  .empty_layer = json.GetBool("empty_layer")};
    if (auto time = ParseTime(json.GetString("created"))) entry.created = *time;
    out.push_back(std::move(entry));
  }
  return out;
}

void ImageConfig::set_history(const std::vector<History>& history) {
  Json list = Json::EmptyArray();
  for (const History& entry : history) list.Append(ToJson(entry));
  json_.Set("history", std::move(list));
}

void ImageConfig::AddHistory(const History& entry) {
  Json* list = json_.Find("history");
  if (list == nullptr || !list->is_array()) {
    json_.Set("history", Json::EmptyArray());
    list = json_.Find("history");
  }
  list->Append(ToJson(entry));
}

ChainId ChainOf(const std::vector<DiffId>& layers) {
  ChainId chain;
  for (const DiffId& layer : layers) chain = ExtendChain(chain, layer);
  return chain;
}

}  // namespace varve::oci
