#include "upkeep/policy.h"

#include <algorithm>
#include <cstdlib>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::upkeep {

namespace {

constexpr uint64_t kGB = 1'000'000'000;
constexpr Nanos kLongUnused = std::chrono::hours(24 * 60);

Result<uint64_t> SizeMember(const Json& json, const DiskSpace& disk) {
  if (json.is_int() && json.as_int() >= 0) return static_cast<uint64_t>(json.as_int());
  if (json.is_string()) return ParseSize(json.as_string(), disk);
  return Invalid("a size is a number of bytes, \"10GB\" or \"10%\"");
}

Result<Nanos> DurationMember(const Json& json) {
  if (json.is_int()) return Nanos(std::chrono::seconds(json.as_int()));
  if (!json.is_string()) return Invalid("a duration is seconds or \"48h\"");
  if (auto seconds = ParseInt(json.as_string())) return Nanos(std::chrono::seconds(*seconds));
  return ParseGoDuration(json.as_string());
}

// Reads a member that both the file and its policies may have. False: it is another one.
Result<bool> ReadLimit(const std::string& name, const Json& value, const DiskSpace& disk, SpaceLimits& limits) {
  uint64_t* to = name == "reservedSpace" || name == "keepBytes" || name == "gckeepstorage" ? &limits.reserved
                 : name == "maxUsedSpace"                                                  ? &limits.max_used
                 : name == "minFreeSpace"                                                  ? &limits.min_free
                                                                                           : nullptr;
  if (to == nullptr) return false;
  TRY_ASSIGN(*to, SizeMember(value, disk));
  return true;
}

Error UnknownMember(const std::string& name) {
  Error error = Invalid("unknown member \"{}\"", name);
  error.hint =
      "members are gc, reservedSpace, maxUsedSpace, minFreeSpace, gcpolicy, and in a policy "
      "also all, filters, keepDuration";
  return error;
}

// BuildKit's gcpolicy_unix.go, without its first policy, which would drop package managers' caches
// over a weekend: here they are weighed by worth like everything else.
std::vector<Policy> DefaultPolicies(SpaceLimits limits, const DiskSpace& disk) {
  if (!limits.any()) {
    limits.reserved = std::min(disk.total / 10, 10 * kGB);
    limits.max_used = std::min(disk.total / 10 * 8, 100 * kGB);
    limits.min_free = disk.total / 5;
  }
  return {{.name = {}, .filter = {}, .keep_duration = kLongUnused, .limits = limits},
          {.name = {}, .filter = {}, .limits = limits},
          {.name = {}, .all = true, .filter = {}, .limits = limits}};
}

Result<Policy> ReadPolicy(const Json& json, const DiskSpace& disk) {
  if (!json.is_object()) return Invalid("a policy is an object");
  Policy policy;
  for (const auto& [name, value] : json.as_object()) {
    TRY_ASSIGN(bool limit, ReadLimit(name, value, disk, policy.limits));
    if (limit) continue;
    if (name == "all") {
      policy.all = value.is_bool() && value.as_bool();
    } else if (name == "filters") {
      policy.filter_texts = json.GetStrings(name);
      TRY_ASSIGN(policy.filter, Filter::ParseAny(policy.filter_texts));
      if (policy.filter.until()) policy.keep_duration = *policy.filter.until();
    } else if (name == "keepDuration") {
      TRY_ASSIGN(policy.keep_duration, DurationMember(value));
    } else {
      return UnknownMember(name);
    }
  }
  return policy;
}

std::string Describe(size_t number, const Policy& policy) {
  std::vector<std::string> parts;
  if (policy.keep_duration.count() > 0) {
    parts.push_back("unused for " + FormatDuration(policy.keep_duration));
  }
  const SpaceLimits& limits = policy.limits;
  if (limits.max_used != 0) parts.push_back("maxUsedSpace " + FormatBytes(limits.max_used));
  if (limits.min_free != 0) parts.push_back("minFreeSpace " + FormatBytes(limits.min_free));
  if (limits.reserved != 0) parts.push_back("reservedSpace " + FormatBytes(limits.reserved));
  return fmt::format("gc policy {} ({})", number, Join(parts, ", "));
}

}  // namespace

Result<uint64_t> ParseSize(std::string_view text, const DiskSpace& disk) {
  text = TrimSpace(text);
  if (text.ends_with('%')) {
    auto percent = ParseInt(text.substr(0, text.size() - 1));
    if (!percent || *percent < 0 || *percent > 100) {
      return Invalid("\"{}\" is not a share between 0% and 100%", text);
    }
    return disk.total / 100 * static_cast<uint64_t>(*percent);
  }
  return ParseRamBytes(text);
}

Result<PolicyFile> ParsePolicies(std::string_view text, const DiskSpace& disk) {
  TRY_ASSIGN(Json json, Json::Parse(text));
  if (!json.is_object()) return Invalid("a policy file is an object");
  PolicyFile file;
  SpaceLimits limits;
  bool listed = false;
  for (const auto& [name, value] : json.as_object()) {
    TRY_ASSIGN(bool limit, ReadLimit(name, value, disk, limits));
    if (limit) continue;
    if (name == "gc") {
      if (!value.is_bool()) return Invalid("\"gc\" is true or false");
      file.enabled = value.as_bool();
    } else if (name == "gcpolicy") {
      if (!value.is_array()) return Invalid("\"gcpolicy\" is a list of policies");
      listed = true;
      for (const Json& item : value.as_array()) {
        TRY_ASSIGN(Policy policy, ReadPolicy(item, disk));
        file.policies.push_back(std::move(policy));
      }
    } else {
      return UnknownMember(name);
    }
  }
  if (!listed) file.policies = DefaultPolicies(limits, disk);
  for (size_t i = 0; i < file.policies.size(); ++i) {
    file.policies[i].name = Describe(i + 1, file.policies[i]);
  }
  return file;
}

Result<PolicyFile> LoadPolicies(const std::string& root, const DiskSpace& disk) {
  std::vector<std::string> paths = {root + "/gc.json"};
  const char* config = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (config != nullptr && *config != '\0') {
    paths.push_back(std::string(config) + "/varve/gc.json");
  } else if (home != nullptr) {
    paths.push_back(std::string(home) + "/.config/varve/gc.json");
  }
  paths.push_back("/etc/varve/gc.json");
  for (const std::string& path : paths) {
    auto text = ReadFile(path, 1 << 20);
    if (!text && text.error().code == Code::kNotFound) continue;
    if (!text) return std::move(text).error();
    auto file = ParsePolicies(*text, disk);
    if (!file) return std::move(file).error().With(path);
    file->path = path;
    return file;
  }
  return ParsePolicies("{}", disk);
}

std::optional<uint64_t> BytesToKeep(const SpaceLimits& limits, uint64_t used, uint64_t free) {
  if (!limits.any()) return std::nullopt;
  std::optional<uint64_t> keep;
  if (limits.max_used != 0) keep = limits.max_used;
  if (limits.min_free > free) {
    uint64_t missing = limits.min_free - free;
    uint64_t rest = used > missing ? used - missing : 0;
    keep = std::min(keep.value_or(rest), rest);
  } else if (limits.min_free != 0 && !keep) {
    keep = used;  // there is room: nothing needs to go
  }
  return std::max(keep.value_or(0), limits.reserved);
}

}  // namespace varve::upkeep
