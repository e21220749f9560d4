// Lowering: a parsed Dockerfile and the options of a build become a graph of steps.
//
//   LowerOptions options{.target_platform = platform, .build_platform = oci::HostPlatform()};
//   options.context.source = graph::LocalSource{"context", patterns, {}, ".dockerignore"};
//   auto lowered = Lower(file, options, resolver);
//   if (!lowered) return Show(lowered.error().error, lowered.error().span);
//   Build(lowered->graph, lowered->root, lowered->config);
//
// One call lowers for one target platform. Only the stages that the target needs are lowered. The
// result is a pure function of the file, the options and what the resolver says: names, locations
// and the order of unrelated stages never enter an operation (graph::CanonicalOp), so they never
// cost a cache hit. Reads no file and opens no connection: what is outside comes through the
// callbacks.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "dockerfile/ast.h"
#include "dockerfile/lint.h"
#include "dockerfile/outline.h"
#include "graph/graph.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace varve::dockerfile {

struct ResolvedImage {
  oci::ImageConfig config;
  Digest manifest_digest;
  oci::Platform platform;        // of the config; may differ from what was asked for
  std::string pinned_reference;  // "docker.io/library/node:20@sha256:…"
  // A directory that stands in place of the image (a source policy); nothing else counts then.
  std::optional<graph::Op> instead = {};
};

// Finds the configs of base images. Called from several threads at once; each reference and
// platform is asked for once.
class ImageResolver {
 public:
  virtual ~ImageResolver() = default;
  // `reference` is normalised and has a tag or a digest. kNotFound for what no registry has.
  virtual Result<ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform,
                                        graph::ResolveMode mode) = 0;
  // An image in an OCI layout directory of the client (named contexts oci-layout://…).
  virtual Result<ResolvedImage> ResolveLayout(const graph::OciLayoutSource& layout, const oci::Platform& platform) = 0;
};

// Where COPY and ADD without --from, and bind mounts, take their files.
struct MainContext {
  // LocalSource, GitSource or HttpSource. A local one brings its ignore patterns.
  graph::Op source = graph::LocalSource{.name = "context", .exclude = {}, .include = {}, .ignore_file = {}};
  bool unpack = false;  // HttpSource: the file is an archive, and its content counts
  std::string subdir;   // only this directory of it (git and http)
};

// One entry of a result's history.
struct HistoryEntry {
  oci::History history;                  // `created` unset: the exporter fills it
  std::optional<graph::StepIndex> step;  // whose layer it describes; unset: empty, or the base image's
};

// What a named context `target:NAME` or `input:NAME` stands for: the result of another lowering.
struct LoweredInput {
  const graph::Graph* graph = nullptr;  // must outlive the call of Lower
  std::optional<graph::Ref> root;
  std::optional<oci::ImageConfig> config;
  std::vector<HistoryEntry> history;  // of config; may be empty when nothing is known of its steps
};

struct NamedContext {
  std::string name;  // "base", or "base::linux/arm64", which beats "base"
  // As in --build-context: docker-image://REF, oci-layout://PATH[:TAG][@DIGEST], a git or http(s)
  // URL, local:NAME (the LocalSource's name), target:NAME, input:NAME. Anything else is a
  // directory, and the LocalSource has the context's own name: the caller knows which directory
  // that is.
  std::string value;
};

struct LowerOptions {
  std::string file_name = "Dockerfile";  // for locations
  std::string target;                    // stage name or number; empty: the last one
  oci::Platform target_platform;
  oci::Platform build_platform;
  // False: nobody asked for a platform, so that a base image of another one decides the result's.
  bool platform_given = true;
  bool multi_platform = false;                                  // step names say the platform
  std::vector<std::pair<std::string, std::string>> build_args;  // a later value wins
  std::vector<std::pair<std::string, std::string>> labels;
  bool no_cache = false;
  std::vector<std::string> no_cache_filter;  // stages
  bool semantic_manifests = false;           // as if each COPY had the comment `# varve:semantic`
  MainContext context;
  std::vector<NamedContext> named_contexts;
  std::map<std::string, LoweredInput> inputs;
  graph::ResolveMode resolve_mode = graph::ResolveMode::kDefault;
  // BuildKit's "all stages" of --check without a target: lower every stage, wanted or not.
  bool all_stages = false;

