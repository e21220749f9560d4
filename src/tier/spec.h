// --cache-from and --cache-to as text: Buildx's grammar and option names (reference cache.md §1, §3).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/codec.h"
#include "base/clock.h"
#include "base/result.h"

namespace varve::tier {

enum class Kind { kLocal, kRegistry };
enum class Mode { kMin, kMax };

struct Spec {
  Kind kind = Kind::kRegistry;
  std::string place;              // directory, or image reference
  std::string tag = "latest";     // local: which of the caches in the directory
  bool insecure = false;          // registry: plain http, unchecked certificates
  Nanos timeout{20'000'000'000};  // for a look-up

  bool trusted = true;            // reading: trust=none asks nothing of the tier

  // Writing.
  Mode mode = Mode::kMin;
  archive::Compression compression = archive::Compression::kZstd;
  std::optional<int> compression_level;
  bool force_compression = false;
  bool ignore_error = true;       // BuildKit's default is false: its export fails the build
  bool reset = false;             // local: blobs that nothing names go at once
  std::optional<uint64_t> max_size;

  std::string Name() const;       // "local:DIR", "registry:REF"; for people
  bool operator==(const Spec&) const = default;
};

// One value of --cache-from; a value without '=' is one or more image references. kInvalid says what is
// accepted.
Result<std::vector<Spec>> ParseCacheFrom(std::string_view value);
// One value of --cache-to. (A value without '=' is a reference here too.)
Result<std::vector<Spec>> ParseCacheTo(std::string_view value);
// Two exports to one place are an error, as in BuildKit.
Status CheckExports(const std::vector<Spec>& exports);

}  // namespace varve::tier
