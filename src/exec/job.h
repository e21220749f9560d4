// What the steps of one build have at hand.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "base/clock.h"
#include "base/fd.h"
#include "engine/interfaces.h"
#include "exec/secrets.h"
#include "exec/step_state.h"
#include "exec/tree_copy.h"
#include "snapshot/layer_store.h"
#include "snapshot/rootfs_mount.h"
#include "sys/tempdir.h"
#include "tree/tree.h"

namespace varve::cache {
class CacheMounts;
class JobLease;
}  // namespace varve::cache

namespace varve::exec {

// Where a source that is a directory on this machine (context, git checkout, http body) has its files.
// Asked by step index; empty: the step is no such source.
class SourceDirectories {
 public:
  virtual ~SourceDirectories() = default;
  virtual std::string DirectoryOf(graph::StepIndex step) const = 0;
};

struct SshAgent {
  std::string id;
  std::string socket;        // of a running agent; empty: there is none
  std::string missing = {};  // why there is none, in the words of whoever was asked; may be empty
};

// Fills the directory of a new cache mount with what it held elsewhere; false: nobody knows it. An error
// ends the step: what cannot be had is not one.
using RestoreMount =
    std::function<Result<bool>(const std::string& key, const std::string& id, const std::string& directory,
                               const OnProgress& on_progress, std::stop_token stop)>;

// Brings a layer of a stack to this machine, leased, whatever is below it. kNotFound: it cannot be had, or not
// without those below.
using BringLayer =
    std::function<Status(const cache::Rootfs& stack, size_t layer, engine::StepSink& sink, std::stop_token stop)>;

// A RUN whose process failed, for those who look into what it has left. All layers are here and leased.
struct FailedExec {
  graph::StepIndex step = 0;
  // By Mount::target: what was mounted there, and what it is now, of mounts that the process could write to.
  std::map<std::string, cache::Rootfs> mounted, written;
};
using KeepFailed = std::function<void(FailedExec)>;

struct Job {
  snapshot::LayerStore& layers;
  tree::TreeStore& trees;
  cache::CacheMounts& cache_mounts;
  const SourceDirectories& directories;
  const Secrets& secrets;
  std::vector<SshAgent> ssh;
  const sys::LazyTempDir& scratch;  // private directory on the file system of the layers
  StepState& step_state;
  std::string mount_namespace;  // BUILDKIT_CACHE_MOUNT_NS
  Clock& clock;
  cache::JobLease& lease;
  std::string root;              // the state directory
  std::string resolv_conf = {};  // StepSettings'
  RestoreMount restore_mount = nullptr;
  std::function<void(const std::string& text)> warn = [](const std::string&) {};  // the user, once of each text
  BringLayer bring_layer = nullptr;  // null: what is not here cannot be had
  KeepFailed keep_failed = nullptr;  // null: what a failed RUN has written goes
};

// An input as files that can be read: a directory source as it lies there, a stack of layers mounted
// read-only.
struct InputFiles {
  sys::TempDir mount_point;
  std::unique_ptr<snapshot::RootfsMount> mount;
  Fd root;
  std::string path;
  CopySource AsCopySource(const cache::Rootfs& rootfs) const {
    return {.root = root.get(), .tree_root = rootfs.tree_root, .immutable = mount != nullptr};
  }
};
Result<InputFiles> OpenInput(const Job& job, const engine::RunInput& input);
// The same of some layers of a stack: what they hold is read, and nothing else.
Result<InputFiles> OpenLayers(const Job& job, const std::vector<DiffId>& layers);

// Makes the draft a layer that is leased before anybody can see it or find it there (invariant I5).
Result<snapshot::Layer> CommitLeased(const Job& job, std::unique_ptr<snapshot::LayerDraft> draft,
                                     const snapshot::LayerStore::KnownDigests& known, std::stop_token stop);
Result<snapshot::Layer> CommitLeased(const Job& job, std::unique_ptr<snapshot::LayerDraft> draft,
                                     snapshot::WrittenLayer written);

// Applies `index` of a new layer on `base`: the result of a step that added one layer.
Result<cache::Rootfs> WithLayer(const Job& job, const cache::Rootfs& base, const DiffId& layer,
                                const tree::LayerIndex& index);
// The same with the index that the store keeps.
Result<cache::Rootfs> WithLayer(const Job& job, const cache::Rootfs& base, const DiffId& layer);

}  // namespace varve::exec