  graph::NetworkMode network = graph::NetworkMode::kDefault;
  std::vector<std::pair<std::string, std::string>> extra_hosts;
  std::string hostname;
  uint64_t shm_size = 0;
  std::vector<graph::Ulimit> ulimits;
  std::map<std::string, std::string> resources;
  std::string cgroup_parent;
  // network.host, security.insecure, device, device=NAME.
  std::set<std::string> entitlements;

  // Check directive to use instead of the file's; BUILDKIT_DOCKERFILE_CHECK, if given, beats both.
  std::optional<std::string> check;
  // SOURCE_DATE_EPOCH, where it is not a build argument.
  std::optional<int64_t> source_date_epoch;

  // Ignore patterns of a local named context, by LocalSource name: its .dockerignore, read with
  // tree::ReadIgnoreFile. Not set: none have any.
  std::function<Result<std::vector<std::string>>(const std::string& local_name)> ignore_patterns;
  // SOURCE_DATE_EPOCH=context and the like: when the git commit or http body of a source is from,
  // seconds; nothing for what has no such time. `name` is the work's name for people. Not set: a local
  // source has no time, and for any other such a value is an error.
  std::function<Result<std::optional<int64_t>>(const graph::Op& source, const std::string& name)> source_time;
};

// What an image of a stage would say of itself.
struct StageHistory {
  std::vector<HistoryEntry> history;  // the base image's first
  size_t base_history = 0;            // how many of them are the base image's
  std::optional<oci::ImageConfig> base_config;
};

struct UsedImage {
  std::string reference;  // normalised, as the file asks for it
  Digest manifest_digest;
  oci::Platform platform;
  bool operator==(const UsedImage&) const = default;
};

struct Lowered {
  graph::Graph graph;
  std::optional<graph::Ref> root;  // nothing: an empty file system
  // Complete but for rootfs.diff_ids, `created`, and `created` in history; rootfs and history are
  // still the ones of the base image plus the new history entries.
  oci::ImageConfig config;
  // All entries of config's history, the base image's first.
  std::vector<HistoryEntry> history;
  size_t base_history = 0;  // how many of them are the base image's
  std::optional<oci::ImageConfig> base_config;
  std::vector<StageHistory> other_stages;  // that the target needs and does not build on
  std::vector<UsedImage> images;           // base images and COPY --from=IMAGE, in order of the file
  std::vector<Warning> warnings;
  std::optional<int64_t> epoch;  // SOURCE_DATE_EPOCH
  bool no_cache = false;         // of the target stage: its records are not to be exported
  std::string stage;             // name of the target stage; empty: unnamed
  // The engine's runner wants the namespace of cache mounts apart (BUILDKIT_CACHE_MOUNT_NS).
  std::string cache_mount_namespace;
  std::string build_name;  // BUILDKIT_BUILD_NAME
  // What an SBOM scan is to look at besides the result.
  bool sbom_context = false;
  std::optional<graph::Ref> context;  // the build context, if a step uses it
  std::vector<std::pair<std::string, std::optional<graph::Ref>>> sbom_stages;
  Outline outline;
  size_t stages = 0;  // of the file
};

// Errors have the place of the instruction that caused them. The messages are BuildKit's where
// scripts are known to look for them. A check directive with error=true makes warnings an error.
//
// `warnings`, if given, gets what the checks found up to where lowering ended, also when it fails.
Parsed<Lowered> Lower(const Dockerfile& file, const LowerOptions& options, ImageResolver& resolver,
                      std::vector<Warning>* warnings = nullptr);

}  // namespace varve::dockerfile
