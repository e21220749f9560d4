// Steps that need not run although their key is new: what they looked at has not changed.
//
// A step's exact key holds its parent's key, so whatever happens above it makes it another step. Its weak
// key holds, instead of the lineage, what the layers of its file system contain: digests for most of them,
// nothing for those that a COPY from the build context made. Of these a run notes what it asks (module
// trace), and a record with the same weak key stands for the step when its layers answer every question
// the same. Its layer is used as it is, on the new base.
//
// That also cuts off what comes from steps that ran again and gave the same files as before: layers are
// compared by content without modification times.
//
// With --semantic-manifests, package files (package.json, requirements.txt, …) that a COPY of them alone
// brought count by their canonical form (module packages) in the weak key of a step that does nothing but
// install what they list: an edit of a script in package.json replays `npm ci`. The COPY's own layer is
// exact, so that the image has the new file; every other step above it sees that file's content.
//
// Never for steps with powers that see more than their file system: devices, --security=insecure,
// --network=host. What no cache of Dockerfile steps sees (time, the network, /proc, cache mounts, the
// values of secrets) is not seen here either.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/interfaces.h"
#include "engine/keys.h"
#include "engine/plan.h"

namespace varve::engine {

// One layer below a step, lowest first.
struct LayerBelow {
  enum class Kind : uint8_t {
    kImage,    // of a base image: by its diff id
    kContent,  // made by a step: by its content
    kTraced,   // made by a COPY from a local context: by what is looked at
  };
  DiffId layer;
  Kind kind = Kind::kImage;
  bool packages = false;  // where it is one of package files alone: by what they install
  Digest below = {};      // of a traced one: tree of the file system that it was put on; empty: not known
};

// A bind mount of a context that is only read, and what it shows.
struct MountBelow {
  size_t mount = 0;    // in Exec::mounts
  int input = 0;       // of the step; of no other kind of mount
  Digest tree_root;    // of the context
  std::string source;  // path in it
  std::string target;
};

struct FilesBelow {
  std::vector<LayerBelow> layers;  // lowest first
  std::vector<MountBelow> mounts = {};
};

// What the file system is made of that `step` writes on, as far as results are known (above a merge, more
// of it counts by its content than has to); nothing where its runs may not stand for others.
// Without `trace`, only a step that some layer counts for by its packages has layers.
std::optional<FilesBelow> LayersBelow(const graph::Graph& graph, const Plan& plan, graph::StepIndex step, bool trace);
// The same of results that the plan does not have: those of a step, null where they are not known.
using OutputsOf = std::function<const std::vector<cache::Rootfs>*(graph::StepIndex)>;
std::optional<FilesBelow> LayersBelow(const graph::Graph& graph, const Plan& plan, const OutputsOf& outputs,
                                      graph::StepIndex step, bool trace);

// Traced layers that lie directly on each other. What the upper ones hide of the lower ones no step sees, so
// that they count as the one layer that they make together.
struct TracedStack {
  std::vector<DiffId> layers;  // lowest first
  std::vector<Digest> trees;   // of each
  Digest merged;
  bool has_xattrs = false;  // some layer
  Digest below;             // tree of all layers below it; empty: not known
  // Layers that are not traced between it and the stack below it, lowest first; nothing where one of them counts
  // by its package files alone.
  std::optional<std::vector<DiffId>> between = {};
};

struct WeakStep {
  Digest key;
  std::vector<TracedStack> stacks;  // lowest first
  std::vector<RunRequest::TracedMount> mounts;
  std::vector<Digest> mount_trees;  // of each
  bool strict_mtime = false;        // see TraceRules
  // Package files that count by what they install. A run that changes one of them itself stands for no
  // other: its layer would hide the new file behind the old one.
  std::vector<std::string> packages;
  std::vector<std::string> refused;  // for people: why a package file counts whole

