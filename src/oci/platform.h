// Platforms of images: "linux/arm64/v8" (image-spec image-index.md, "platform").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace varve::oci {

struct Platform {
  std::string os = "linux";
  std::string architecture = "amd64";
  std::string variant = {};
  std::string os_version = {};
  std::vector<std::string> os_features = {};

  std::string ToString() const;  // "linux/arm/v7", "windows(10.0.17763)/amd64"
  bool operator==(const Platform&) const = default;
};

// "linux/arm64/v8", "arm64", "linux", "local": normalised as containerd does (x86_64 is amd64, arm is
// v7 by default, arm64's v8 is left out).
Result<Platform> ParsePlatform(std::string_view text);
Platform Normalise(Platform platform);

// Of this machine.
const Platform& HostPlatform();

// True when an image for `image` runs where `wanted` is asked for: os and architecture equal, and
// the variant equal or lower (arm's v7 runs v6, amd64's v3 runs v2). As in containerd, an amd64
// machine also takes 386 and an arm64 machine 32-bit arm.
bool Matches(const Platform& wanted, const Platform& image);
// Of two that match, whether `a` fits `wanted` better.
bool FitsBetter(const Platform& wanted, const Platform& a, const Platform& b);

Json ToJson(const Platform& platform);  // Go's struct order
Platform PlatformFromJson(const Json& json);

}  // namespace varve::oci
