// The engine's interfaces made real: sources, steps and locks of one build on one state root.
//
// One Runner serves one build. Safe from the engine's pool threads.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/guarded.h"
#include "cache/cache_mounts.h"
#include "cache/lease.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "engine/interfaces.h"
#include "exec/job.h"
#include "exec/layer_writer.h"
#include "exec/obtain.h"
#include "exec/step_slots.h"
#include "net/http_client.h"
#include "source/build_answers.h"
#include "source/context.h"
#include "source/image.h"
#include "tree/layer_index.h"

namespace varve::exec {

// Where the files of a local source are, for sources that have no directory in RunnerOptions: a daemon asks
// its client for them now. `reach` as of graph::Reach: empty for all. The directory stays as it is for as long
// as the runner lives.
using LocalDirectory =
    std::function<Result<std::string>(const graph::LocalSource& source, const std::vector<tree::Selector>& reach,
                                      engine::StepSink& sink, std::stop_token stop)>;

// An OCI layout that is no directory of this machine.
using LayoutImage = std::function<Result<source::ResolvedImage>(const graph::OciLayoutSource& layout,
                                                                const oci::Platform& platform, std::stop_token stop)>;

using ContentStore = source::ImageStore::ContentStores;

// Writes what the build's client has piped in under a URL that it made up.
using UploadedBody = std::function<Status(const std::string& url, Writer& out, std::stop_token stop)>;
inline constexpr std::string_view kUploadHost = "http://buildkit-session/";

struct RunnerOptions {
  std::string root;                                // state root
  std::map<std::string, std::string> directories;  // local source name → directory
  LocalDirectory other_directories = nullptr;
  LayoutImage layouts = nullptr;   // null: they are directories
  ContentStore stores = nullptr;   // null: there are none
  UploadedBody uploads = nullptr;  // of URLs http://buildkit-session/…; none: there is no such host
  source::ContextMode context_mode = source::ContextMode::kAuto;
  std::map<std::string, SecretSource> secrets;
  SecretLookup secrets_elsewhere = nullptr;
  std::vector<SshAgent> ssh;
  std::string mount_namespace;                                  // BUILDKIT_CACHE_MOUNT_NS
  std::function<void(const std::string& text)> warn = nullptr;  // the user, of what is no step's alone
  std::function<Status()> prepare = nullptr;                    // engine::StepRunner::Prepare
  StepSettings steps = {};
  KeepFailed keep_failed = nullptr;  // from the engine's threads
};

struct RunnerStores {
  snapshot::LayerStore& layers;
  cache::LocalStore& local;
  source::ImageStore& images;
  cas::BlobStore& blobs;
  net::HttpClient& http;
  cache::JobLease& lease;
  Clock& clock;
  FetchLayer fetch_layer = nullptr;  // where layers can be had that are not here; none: nowhere
  RestoreMount restore_mount = nullptr;
  source::BuildAnswers* answers = nullptr;  // of servers, to whoever of the build asked first
};

class Runner final : public engine::SourceResolver,
                     public engine::StepRunner,
                     public engine::StepLocks,
                     public SourceDirectories {
 public:
  static Result<std::unique_ptr<Runner>> Create(RunnerOptions options, RunnerStores stores);
  ~Runner() override;

  Result<engine::Pin> Resolve(const graph::Graph& graph, graph::StepIndex step, engine::StepSink& sink,
                              std::stop_token stop) override;
  Status Prepare() override { return options_.prepare ? options_.prepare() : Ok(); }
  Result<engine::RunResult> Run(const engine::RunRequest& request, engine::StepSink& sink,
                                std::stop_token stop) override;
  Result<std::vector<cache::Rootfs>> Obtain(const graph::Graph& graph, graph::StepIndex step,
                                            const std::vector<cache::Rootfs>& outputs, engine::StepSink& sink,
                                            std::stop_token stop) override;
  Result<engine::LayerContent> ContentOf(const DiffId& layer, bool as_tree) override;
  Result<Timestamp> TimeOf(const DiffId& layer, const RelPath& path) override;
  Result<engine::PackageLayer> PackagesOf(const DiffId& layer, const std::string& manager) override;
  Result<bool> Touches(const DiffId& layer, const std::vector<std::string>& paths) override;
  Result<cache::Rootfs> Stack(const graph::Graph& graph, graph::StepIndex step, const cache::Rootfs& base,
                              const DiffId& layer, engine::StepSink& sink, std::stop_token stop) override;
  Result<std::optional<engine::ForeseenLayer>> Foresee(const graph::Graph& graph, graph::StepIndex step,
                                                       const std::vector<cache::Rootfs>& inputs) override;
  Result<Digest> TreeOn(const Digest& tree_root, const DiffId& layer) override;
  bool HasLocally(const std::vector<cache::Rootfs>& outputs) override;
  bool RestoreTrees(const std::vector<cache::Rootfs>& outputs) override;
  Result<std::unique_ptr<Lock>> Acquire(const StepKey& key, std::stop_token stop) override;
  std::string DirectoryOf(graph::StepIndex step) const override;

  // What a step is given, for what is run beside them. Lives as long as the runner.
  const Job& job() const { return *job_; }

  const source::ContextTree& context_totals() const { return context_totals_; }
  // Makes the trees of outputs whose layers are here and whose tree is not known: of records that came
  // from an image. False: one could not be made.
  bool FillTrees(std::vector<cache::Rootfs>& outputs);
  // What git and http sources turned out to be: "sha1:COMMIT", "sha256:…" of a body.
  std::map<graph::StepIndex, std::string> SourcePins() { return *pins_.Lock(); }
  // The base images that were resolved.
  std::vector<source::ResolvedImage> Images();

 private:
  Runner(RunnerOptions options, RunnerStores stores);
  void WarnOnce(const std::string& text);
  Result<engine::RunResult> RunOnce(const engine::RunRequest& request, engine::StepSink& sink, std::stop_token stop);
  Result<engine::Pin> ResolveLocal(const graph::Graph& graph, graph::StepIndex step, const graph::LocalSource& op,
                                   engine::StepSink& sink, std::stop_token stop);
  Result<engine::Pin> ResolveGit(const graph::Graph& graph, graph::StepIndex step, const graph::GitSource& op,
                                 engine::StepSink& sink, std::stop_token stop);
  Result<source::HttpFile> Download(const graph::HttpSource& op, std::stop_token stop);
  Result<engine::Pin> ResolveHttp(graph::StepIndex step, const graph::HttpSource& op, engine::StepSink& sink,
                                  std::stop_token stop);
  Result<engine::Pin> ResolveBlob(graph::StepIndex step, const graph::BlobSource& op, engine::StepSink& sink,
                                  std::stop_token stop);
  // What a source downloads: a blob of the blob store, shown as one file.
  struct SingleFile {
    Digest digest;
    uint64_t size = 0;
    std::string name;
    Attributes attributes;
  };
  Result<engine::Pin> PinFile(graph::StepIndex step, const SingleFile& file, engine::StepSink& sink);
  Result<source::ResolvedImage> ResolveImage(const graph::Step& step, const graph::ImageSource& op,
                                             std::stop_token stop);
  Result<engine::Pin> PinImage(graph::StepIndex step, source::ResolvedImage image, std::optional<uint32_t> layer_limit);

  RunnerOptions options_;
  RunnerStores stores_;
  sys::LazyTempDir scratch_;
  Secrets secrets_;
  cache::CacheMounts cache_mounts_;
  LayerObtainer obtainer_;
  std::unique_ptr<StepState> step_state_;  // in scratch_
  std::unique_ptr<Job> job_;
  mutable Guarded<std::map<graph::StepIndex, std::string>> source_directories_;
  Guarded<std::map<graph::StepIndex, source::ResolvedImage>> images_;
  Guarded<std::map<graph::StepIndex, std::string>> pins_;
  Guarded<std::unordered_set<DiffId>> here_;                  // found under the lease, so they stay
  Guarded<std::map<DiffId, engine::LayerContent>> contents_;  // asked for again by each step above
  // With the files that would be copied, by their paths in it.
  Guarded<std::map<DiffId, std::pair<tree::LayerIndex, std::map<std::string, std::string>>>> foreseen_;
  Guarded<std::set<std::string>> warned_;
  source::ContextTree context_totals_;
};

}  // namespace varve::exec
