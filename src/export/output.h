// Where the result of a build goes, as `--output` says it (reference cli.md §2.1, exporters.md §2-3).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace varve::exporter {

enum class OutputType {
  kImage,      // varve's own image store, and a registry with push=true
  kOci,        // OCI layout: tar, or a directory with tar=false
  kDocker,     // `docker load` archive: tar, or a directory with tar=false; without dest: --load
  kLocal,      // the files, in a directory
  kTar,        // the files, as a tar
  kCacheOnly,  // nothing leaves the cache
};

enum class LayerCompression { kNone, kGzip, kZstd };

// Modification times of the files in layers that this build added, where there is an epoch.
enum class Timestamps {
  kKeep,
  kClamp,  // none later than the epoch: rewrite-timestamp
  kSet,    // all are the epoch: --reproducible. Keys do not cover times, so that an image that is to be
           // the same wherever its keys are the same cannot carry any
};

struct Output {
  OutputType type = OutputType::kCacheOnly;
  std::string dest;                // "-": stdout
  std::vector<std::string> names;  // image names; empty: those of -t
  bool push = false;
  bool push_by_digest = false;
  bool insecure_registry = false;  // registry.insecure
  bool store = true;
  bool tar = true;  // oci, docker
  bool oci_media_types = true;
  bool name_canonical = false;
  std::string dangling_name_prefix;
  LayerCompression compression = LayerCompression::kGzip;
  std::optional<int> compression_level;
  bool force_compression = false;
  std::optional<int64_t> source_date_epoch;  // seconds
  bool no_epoch = false;                     // "source-date-epoch=": files keep their times, whatever the build says
  Timestamps timestamps = Timestamps::kKeep;
  bool delete_extra = false;               // local: mode=delete
  std::optional<bool> platform_split;      // local, tar
  bool load = false;                       // docker without dest: into docker or podman
  std::optional<bool> oci_artifact;        // form of attestations; nothing: with OCI's media types
  std::optional<bool> attestation_inline;  // keeps inline-only ones; nothing: in an image
  std::string attestation_prefix;          // local, tar: of their files' names
  // annotation[-TYPE][[PLATFORM]].KEY=value, TYPE as written ("manifest" when left out).
  struct Annotation {
    std::string type, platform, key, value;
  };
  std::vector<Annotation> annotations;
};

// One value of -o. `stdout_is_console` refuses to write a tar to a terminal. kInvalid names the key
// and what would be accepted.
Result<Output> ParseOutput(std::string_view value, bool stdout_is_console);

// One value of --annotation: "[TYPE[PLATFORM][,TYPE…]:]key=value".
Result<std::vector<Output::Annotation>> ParseAnnotation(std::string_view value);

// "annotation[-TYPE][[PLATFORM]].KEY", as an attribute of an output and in what a front end says of its result; nothing
// for other keys. kInvalid: it begins so and is none.
Result<std::optional<Output::Annotation>> ParseAnnotationKey(const std::string& key, const std::string& value);

std::string_view OutputTypeName(OutputType type);

}  // namespace varve::exporter