  // Each layer once. One that lies in the stack again further below would be asked nothing that it is not
  // asked on top, and answers the same; so it is mounted once, and its notes hold for both places.
  std::vector<RunRequest::TracedLayer> Mounted() const;
  // Of each of the stacks, then of each of the mounts: what a trace's read sets are about.
  std::vector<Digest> Trees() const;
};
// `runner` is asked for the contents of layers. A layer that is no tree by itself counts by its content,
// with `strict_mtime` by its diff id.
Result<WeakStep> ComputeWeakStep(const graph::Step& step, const KeyedStep& keyed, const FilesBelow& below,
                                 bool strict_mtime, tree::TreeStore& trees, StepRunner& runner);
// Nothing, and a line in the log, where that cannot be had: it costs a run, never the build.
std::optional<WeakStep> WeakStepOf(const graph::Step& step, const KeyedStep& keyed, const FilesBelow& below,
                                   bool strict_mtime, const Services& services);

// Why a run with this result stands for no other, for people: it changes a package file itself.
std::optional<std::string> WhyNotForOthers(const WeakStep& weak, const RunResult& result, StepRunner& runner);

// What a run left behind, for its record; `asked` of each of `weak.Mounted()`, then of `weak.mounts`. kCorrupt when
// notes and trees disagree, kInvalid when it is too much: no trace then.
Result<cache::StepTrace> MakeTrace(const WeakStep& weak, tree::TreeStore& trees, StepRunner& runner,
                                   const std::vector<std::vector<tree::Question>>& asked);

// Whether a run stands for the step.
struct Replay {
  bool stands = false;
  size_t paths = 0;     // looked at
  std::string path;     // the first that differs: "app/package-lock.json"; "/": the whole layer
  std::string differs;  // "content changed"
  uint8_t facets = 0;   // what was asked of it (tree::Facet)
};
// kCorrupt: the trace is damaged.
Result<Replay> CheckTrace(const cache::StepTrace& trace, const WeakStep& weak, tree::TreeStore& trees,
                          StepRunner& runner);

struct ReplayedStep {
  const KeyedStep& keyed;
  std::string slot;
  Timestamp now;
  std::vector<AgeLimit> age = {};  // older runs do not stand for it
};
struct Replayed {
  cache::StepRecord record;  // under the step's own key, made when the earlier run was
  std::string note;          // for people: "replayed: 20 paths looked at, none changed"
};
// Calls `take` with each of a few earlier runs that stands for the step, newest first, until it returns true.
// Why the newest that might have stood for it does not, where none was taken. `name` of the step, for the log.
using TakeRun = std::function<Result<bool>(cache::StepRecord record, const Replay& checked)>;
struct ReplayStores {
  cache::RecordStore& records;
  tree::TreeStore& trees;
  StepRunner& runner;
};
Result<std::optional<Reason>> FindRuns(const ReplayStores& stores, const WeakStep& weak, const ReplayedStep& step,
                                       const std::string& name, const TakeRun& take);

// "replayed: 20 paths looked at, none changed; 3 changed files were never read": for people.
std::string DescribeReplay(const Replay& replay, const WeakStep& weak, size_t unread);
// Files below a replayed layer that are others than below the run that it is from: what the step looked at is
// not among them. None where the trees of that time are gone.
size_t CountUnread(const cache::StepRecord& record, const Digest& base_now, tree::TreeStore& trees);

// Told with the step before it, which is why it was looked at at all.
void AddWhyNotReplayed(Reason reason, std::vector<Reason>& reasons);

struct ReplaySearch {
  std::optional<Replayed> found;
  std::optional<Reason> why_not;  // of the newest run that might have stood for the step
};
// The newest of a few earlier runs that stands for the step, its layer on this machine and leased, and its
// record stored. An error only when the build was cancelled.
Result<ReplaySearch> FindReplay(const Services& services, const RunRequest& request, const WeakStep& weak,
                                const ReplayedStep& step, std::stop_token stop);

}  // namespace varve::engine
