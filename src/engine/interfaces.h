// What the engine needs of the world. Module exec implements these with real sources, sandboxes and
// layers; tests implement them with maps.
//
// Blocking calls run on the engine's pools, on the coordinator thread only while nothing else is under
// way, each with a stop token that is checked at every wait.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cache/contents.h"
#include "cache/step_record.h"
#include "engine/keys.h"
#include "engine/reason.h"
#include "graph/graph.h"
#include "tree/read_set.h"

namespace varve::engine {

// The resolved identity of a source.
struct Pin {
  cache::Rootfs rootfs;          // image: layers; others: tree_root
  std::optional<ChainId> chain;  // image sources
  bool data_local = false;       // layers (or the context's files) are on this machine
};

// Where a step's output and progress go while it works. Safe from any thread.
class StepSink {
 public:
  virtual ~StepSink() = default;
  virtual void Log(int stream, std::string_view data) = 0;  // 1: stdout, 2: stderr
  // A part of the work, such as one layer's download: bytes so far, of `total` (0: unknown).
  virtual void Progress(const std::string& id, uint64_t current, uint64_t total, bool done) = 0;
};

class SourceResolver {
 public:
  virtual ~SourceResolver() = default;
  // Called once for each source step of a build.
  virtual Result<Pin> Resolve(const graph::Graph& graph, graph::StepIndex step, StepSink& sink,
                              std::stop_token stop) = 0;
};

struct RunInput {
  graph::StepIndex step;  // where it comes from; sources may be asked for by this
  bool is_source = false;
  cache::Rootfs rootfs;
  // All layers are on this machine. Always, but for file actions: of what they read and write on, the tree is
  // known, and they bring what they need.
  bool here = true;
  // Of each layer the step that added it, as far as the plan tells.
  std::vector<std::optional<graph::StepIndex>> added_by = {};
  // cache::StepRecord::directories of an earlier run of the step on these very layers.
  std::map<RelPath, Timestamp> directories = {};
};

struct RunRequest {
  const graph::Graph& graph;
  graph::StepIndex step;
  StepKey key;
  std::vector<RunInput> inputs;   // as Step::inputs
  std::optional<DiffId> similar;  // the layer that an earlier run of this step added
  bool more_to_run = false;       // as far as is known, a step with a process will start after this one has
  // Layers of the file system that the step writes on whose use is to be noted, lowest first.
  struct TracedLayer {
    DiffId layer;
    bool has_xattrs = false;
  };
  std::vector<TracedLayer> traced = {};
  // The same of bind mounts of a context: indexes into Exec::mounts.
  struct TracedMount {
    size_t mount = 0;
    bool has_xattrs = false;
  };
  std::vector<TracedMount> traced_mounts = {};
};

// A step for which an earlier run stood, to be checked (engine/shadow.h).
struct ShadowRun {
  RunRequest request;
  Digest weak_key;
  cache::Rootfs replayed;
};

struct RunResult {
  std::vector<cache::Rootfs> outputs;  // committed: their layers are visible and leased
  uint64_t new_bytes = 0;              // size of the layers added
  std::string log;                     // the last 256 KiB of output
  // A layer of an input that is not here could not be had: nothing was done.
  bool inputs_missing = false;
  // What was asked of each of RunRequest::traced, then of each of its traced_mounts (where what is mounted
  // is "content"); nothing where that could not be noted.
  std::optional<std::vector<std::vector<tree::Question>>> asked = {};
  std::map<RelPath, Timestamp> directories = {};  // cache::StepRecord's
};

// What a layer holds, without the modification times that are in its diff id.
struct LayerContent {
  Digest digest;
  // The layer alone as a tree; none when it is more than that (it removes something of the layers
  // below).
  std::optional<Digest> tree;
  bool has_xattrs = false;  // known with `tree`
  bool operator==(const LayerContent&) const = default;
};

// A layer of package files, as steps of one package manager see it.
struct PackageLayer {
  // With the canonical forms of the files that the manager reads (module packages) for their contents.
  Digest digest;
  std::vector<std::string> files;  // those, as paths in the layer; none: the layer counts by its content
  std::string refused;             // for people: why it does, where there is a reason
};

// A layer that was not made. Its name is no diff id: it means something to the runner that gave it, alone.
struct ForeseenLayer {
  DiffId layer;
  Digest tree_root;  // of the file system with it
};

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  // On the coordinator thread, before the first step of a build runs and before the threads that run steps start.
  virtual Status Prepare() { return Ok(); }
  // kExec when the process failed; everything it made is gone then.
  virtual Result<RunResult> Run(const RunRequest& request, StepSink& sink, std::stop_token stop) = 0;
  // Leases the layers and brings them to this machine: from a tier, or by pulling an image. Returns
  // the outputs, with tree roots filled in as far as they have become known. kNotFound when they
  // cannot be had any more (the record is dropped and the step runs).
  virtual Result<std::vector<cache::Rootfs>> Obtain(const graph::Graph& graph, graph::StepIndex step,
                                                    const std::vector<cache::Rootfs>& outputs, StepSink& sink,
                                                    std::stop_token stop) = 0;
  // Of a layer on this machine; as a tree only when asked for. For steps that are traced.
  virtual Result<LayerContent> ContentOf(const DiffId& layer, bool as_tree) = 0;
  // When a file of a layer on this machine was modified. For --strict-mtime.
  virtual Result<Timestamp> TimeOf(const DiffId& layer, const RelPath& path) = 0;
  // The same of package files alone, for steps that only install with `manager`.
  virtual Result<PackageLayer> PackagesOf(const DiffId& layer, const std::string& manager) = 0;
  // Whether a layer on this machine has something at one of the paths, or removes it.
  virtual Result<bool> Touches(const DiffId& layer, const std::vector<std::string>& paths) = 0;
  // `base` with one more layer, brought to this machine like Obtain's.
  virtual Result<cache::Rootfs> Stack(const graph::Graph& graph, graph::StepIndex step, const cache::Rootfs& base,
                                      const DiffId& layer, StepSink& sink, std::stop_token stop) = 0;
  // What a step of file actions would add to its base, told from the trees of its inputs alone, in the order
  // of Step::inputs. ContentOf and PackagesOf know the layer then. Nothing: that cannot be told without the
  // files. For `varve plan`.
  virtual Result<std::optional<ForeseenLayer>> Foresee(const graph::Graph& graph, graph::StepIndex step,
                                                       const std::vector<cache::Rootfs>& inputs) = 0;
  // The tree of a file system with one more layer, which is on this machine.
  virtual Result<Digest> TreeOn(const Digest& tree_root, const DiffId& layer) = 0;
  // Leases the layers if all are on this machine. Quick: runs on the coordinator thread.
  virtual bool HasLocally(const std::vector<cache::Rootfs>& outputs) = 0;
  // Makes trees of which parts were lost anew from the outputs' layers. False: the layers are not here,
  // or give other trees. Milliseconds for thousands of files: runs on the coordinator thread too.
  virtual bool RestoreTrees(const std::vector<cache::Rootfs>& outputs) = 0;
};

