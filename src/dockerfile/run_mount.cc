#include "dockerfile/run_mount.h"

#include <array>
#include <charconv>

#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/runes.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {
namespace {

constexpr std::array<std::string_view, 5> kTypes = {"bind", "cache", "tmpfs", "secret", "ssh"};
constexpr std::array<std::string_view, 3> kSharing = {"shared", "private", "locked"};
constexpr std::array<std::string_view, 19> kKeys = {
    "type", "from", "source", "target", "readonly",    "id", "sharing", "required",  "size", "mode",
    "uid",  "gid",  "src",    "dst",    "destination", "ro", "rw",      "readwrite", "env"};

struct Option {
  std::string field;  // as written
  std::string key;    // lower case
  std::optional<std::string> value;
};

Result<std::vector<Option>> SplitOptions(std::string_view text, std::string_view what) {
  auto fields = ParseCsvRecord(text);
  if (!fields) return std::move(fields).error().With(fmt::format("failed to parse csv {}", what));
  std::vector<Option> options;
  for (std::string& field : *fields) {
    size_t equals = field.find('=');
    Option option{field, ToLower(field.substr(0, equals)), std::nullopt};
    if (equals != std::string::npos) option.value = field.substr(equals + 1);
    options.push_back(std::move(option));
  }
  return options;
}

Error NeedsValue(const Option& option) {
  return Hinted(Invalid("invalid field '{}' must be a key=value pair", option.field),
                fmt::format("write {}=VALUE; options are parted by commas, without blanks", option.key));
}

bool IsFileType(MountType type) {
  return type == MountType::kSecret || type == MountType::kSsh || type == MountType::kCache;
}

class MountParser {
 public:
  Result<Mount> Parse(std::string_view text, const Expander& expand) {
    TRY_ASSIGN(std::vector<Option> options, SplitOptions(text, "mounts"));
    for (const Option& option : options) {
      if (!option.value) {
        TRY(Bare(option));
        continue;
      }
      TRY_ASSIGN(std::string value, expand(*option.value));
      TRY(Set(option, std::move(value)));
    }
    TRY(Check());
    if (!read_only_given_) {
      mount_.read_only = mount_.type != MountType::kCache && mount_.type != MountType::kTmpfs;
    }
    return std::move(mount_);
  }

 private:
  Error Unexpected(std::string_view key) const {
    return Hinted(Invalid("unexpected key '{}' for mount type '{}'", key, MountTypeName(mount_.type)),
                  key == "size" ? "size is for type=tmpfs, which has to come before it"
                                : "required is for type=secret and type=ssh, which have to come before it");
  }
  bool CanBeRequired() const { return mount_.type == MountType::kSecret || mount_.type == MountType::kSsh; }
  void SetReadOnly(bool value) {
    mount_.read_only = value;
    read_only_given_ = true;
  }

  Status Bare(const Option& option) {
    const std::string& key = option.key;
    if (key == "readonly" || key == "ro") {
      SetReadOnly(true);
    } else if (key == "readwrite" || key == "rw") {
      SetReadOnly(false);
    } else if (key == "required") {
      if (!CanBeRequired()) return Unexpected(key);
      mount_.required = true;
    } else {
      return NeedsValue(option);
    }
    return Ok();
  }

  Status Set(const Option& option, std::string value) {
    const std::string& key = option.key;
    if (key == "type") return SetType(value);
    if (key == "from") {
      mount_.from = std::move(value);
    } else if (key == "source" || key == "src") {
      mount_.source = std::move(value);
    } else if (key == "target" || key == "dst" || key == "destination") {
      mount_.target = std::move(value);
    } else if (key == "id") {
      mount_.id = std::move(value);
    } else if (key == "env") {
      mount_.env = std::move(value);
    } else if (key == "sharing") {
      return SetSharing(value);
    } else if (key == "readonly" || key == "ro" || key == "readwrite" || key == "rw") {
      TRY_ASSIGN(bool flag, Bool(key, value));
      SetReadOnly(key.starts_with("ro") || key == "readonly" ? flag : !flag);
    } else if (key == "required") {
      if (!CanBeRequired()) return Unexpected(key);
      TRY_ASSIGN(mount_.required, Bool(key, value));
    } else if (key == "size") {
      if (mount_.type != MountType::kTmpfs) return Unexpected(key);
      auto size = ParseRamBytes(value);
      if (!size) {
        return Hinted(Invalid("invalid value for {}: {}", key, value), "write a number and b, k, m or g");
      }
      mount_.size = *size;
    } else if (key == "mode") {
      return SetNumber(mount_.mode, key, value, 8);
    } else if (key == "uid") {
      return SetNumber(mount_.uid, key, value, 10);
    } else if (key == "gid") {
      return SetNumber(mount_.gid, key, value, 10);
    } else {
      return Hinted(Invalid("unexpected key '{}' in '{}'{}", key, option.field, DidYouMean(key, kKeys, true)),
                    "an option is one of " + OneOf(kKeys));
    }
    return Ok();
  }

