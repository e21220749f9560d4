// --cache-from and --cache-to as text: Buildx's grammar and option names (reference cache.md §1, §3, §5).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "archive/codec.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"

namespace varve::tier {

enum class Kind { kLocal, kRegistry, kS3, kHttp, kGha, kInline };
enum class Mode { kMin, kMax, kAuto };
// What an image that was built earlier is believed: the content of its layers, or its history too.
enum class ImageTrust { kContent, kHistory };

// Which contents of RUN --mount=type=cache travel: mounts=true, or mounts=ID;ID…
struct MountChoice {
  bool all = false;
  std::vector<std::string> ids;
  bool Takes(const std::string& id) const;
  bool operator==(const MountChoice&) const = default;
};

inline constexpr uint64_t kDefaultMountsMaxSize = uint64_t{1} << 30;

struct Spec {
  Kind kind = Kind::kRegistry;
  std::string place;                  // directory, image reference, "bucket/prefix", URL without secrets, scope
  std::string tag = "latest";         // local: which of the caches in the directory
  std::optional<Digest> digest = {};  // local, at a daemon's client: what the tag leads to
  bool insecure = false;              // registry: plain http, unchecked certificates
  // s3 and http: what objects::TakeS3Options and TakeHttpOptions take, as given; gha: of what
  // gha::FindService takes. Holds secrets: for no message and no log.
  std::map<std::string, std::string> store = {};
  std::vector<std::string> names;                             // s3: several caches in one bucket
  std::optional<std::string> manifests_prefix, blobs_prefix;  // s3
  std::optional<Nanos> touch_refresh;                         // s3
  // registry: an image of that name on this machine does as well, where the registry has nothing.
  bool local_images = false;
  Nanos timeout{20'000'000'000};        // for a look-up
  Nanos retry_budget{600'000'000'000};  // gha: of one request; `timeout`, if it is given

  bool trusted = true;                    // reading: trust=none asks nothing of the tier
  std::optional<ImageTrust> image_trust;  // trust=content, trust=history; none: --cache-from-trust
  MountChoice mounts;                     // reading: restored where they are missing; writing: sent
  std::string verify_key = {};            // reading: what this key has not signed is not used (trust=own);
                                          // a file, or env:NAME

  // Writing.
  Mode mode = Mode::kMin;
  archive::Compression compression = archive::Compression::kZstd;
  std::optional<int> compression_level;
  bool force_compression = false;
  bool ignore_error = true;  // BuildKit's default is false: its export fails the build
  bool reset = false;        // local: blobs that nothing names go at once
  std::optional<uint64_t> max_size;
  bool chunked = false;                              // format=chunked
  uint64_t mounts_max_size = kDefaultMountsMaxSize;  // bytes of files that one export sends
  std::optional<uint64_t> max_export;                // bytes of layers that one export sends
  std::optional<Nanos> max_time;                     // for sending layers
  std::string sign_key = {};                         // a file, or env:NAME

  // "local:DIR", "registry:REF", "s3:BUCKET/PREFIX", "gha:SCOPE", "inline"; for people
  std::string Name() const;
  bool operator==(const Spec&) const = default;
};

// One value of --cache-from; a value without '=' is one or more image references, of caches or of images. kInvalid says
// what is accepted.
Result<std::vector<Spec>> ParseCacheFrom(std::string_view value);
// One value of --cache-to. (A value without '=' is a reference here too.)
Result<std::vector<Spec>> ParseCacheTo(std::string_view value);
// A value of --cache-from-trust.
Result<ImageTrust> ParseImageTrust(std::string_view value);
// One value of --tier: a place to look into, with the options of either, "src" or "dest" for a directory.
Result<Spec> ParseTier(std::string_view value);
// Two exports to one place are an error, as in BuildKit; a second `inline` is none.
Status CheckExports(const std::vector<Spec>& exports);

}  // namespace varve::tier
