#include "oci/platform.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cctype>
#include <optional>

#include "base/strings.h"

namespace varve::oci {

namespace {

std::string NormaliseArchitecture(std::string arch, std::string* variant) {
  arch = ToLower(arch);
  if (arch == "x86_64" || arch == "x86-64" || arch == "amd64") {
    if (*variant == "v1") variant->clear();
    return "amd64";
  }
  if (arch == "i386" || arch == "i486" || arch == "i586" || arch == "i686") {
    variant->clear();
    return "386";
  }
  if (arch == "aarch64" || arch == "arm64") {
    if (*variant == "8" || *variant == "v8") variant->clear();
    return "arm64";
  }
  if (arch == "armhf" || arch == "armv7l" || arch == "armv7") {
    if (variant->empty()) *variant = "v7";
    return "arm";
  }
  if (arch == "armel" || arch == "armv6l") {
    *variant = "v6";
    return "arm";
  }
  if (arch == "arm") {
    if (variant->empty()) *variant = "v7";
    if (variant->size() == 1) *variant = "v" + *variant;
  }
  return arch;
}

bool IsKnownOs(const std::string& text) {
  static constexpr std::string_view kSystems[] = {"linux",   "windows", "darwin", "freebsd", "netbsd",
                                                  "openbsd", "solaris", "aix",    "android", "dragonfly",
                                                  "illumos", "js",      "plan9",  "wasip1"};
  return std::ranges::find(kSystems, text) != std::end(kSystems);
}

bool IsKnownArchitecture(const std::string& text) {
  static constexpr std::string_view kNames[] = {"386",    "amd64",    "arm",   "arm64",   "loong64", "mips",  "mipsle",
                                                "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm"};
  return std::ranges::find(kNames, text) != std::end(kNames);
}

// The level of a variant in its architecture's order; an absent one is the baseline. -1: not a
// level, fits only its equal.
int Level(const Platform& p) {
  if (p.variant.empty()) return p.architecture == "arm64" ? 8 : p.architecture == "arm" ? 7 : 1;
  if (p.variant.size() != 2 || p.variant[0] != 'v') return -1;
  return p.variant[1] >= '0' && p.variant[1] <= '9' ? p.variant[1] - '0' : -1;
}

// Windows runs images of its own build, 10.0.17763, whatever their revision.
std::string BuildOf(const Platform& platform) {
  std::vector<std::string> parts = Split(platform.os_version, '.');
  if (parts.size() > 3) parts.resize(3);
  return Join(parts, ".");
}

// How well an image fits: the greater, the better; nothing: not at all. Both are normalised.
std::optional<int> Fit(const Platform& wanted, const Platform& image) {
  if (wanted.os != image.os) return {};
  if (!wanted.os_version.empty() && !image.os_version.empty() && BuildOf(wanted) != BuildOf(image)) return {};
  int have = Level(wanted), need = Level(image);
  if (wanted.architecture == image.architecture) {
    if (wanted.variant == image.variant) return 1000;
    if (have < 0 || need < 0 || need > have) return {};
    return 500 + need;
  }
  // As containerd: a 64-bit machine takes the 32-bit image when there is nothing better.
  if (wanted.architecture == "amd64" && image.architecture == "386") return 1;
  if (wanted.architecture == "arm64" && image.architecture == "arm" && need >= 0 && need <= 8) {
    return 1 + need;
  }
  return {};
}

}  // namespace

std::string Platform::ToString() const {
  std::string version = os_version;
  for (const std::string& feature : os_features) version += "+" + feature;
  std::string out = (version.empty() ? os : os + "(" + version + ")") + "/" + architecture;
  return variant.empty() ? out : out + "/" + variant;
}

Platform Normalise(Platform platform) {
  platform.os = ToLower(platform.os);
  if (platform.os == "macos") platform.os = "darwin";
  platform.variant = ToLower(platform.variant);
  platform.architecture = NormaliseArchitecture(platform.architecture, &platform.variant);
  return platform;
}

Result<Platform> ParsePlatform(std::string_view text) {
  auto invalid = [](std::string message) {
    return Error{Code::kInvalid, message + ": invalid argument", "platforms look like linux/amd64 or linux/arm64/v8"};
  };
  auto bad = [&](std::string_view what = "cannot parse platform specifier") {
    return invalid(fmt::format("\"{}\": {}", text, what));
  };
  if (text == "local") return HostPlatform();
  std::vector<std::string> parts = Split(text, '/');
  for (const std::string& part : parts) {
    const bool in_words = std::ranges::all_of(
        part, [](char c) { return isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '-'; });
    if (&part != &parts.front() && (part.empty() || !in_words)) {
      // The words that clients look for.
      return invalid(
          fmt::format("\"{}\" is an invalid component of \"{}\": platform specifier component must match "
                      "\"^[A-Za-z0-9_.-]+$\"",
                      part, text));
    }
    if (part.empty() || part.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789_.()+-") != part.npos) {
      return bad();
    }
  }
  // Windows platforms may carry a version: "windows(10.0.17763)/amd64".
  std::string version;
  if (size_t open = parts[0].find('('); open != std::string::npos && parts[0].ends_with(')')) {
    version = parts[0].substr(open + 1, parts[0].size() - open - 2);
    parts[0].resize(open);
  }
  Platform platform;
  if (parts.size() == 1) {
    std::string variant, arch = NormaliseArchitecture(parts[0], &variant);
    std::string os = ToLower(parts[0]);
    if (IsKnownOs(os)) {
      platform = HostPlatform();
      platform.os = os;
    } else if (IsKnownArchitecture(arch)) {
      platform = {.os = HostPlatform().os, .architecture = arch, .variant = variant};
    } else {
      return bad("unknown operating system or architecture");
    }
  } else if (parts.size() <= 3) {
    platform = {.os = parts[0], .architecture = parts[1], .variant = parts.size() == 3 ? parts[2] : ""};
  } else {
    return bad();
  }
  const std::vector<std::string> words = Split(version, '+');
  platform.os_version = words.front();
  platform.os_features.assign(words.begin() + 1, words.end());
  return Normalise(std::move(platform));
}

const Platform& HostPlatform() {
  static const Platform host = [] {
    utsname name;
    uname(&name);
    return Normalise({.os = "linux", .architecture = name.machine});
  }();
  return host;
}

bool Matches(const Platform& wanted, const Platform& image) {
  return Fit(Normalise(wanted), Normalise(image)).has_value();
}

bool FitsBetter(const Platform& wanted, const Platform& a, const Platform& b) {
  Platform normal = Normalise(wanted);
  return Fit(normal, Normalise(a)).value_or(-1) > Fit(normal, Normalise(b)).value_or(-1);
}

Json ToJson(const Platform& platform) {
  Json json;
  json.Set("architecture", platform.architecture).Set("os", platform.os);
  json.SetIf(!platform.os_version.empty(), "os.version", platform.os_version);
  json.SetIf(!platform.os_features.empty(), "os.features", Json::Strings(platform.os_features));
  json.SetIf(!platform.variant.empty(), "variant", platform.variant);
  return json;
}

Platform PlatformFromJson(const Json& json) {
  return {.os = json.GetString("os"),
          .architecture = json.GetString("architecture"),
          .variant = json.GetString("variant"),
          .os_version = json.GetString("os.version"),
          .os_features = json.GetStrings("os.features")};
}

}  // namespace varve::oci