  Status SetType(const std::string& value) {
    std::string lower = ToLower(value);
    for (size_t i = 0; i < kTypes.size(); ++i) {
      if (lower != kTypes[i]) continue;
      mount_.type = static_cast<MountType>(i);
      return Ok();
    }
    return Hinted(Invalid("unsupported mount type {}{}", Quote(value), DidYouMean(value, kTypes, true)),
                  "use " + OneOf(kTypes));
  }

  Status SetSharing(const std::string& value) {
    std::string lower = ToLower(value);
    for (size_t i = 0; i < kSharing.size(); ++i) {
      if (lower != kSharing[i]) continue;
      mount_.sharing = static_cast<MountSharing>(i);
      return Ok();
    }
    return Hinted(Invalid("unsupported sharing value {}{}", Quote(value), DidYouMean(value, kSharing, true)),
                  "use " + OneOf(kSharing));
  }

  static Result<bool> Bool(std::string_view key, std::string_view value) {
    if (auto flag = ParseBool(value)) return *flag;
    return Hinted(Invalid("invalid value for {}: {}", key, value), "use true or false");
  }

  // Digits only: no sign, no prefix.
  static Status SetNumber(std::optional<uint32_t>& field, std::string_view key, std::string_view value, int base) {
    uint32_t number = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number, base);
    if (error != std::errc() || end != value.data() + value.size()) {
      return Hinted(Invalid("invalid value {} for {}", value, key),
                    base == 8 ? "write it in octal: 0400" : "write a number, not a name");
    }
    field = number;
    return Ok();
  }

  Status Check() const {
    if (!IsFileType(mount_.type)) {
      std::string_view key = mount_.mode ? "mode" : mount_.uid ? "uid" : mount_.gid ? "gid" : "";
      if (!key.empty()) {
        return Hinted(Invalid("{} not allowed for {} type mounts", key, Quote(MountTypeName(mount_.type))),
                      "mode, uid and gid are for cache, secret and ssh mounts");
      }
    }
    if (mount_.type == MountType::kSecret) {
      constexpr const char* kHint = "write --mount=type=secret,id=NAME[,target=PATH][,env=VARIABLE]";
      if (!mount_.from.empty()) {
        return Hinted(Invalid("secret mount should not have a from"), kHint);
      }
      if (mount_.sharing) return Hinted(Invalid("secret mount should not define sharing"), kHint);
      if (mount_.source.empty() && mount_.target.empty() && mount_.id.empty()) {
        return Hinted(Invalid("invalid secret mount. one of source, target required"), kHint);
      }
      if (!mount_.source.empty() && !mount_.id.empty()) {
        return Hinted(Invalid("both source and id can't be set"), kHint);
      }
    }
    if (mount_.sharing && mount_.type != MountType::kCache) {
      return Hinted(Invalid("invalid cache sharing set for {} mount", MountTypeName(mount_.type)),
                    "sharing is for type=cache");
    }
    return Ok();
  }

  Mount mount_;
  bool read_only_given_ = false;
};

}  // namespace

std::string_view MountTypeName(MountType type) { return kTypes[static_cast<size_t>(type)]; }

Result<Mount> ParseMount(std::string_view value, const Expander& expand) { return MountParser().Parse(value, expand); }

Status CheckMount(std::string_view value) {
  TRY_ASSIGN(std::vector<Option> options, SplitOptions(value, "mounts"));
  for (const Option& option : options) {
    if (option.key != "from" || !option.value) continue;
    // A dollar at the very end is no variable.
    size_t dollar = option.value->find('$');
    if (dollar != std::string::npos && dollar + 1 != option.value->size()) {
      return Hinted(Invalid("'from' doesn't support variable expansion, define alias stage instead"),
                    "write FROM IMAGE:$VARIABLE AS NAME above, and from=NAME here");
    }
  }
  return Ok();
}

Result<Device> ParseDevice(std::string_view value) {
  static constexpr std::array<std::string_view, 2> kDeviceKeys = {"name", "required"};
  TRY_ASSIGN(std::vector<Option> options, SplitOptions(value, "devices"));
  Device device;
  for (Option& option : options) {
    if (option.key == "required") {
      auto required = option.value ? ParseBool(*option.value) : std::optional(true);
      if (!required) {
        return Hinted(Invalid("invalid value for {}: {}", option.key, *option.value), "use true or false");
      }
      device.required = *required;
    } else if (option.key == "name" && option.value) {
      if (!device.name.empty()) return Invalid("device name already set to {}", device.name);
      device.name = std::move(*option.value);
    } else if (device.name.empty()) {
      device.name = std::move(option.field);
    } else if (!option.value) {
      return NeedsValue(option);
    } else {
      return Hinted(
          Invalid("unexpected key '{}' in '{}'{}", option.key, option.field, DidYouMean(option.key, kDeviceKeys, true)),
          "write --device=NAME[,required]");
    }
  }
  return device;
}

}  // namespace varve::dockerfile