// One of several processes on a state root works on a key at a time.
class StepLocks {
 public:
  virtual ~StepLocks() = default;
  class Lock {
   public:
    virtual ~Lock() = default;
  };
  // Blocks. Another process may have held the key before: its record may be there now.
  virtual Result<std::unique_ptr<Lock>> Acquire(const StepKey& key, std::stop_token stop) = 0;
};

// A step that was looked up, and all that is known of it.
struct LookedUp {
  graph::StepIndex step = 0;
  bool answered = false;          // by a record
  std::vector<InputFact> inputs;  // as Step::inputs; trees as far as they are known
  cache::StepRecord record;       // unless answered: complete but for outputs and times
};

// Results that are not found by their keys: those of images that were built earlier.
class ResultMatcher {
 public:
  virtual ~ResultMatcher() = default;
  struct Matched {
    cache::StepRecord record;  // LookedUp::record, with outputs and `created`
    std::string from;          // "image app:latest"
  };
  // Told of each look-up, and asked for what it did not answer: one entry per step, in order. A tree
  // root may be empty, until the layers are obtained. Several look-ups may be under way at once.
  virtual std::vector<std::optional<Matched>> Match(const graph::Graph& graph, const std::vector<LookedUp>& steps,
                                                    std::stop_token stop) = 0;
};

// What a store knows beyond the records that hit, for explanations. Nothing here notes a use.
class RecordArchive {
 public:
  virtual ~RecordArchive() = default;
  virtual Result<std::optional<cache::StepRecord>> Peek(const StepKey& key) = 0;
  // Why a record of this key went away, if there was one.
  virtual Result<std::optional<cache::DroppedRecord>> WhyDropped(const StepKey& key) = 0;
  // The same of records of a step, newest first.
  virtual Result<std::vector<cache::DroppedRecord>> DroppedOf(const std::string& slot, size_t limit) = 0;
};

enum class StepStatus {
  kNotNeeded,  // nothing wanted its result
  kCached,     // answered by a record; a source whose content was not needed or was here
  kRan,
  kFailed,
  kCancelled,
};

struct StepOutcome {
  StepStatus status = StepStatus::kNotNeeded;
  StepKey key;
  Nanos wall{0};      // of this build
  Nanos saved{0};     // what the record cost to make, for kCached
  Timestamp created;  // when its result was made, now or earlier; 0: unknown
  uint64_t new_bytes = 0;
  std::vector<Reason> reasons;  // why it ran, or would
  // The step whose reasons are the root of these: this one ran only because that one did.
  std::optional<graph::StepIndex> cause;
  std::optional<Nanos> expected;  // what it cost the last time, where that is known
  std::string slot;               // names the same step across builds
  // That an earlier run stands for this step although its key is another: "20 paths looked at, …".
  std::string replayed;
  std::string tier;    // where a result came from; empty: the local store
  std::string shadow;  // what became of the run that checked `replayed`; empty: there was none
};

// Told what happens, for progress and history. Calls come from the coordinator thread, except that
// sinks are used by whoever does the work.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void Started(graph::StepIndex step) = 0;
  virtual void Explained(graph::StepIndex step, const std::vector<Reason>& reasons) = 0;
  virtual void Finished(graph::StepIndex step, const StepOutcome& outcome, const Error* error) = 0;
  virtual StepSink& SinkOf(graph::StepIndex step) = 0;  // lives as long as the observer
};

}  // namespace varve::engine
