#include "snapshot/layer_meta.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::snapshot {

Result<LayerMeta> ReadMeta(const std::string& layer_directory) {
  TRY_ASSIGN(std::string text, ReadFile(layer_directory + "/meta", 4096));
  auto json = Json::Parse(text);
  if (!json || !json->is_object()) return Corrupt("{}/meta is damaged", layer_directory);
  LayerMeta meta;
  auto index = Digest::Parse(json->GetString("index"));
  if (json->GetInt("version") != 1 || !index) return Corrupt("{}/meta is damaged", layer_directory);
  meta.index = *index;
  meta.entries = static_cast<uint64_t>(json->GetInt("entries"));
  meta.reproducible = json->GetBool("reproducible");
  meta.boot = json->GetString("boot");
  return meta;
}

Status WriteMeta(const std::string& layer_directory, const LayerMeta& meta) {
  Json json;
  json.Set("version", 1).Set("entries", static_cast<int64_t>(meta.entries));
  json.Set("index", meta.index.ToString()).Set("reproducible", meta.reproducible);
  json.Set("boot", meta.boot);
  return WriteFileAtomically(layer_directory + "/meta", json.Dump() + "\n");
}

Result<std::vector<std::string>> ReadImplicit(const std::string& layer_directory) {
  auto text = ReadFile(layer_directory + "/implicit", 1 << 30);
  if (!text && text.error().code == Code::kNotFound) return std::vector<std::string>();
  if (!text) return std::move(text).error();
  std::vector<std::string> paths = Split(*text, '\0');
  if (!paths.back().empty()) return Corrupt("{}/implicit is damaged", layer_directory);
  paths.pop_back();
  return paths;
}

Status WriteImplicit(const std::string& layer_directory, const std::vector<std::string>& paths) {
  std::string text;
  for (const std::string& path : paths) text.append(path).push_back('\0');
  return WriteFileAtomically(layer_directory + "/implicit", text);
}

Result<std::string> CurrentBoot() {
  TRY_ASSIGN(std::string text, ReadFile("/proc/sys/kernel/random/boot_id", 100));
  return std::string(TrimSpace(text));
}

}  // namespace varve::snapshot
