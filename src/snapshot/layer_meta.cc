#include "snapshot/layer_meta.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::snapshot {
namespace {

constexpr int kVersion = 2;

std::string WithSum(const std::string& line) { return line + "\n" + Digest::Of(line).Hex() + "\n"; }

}  // namespace

Result<LayerMeta> ReadMeta(const std::string& layer_directory) {
  TRY_ASSIGN(std::string text, ReadFile(layer_directory + "/meta", 4096));
  const std::string line = text.substr(0, text.find('\n'));
  auto damaged = [&] { return Corrupt("{}/meta is damaged", layer_directory); };
  // A count that lost a bit would still be a count, and a layer without entries is left out of mounts.
  if (text != WithSum(line)) return damaged();
  auto json = Json::Parse(line);
  if (!json || !json->is_object() || json->GetInt("version") != kVersion) return damaged();
  LayerMeta meta;
  auto index = Digest::Parse(json->GetString("index"));
  if (!index) return damaged();
  meta.index = *index;
  meta.entries = static_cast<uint64_t>(json->GetInt("entries"));
  if (json->Find("tar") != nullptr) meta.tar_size = static_cast<uint64_t>(json->GetInt("tar"));
  meta.reproducible = json->GetBool("reproducible");
  meta.boot = json->GetString("boot");
  return meta;
}

Status WriteMeta(const std::string& layer_directory, const LayerMeta& meta) {
  Json json;
  json.Set("version", kVersion).Set("entries", static_cast<int64_t>(meta.entries));
  if (meta.tar_size) json.Set("tar", static_cast<int64_t>(*meta.tar_size));
  json.Set("index", meta.index.ToString()).Set("reproducible", meta.reproducible);
  json.Set("boot", meta.boot);
  return WriteFileAtomically(layer_directory + "/meta", WithSum(json.Dump()));
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
