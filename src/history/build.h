// One build as history keeps it: what was asked for, what became of each step and why, and when.
//
// Text form: one JSON object, versioned (doc/formats.md, "History"). Members that this version does
// not know are dropped: history is for people, nothing is computed from it but expected times.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace varve::history {

// Of a build. kKilled: its process ended without saying how, by SIGKILL, a crash or a power failure.
enum class BuildStatus { kRunning, kCompleted, kFailed, kCancelled, kKilled };
std::string_view StatusName(BuildStatus status);  // "running", "completed", "error", "canceled", "killed"

enum class Fate {
  kSkipped,  // nothing wanted its result
  kCached,
  kRan,
  kFailed,
  kCancelled,
  kRunning,  // of a build that runs; of a killed one: what it was at
};
std::string_view FateName(Fate fate);  // "skipped", "cached", …

// A part of a step's work with a time of its own, such as one layer's download.
struct Part {
  std::string name;
  Timestamp started;
  Nanos wall{0};
  uint64_t bytes = 0;
};

struct Step {
  uint32_t index = 0;            // in the graph; names its lines in the log
  std::vector<uint32_t> inputs;  // indexes of the steps that it builds on or reads from
  std::string name;              // "[build 2/5] RUN make"
  std::string stage;             // empty: internal
  bool source = false;           // an image, a context, a git repository: counts in no ratio
  bool internal = false;         // no step of the graph: loading metadata, exporting
  Fate fate = Fate::kSkipped;
  std::string key;         // "sha256:…"; empty: none
  std::string slot;        // the same step in other builds
  Timestamp started;       // 0: never
  Nanos wall{0};           // of this build
  Nanos saved{0};          // kCached: what its record cost to make
  uint64_t new_bytes = 0;  // of the layers that it added
  std::string tier;        // kCached: where the record came from; empty: here
  std::string why;         // kRan, kFailed: one line
  std::string shadow;      // with `replayed`: what a run that checked it gave; empty: there was none
  std::string replayed;    // kCached: that an earlier run stands for it, one line; empty: its own record
  Json reasons;            // the same as engine::ToJson gives it: an array, or null
  std::string error;
  bool has_log = false;  // lines of it are in the build's log
  std::vector<Part> parts;
};

// An image that a build made, of one platform.
struct Image {
  std::string name;         // its names, "a:1,b:2"; of several outputs, each has its own images
  std::string platform;     // "linux/amd64"
  std::string digest;       // of the manifest
  std::string compression;  // of the layers: "none", "gzip", "zstd", "mixed". Sizes of one kind compare
  uint64_t size = 0;        // config and layers, as the manifest counts them
  uint32_t layers = 0;
};

// What a cache besides the local one was asked, and did.
struct TierUse {
  std::string name;                    // "registry:example.com/app:cache"
  bool read = false, written = false;  // it was asked for steps; it was to be written
  uint64_t hits = 0;
  uint64_t layers = 0;  // fetched
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t requests = 0;
  Nanos time{0};                        // look-ups, downloads and the export, each counted
  Nanos saved{0};                       // what the steps that it answered had cost
  std::string read_error, write_error;  // why it was not used, or not written
};

// What the build complained about.
struct Warning {
  std::string text;
  std::string remedy;  // may be empty, as all below
  std::string url;
  std::string file;   // the Dockerfile's name
  uint32_t line = 0;  // 1-based; 0: of the whole build
  bool hint = false;  // of varve's own caching rules: advice, nothing is wrong
};

struct Build {
  static constexpr int kVersion = 1;

  std::string id;
  std::string command;                 // "build", "bake", …
  std::vector<std::string> arguments;  // of the command line; values that look secret are masked
  std::string project;                 // what tells this project's builds from others (engine::Request)
  std::string name;                    // for people: the context's folder or repository
  std::string context;
  std::string dockerfile;
  std::string target;
  std::vector<std::string> platforms;
  std::vector<std::string> tags;
  std::vector<std::pair<std::string, std::string>> build_args;  // masked as `arguments`
  std::string varve_version;
  std::string job;  // its lease (cache/lease.h): a running build whose job is dead was killed
  Timestamp started;
  Timestamp ended;  // 0: it runs
  BuildStatus status = BuildStatus::kRunning;
  std::string error;  // what ended it
  int exit_code = 0;
  std::string image;  // digest of what it made; empty: nothing that has one
  std::vector<Image> images;
  std::vector<TierUse> tiers;
  std::vector<Warning> warnings;
  std::vector<Step> steps;

  Nanos Duration() const { return Nanos(ended.nanos == 0 ? 0 : ended.nanos - started.nanos); }
};

// Of steps that are no sources and were not skipped.
struct Ratios {
  int steps = 0;
  int cached = 0;
  int ran = 0;     // failed ones as well
  Nanos saved{0};  // what the cached ones cost when they were made
  Nanos spent{0};  // by those that ran
  uint64_t new_bytes = 0;

  double BySteps() const;  // 0 … 1; 0 when there is nothing
  double ByTime() const;
};
Ratios RatiosOf(const Build& build);

Json ToJson(const Step& step);
Json ToJson(const Build& build);
// kCorrupt for another version, or what is no build.
Result<Step> StepFromJson(const Json& json);
Result<Build> BuildFromJson(const Json& json);

}  // namespace varve::history
