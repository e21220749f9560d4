// The engine's world made of maps, for tests: no process, no disk, no clock.
//
// Sources are maps of path to text. Running a step writes one file, named after the step's command,
// whose text is a digest of everything the step could see; a step listed in `unstable` mixes in a
// counter, so that it never gives the same twice. A step whose command begins with "lossy" tells few
// of its inputs apart. Every run checks invariant I1: the content it was handed is the content that
// its key claims.
//
// Several worlds on one FakeDisk are several processes on one state root: they may build at once.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "graph/reads.h"

namespace varve::engine {

// What processes on one state root share.
struct FakeDisk {
  // The Directory objects as the engine sees them: without those that are `lost`. (The runner makes
  // such trees again from its layers, so it sees all of them.)
  class Trees final : public tree::TreeStore {
   public:
    Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest) override {
      {
        std::lock_guard lock(mutex_);
        if (lost_.contains(digest)) return nullptr;
      }
      return all.Get(digest);
    }
    Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override {
      std::lock_guard lock(mutex_);
      for (const auto& [digest, object] : objects) lost_.erase(digest);
      return all.Put(objects);
    }
    void Lose(const Digest& digest) {
      std::lock_guard lock(mutex_);
      lost_.insert(digest);
    }
    void Restore(const Digest& digest) {
      std::lock_guard lock(mutex_);
      lost_.erase(digest);
    }
    bool Lost(const Digest& digest) {
      std::lock_guard lock(mutex_);
      return lost_.contains(digest);
    }
    tree::MemoryTreeStore all;

   private:
    std::mutex mutex_;
    std::set<Digest> lost_;
  };

  std::mutex mutex;  // guards what follows, but for `trees`
  std::map<StepKey, cache::StepRecord> records;
  std::vector<StepKey> order;                   // of the records, oldest first
  std::set<DiffId> layers;                      // "on this machine"
  std::multiset<DiffId> leased;                 // by builds that run
  std::map<StepKey, std::set<Digest>> content;  // what runs of a key were handed
  std::set<StepKey> locked;
  std::condition_variable unlocked;
  int counter = 0;
  Trees trees;
  FakeClock clock;
};

class FakeWorld final : public cache::RecordStore,
                        public RecordArchive,
                        public SourceResolver,
                        public StepRunner,
                        public StepLocks,
                        public Observer,
                        public StepSink {
 public:
  explicit FakeWorld(std::shared_ptr<FakeDisk> shared = std::make_shared<FakeDisk>()) : disk(std::move(shared)) {}

  // --- What a test sets ------------------------------------------------------------------------------
  std::map<std::string, std::map<std::string, std::string>> sources;  // local source name → files
  std::map<std::string, std::string> images;                          // reference → chain text
  std::set<std::string> unstable;                                     // commands
  std::set<std::string> failing;                                      // commands
  std::set<std::string> blind;                                        // commands that see no files
  std::map<std::string, uint32_t> modes, owners;                      // of files of sources, by path
  bool forget_unobtainable_on_run = false;                            // what runs makes layers whole
  bool records_fail = false;                                          // every look-up is an error
  std::map<DiffId, Error> unobtainable;                               // layers and why
  std::map<Digest, std::string> disowned;                             // weak keys, and why
  std::vector<cache::TierTrouble> trouble;                            // with every key
  std::string tier;                                                   // that gave every record
  std::map<std::vector<DiffId>, Digest> without_tree;                 // what Obtain fills in
  bool dry_run = false;                                               // as in Request
  std::string salt;
  std::string project = "test";
  std::vector<std::optional<AgeLimit>> max_age;
  TraceRules trace{.on = false};
  std::vector<bool> must_hit;
  ResultMatcher* matcher = nullptr;  // as in Services
  Nanos step_takes{0};               // how far running a step moves the clock
  std::function<void()> between;     // called before a step takes its lock: others may act there

  // --- What a test reads -----------------------------------------------------------------------------
  std::shared_ptr<FakeDisk> disk;
  std::map<StepKey, cache::StepRecord>& records = disk->records;
  std::set<DiffId>& layers = disk->layers;  // "on this machine"
  FakeDisk::Trees& trees = disk->trees;
  std::vector<std::string> ran;       // commands, in order of completion
  std::set<std::string> more_to_run;  // those that ran with RunRequest::more_to_run
  std::vector<StepKey> ran_keys;      // of the same
  std::map<graph::StepIndex, std::vector<Reason>> reasons;
  std::map<graph::StepIndex, StepStatus> finished;
  int get_many_calls = 0;
  int pulls = 0;
  int prepared = 0;                                                      // calls of StepRunner::Prepare
  std::optional<Error> not_ready;                                        // what it says
  std::set<StepKey> from_parts;                                          // of steps whose inputs were not all here
  std::map<std::string, std::map<RelPath, Timestamp>> directories_told;  // by command
  FakeClock& clock = disk->clock;

  Outcome Build(const graph::Graph& graph, std::vector<graph::Ref> wanted, bool want_data = true,
                std::stop_token stop = {}) {
    ran.clear();
    more_to_run.clear();
    ran_keys.clear();
    reasons.clear();
    finished.clear();
    from_parts.clear();
    Request request{.graph = graph,
                    .wanted = std::move(wanted),
                    .want_data = want_data,
                    .dry_run = dry_run,
                    .salt = salt,
                    .project = project,
                    .max_age = max_age,
                    .trace = trace,
                    .must_hit = must_hit};
    Services services{*this, trees, *this, *this, *this, *this, clock, this, matcher};
    Outcome outcome = engine::Build(request, services, stop);
    std::lock_guard lock(disk->mutex);
    for (const DiffId& layer : leased_) disk->leased.erase(disk->leased.find(layer));
    leased_.clear();
    return outcome;
  }

  bool Ran(const std::string& command) { return std::find(ran.begin(), ran.end(), command) != ran.end(); }

  // The text that a wanted output has at `path`, as its content digest; empty when absent.
  std::string ContentAt(const cache::Rootfs& rootfs, const std::string& path) {
    auto node = tree::Lookup(disk->trees.all, rootfs.tree_root, RelPath(path));
    if (!node || !*node) return "";
    return (*node)->digest.Hex();
  }

  // --- RecordStore -----------------------------------------------------------------------------------
  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys) override {
    std::lock_guard lock(disk->mutex);
    ++get_many_calls;
    if (records_fail) return Unavailable("records are down");
    std::vector<std::optional<cache::StepRecord>> out;
    for (const StepKey& key : keys) {
      auto it = records.find(key);
      out.push_back(it == records.end() ? std::nullopt : std::optional(it->second));
    }
    return out;
  }
  Status Put(const cache::StepRecord& record) override {
    std::lock_guard lock(disk->mutex);
    for (const auto& output : record.outputs) {
      for (const DiffId& layer : output.layers) {
        bool below = from_parts.contains(record.key) && layer != output.layers.back();
        EXPECT_TRUE(below || layers.contains(layer)) << "I4";
      }
    }
    records[record.key] = record;
    std::erase_if(dropped_, [&](const auto& dropped) { return dropped.key == record.key; });
    disk->order.push_back(record.key);
    return Ok();
  }
  Status Drop(const StepKey& key) override {
    Evict(key, "its data is gone");
    return Ok();
  }
  // As a collection does.
  void Evict(const StepKey& key, const std::string& rule) {
    std::lock_guard lock(disk->mutex);
    auto it = records.find(key);
    if (it == records.end()) return;
    // As the store does: why its layers went before is the reason to tell.
    bool told = std::ranges::any_of(dropped_, [&](const auto& dropped) { return dropped.key == key; });
    if (!told) dropped_.push_back({key, it->second.slot, rule, clock.Now()});
    records.erase(it);
  }
  // As a collection does that takes layers and leaves the record.
  void EvictLayer(const StepKey& key, const DiffId& layer, const std::string& rule) {
    std::lock_guard lock(disk->mutex);
    layers.erase(layer);
    dropped_.push_back({key, records.at(key).slot, rule, clock.Now()});
  }
  void Remember(const StepKey& key) { disk->order.push_back(key); }  // for Earlier: a record put by hand
  std::vector<cache::TierTrouble> TroubleWith(const StepKey&) override { return trouble; }
  std::string TierOf(const StepKey&) override { return tier; }
  Result<std::vector<cache::StepRecord>> Earlier(const std::string& slot, const Digest& op, size_t limit) override {
    std::lock_guard lock(disk->mutex);
    std::vector<cache::StepRecord> out;
    for (auto it = disk->order.rbegin(); it != disk->order.rend() && out.size() < limit; ++it) {
      auto record = records.find(*it);
      if (record != records.end() && record->second.slot == slot) out.push_back(record->second);
    }
    for (auto it = disk->order.rbegin(); it != disk->order.rend() && out.size() < limit; ++it) {
      auto record = records.find(*it);
      bool known = std::ranges::any_of(out, [&](const auto& r) { return r.key == *it; });
      if (!known && record != records.end() && record->second.op_digest == op) out.push_back(record->second);
    }
    return out;
  }

  Result<std::vector<cache::StepRecord>> Traced(const Digest& weak_key, size_t limit) override {
    std::lock_guard lock(disk->mutex);
    std::vector<cache::StepRecord> out;
    for (auto it = disk->order.rbegin(); it != disk->order.rend() && out.size() < limit; ++it) {
      auto record = records.find(*it);
      if (record == records.end() || !record->second.trace || record->second.trace->weak_key != weak_key) continue;
      bool known =
          std::ranges::any_of(out, [&](const auto& r) { return cache::RunOf(r) == cache::RunOf(record->second); });
      if (!known) out.push_back(record->second);
    }
    return out;
  }

  Status Disown(const Digest& weak_key, const std::string& why) override {
    disowned[weak_key] = why;
    return Ok();
  }
  Result<std::optional<std::string>> WhyDisowned(const Digest& weak_key) override {
    auto it = disowned.find(weak_key);
    return it == disowned.end() ? std::nullopt : std::optional(it->second);
  }

  // --- RecordArchive ---------------------------------------------------------------------------------
  Result<std::optional<cache::StepRecord>> Peek(const StepKey& key) override {
    std::lock_guard lock(disk->mutex);
    auto it = records.find(key);
    return it == records.end() ? std::nullopt : std::optional(it->second);
  }
  Result<std::optional<cache::DroppedRecord>> WhyDropped(const StepKey& key) override {
    std::lock_guard lock(disk->mutex);
    std::optional<cache::DroppedRecord> found;
    for (const auto& dropped : dropped_)
      if (dropped.key == key) found = dropped;
    return found;
  }
  Result<std::vector<cache::DroppedRecord>> DroppedOf(const std::string& slot, size_t limit) override {
    std::lock_guard lock(disk->mutex);
    std::vector<cache::DroppedRecord> found;
    for (auto it = dropped_.rbegin(); it != dropped_.rend() && found.size() < limit; ++it) {
      if (it->slot == slot) found.push_back(*it);
    }
    return found;
  }

  // --- SourceResolver --------------------------------------------------------------------------------
  Result<Pin> Resolve(const graph::Graph& graph, graph::StepIndex step, StepSink&, std::stop_token) override {
    std::lock_guard lock(disk->mutex);
    const graph::Op& op = graph.steps[step].op;
    if (const auto* image = std::get_if<graph::ImageSource>(&op)) {
      auto it = images.find(image->reference);
      if (it == images.end()) return NotFound("image {} not found", image->reference);
      DiffId layer(Digest::Of(it->second));
      // As in the real world, the tree is known where the layers are unpacked.
      Pin pin{{{layer}, Digest()}, ChainId(Digest::Of("chain " + it->second)), layers.contains(layer)};
      if (pin.data_local) {
        LeaseAll({pin.rootfs});
        TRY_ASSIGN(pin.rootfs.tree_root, ImageTree(trees, layer));
      }
      return pin;
    }
    TRY_ASSIGN(Digest root, SourceTree(trees, std::get<graph::LocalSource>(op).name));
    return Pin{{{}, root}, {}, true};
  }

  // The tree of a local source as it is now.
  Result<Digest> SourceTree(tree::TreeStore& store, const std::string& name) {
    tree::TreeEditor edit(store, tree::EmptyTree());
    for (const auto& [path, text] : sources[name]) {
      tree::Node node = File(text);
      if (auto it = modes.find(path); it != modes.end()) node.mode = it->second;
      if (auto it = owners.find(path); it != owners.end()) node.uid = it->second;
      TRY(edit.Put(RelPath(path), node));
    }
    return edit.Commit();
  }
  static Result<Digest> ImageTree(tree::TreeStore& store, const DiffId& layer) {
    tree::TreeEditor edit(store, tree::EmptyTree());
    TRY(edit.Put(RelPath("bin/sh"), File(layer.Hex())));
    return edit.Commit();
  }

  // --- StepRunner ------------------------------------------------------------------------------------
  Status Prepare() override {
    ++prepared;
    if (not_ready) return *not_ready;
    return Ok();
  }
  Result<RunResult> Run(const RunRequest& request, StepSink&, std::stop_token) override {
    std::lock_guard lock(disk->mutex);
    const graph::Step& step = request.graph.steps[request.step];
    std::string command = CommandOf(step);
    CheckKey(request, step);
    if (request.more_to_run) more_to_run.insert(command);
    if (failing.contains(command)) return Error{Code::kExec, command + " failed", ""};
    std::vector<cache::Rootfs> inputs;
    for (const RunInput& input : request.inputs) inputs.push_back(input.rootfs);
    for (const graph::InputUse& use : graph::InputUses(step)) {
      if (!request.inputs[static_cast<size_t>(use.input)].here) continue;
      for (const DiffId& layer : inputs[static_cast<size_t>(use.input)].layers) {
        EXPECT_TRUE(layers.contains(layer)) << command;
      }
    }
    if (!std::ranges::all_of(request.inputs, &RunInput::here)) {
      EXPECT_TRUE(std::holds_alternative<graph::FileOp>(step.op)) << command;
      // All that is needed is in the topmost layer.
      for (const RunInput& input : request.inputs) {
        bool top_here = input.rootfs.layers.empty() || layers.contains(input.rootfs.layers.back());
        if (!input.here && !top_here) return RunResult{.inputs_missing = true};
      }
      if (!Effect(disk->trees, step, inputs, "")) return RunResult{.inputs_missing = true};
      from_parts.insert(request.key);
    }
    std::string mixed_in = unstable.contains(command) ? std::to_string(++disk->counter) : "";
    RunnerTrees rebuilt(disk->trees);
    TRY_ASSIGN(cache::Rootfs out, Effect(rebuilt, step, inputs, mixed_in, blind.contains(command)));
    if (forget_unobtainable_on_run) unobtainable.clear();
    layers.insert(out.layers.back());
    LeaseAll({out});
    clock.Advance(step_takes);
    ran.push_back(command);
    ran_keys.push_back(request.key);
    RunResult result{{out}, 100, "log of " + command};
    for (const graph::InputUse& use : graph::InputUses(step)) {
      if (!use.lineage || !std::holds_alternative<graph::FileOp>(step.op)) continue;
      directories_told[command] = request.inputs[static_cast<size_t>(use.input)].directories;
      result.directories = {{RelPath("out"), Timestamp{42}}};
    }
    return result;
  }

  // What running `step` gives: a pure function of what it sees, and of `mixed_in`.
  static Result<cache::Rootfs> Effect(tree::TreeStore& store, const graph::Step& step,
                                      const std::vector<cache::Rootfs>& inputs, const std::string& mixed_in,
                                      bool is_blind = false) {
    std::string command = CommandOf(step);
    std::string seen = graph::CanonicalOp(step).DumpCanonical();
    cache::Rootfs out{{}, tree::EmptyTree()};
    for (const graph::InputUse& use : graph::InputUses(step)) {
      const cache::Rootfs& rootfs = inputs[static_cast<size_t>(use.input)];
      if (use.lineage) {
        out = rootfs;
        if (!is_blind) seen += "base " + rootfs.tree_root.Hex();
      } else {
        TRY_ASSIGN(Digest digest, tree::SelectionDigest(store, rootfs.tree_root, use.selectors));
        seen += "read " + digest.Hex();
      }
    }
    seen += mixed_in;
    if (command.starts_with("lossy")) seen = Digest::Of(seen).Hex()[0] < '8' ? "low" : "high";
    tree::TreeEditor edit(store, out.tree_root.empty() ? tree::EmptyTree() : out.tree_root);
    TRY(edit.Put(RelPath("out/" + command), File(seen)));
    TRY_ASSIGN(out.tree_root, edit.Commit());
    out.layers.push_back(DiffId(Digest::Of("layer of " + command + seen)));
    return out;
  }

  Result<LayerContent> ContentOf(const DiffId& layer, bool) override {
    return LayerContent{.digest = layer.value, .tree = {}};
  }
  Result<Timestamp> TimeOf(const DiffId&, const RelPath&) override { return Timestamp{0}; }
  Result<PackageLayer> PackagesOf(const DiffId& layer, const std::string&) override {
    return PackageLayer{.digest = layer.value};
  }
  Result<bool> Touches(const DiffId&, const std::vector<std::string>&) override { return false; }
  Result<cache::Rootfs> Stack(const graph::Graph&, graph::StepIndex, const cache::Rootfs&, const DiffId&, StepSink&,
                              std::stop_token) override {
    return NotFound("this world does not replay");
  }
  Result<std::vector<cache::Rootfs>> Obtain(const graph::Graph& graph, graph::StepIndex step,
                                            const std::vector<cache::Rootfs>& outputs, StepSink&,
                                            std::stop_token) override {
    std::lock_guard lock(disk->mutex);
    std::vector<cache::Rootfs> out = outputs;
    if (std::holds_alternative<graph::ImageSource>(graph.steps[step].op)) {
      ++pulls;
      for (const DiffId& layer : out[0].layers) layers.insert(layer);
      LeaseAll(out);
      TRY_ASSIGN(out[0].tree_root, ImageTree(trees, out[0].layers[0]));
      return out;
    }
    for (const auto& output : outputs) {
      for (const DiffId& layer : output.layers) {
        if (auto it = unobtainable.find(layer); it != unobtainable.end()) return it->second;
      }
    }
    if (!AllHere(outputs)) return NotFound("layers are gone");
    for (cache::Rootfs& output : out) {
      if (output.tree_root.empty()) output.tree_root = without_tree[output.layers];
    }
    LeaseAll(out);
    return out;
  }

  Result<std::optional<ForeseenLayer>> Foresee(const graph::Graph&, graph::StepIndex,
                                               const std::vector<cache::Rootfs>&) override {
    return std::nullopt;
  }
  Result<Digest> TreeOn(const Digest&, const DiffId&) override { return NotFound("not here"); }
  bool HasLocally(const std::vector<cache::Rootfs>& outputs) override {
    std::lock_guard lock(disk->mutex);
    if (!AllHere(outputs)) return false;
    for (const auto& output : outputs) {
      if (output.tree_root.empty()) return false;
    }
    LeaseAll(outputs);
    return true;
  }

  bool RestoreTrees(const std::vector<cache::Rootfs>& outputs) override {
    std::lock_guard lock(disk->mutex);
    if (!AllHere(outputs)) return false;
    for (const cache::Rootfs& output : outputs) disk->trees.Restore(output.tree_root);
    return true;
  }

  // --- StepLocks, Observer, StepSink -----------------------------------------------------------------
  Result<std::unique_ptr<Lock>> Acquire(const StepKey& key, std::stop_token) override {
    if (between) between();
    std::unique_lock lock(disk->mutex);
    disk->unlocked.wait(lock, [&] { return !disk->locked.contains(key); });
    disk->locked.insert(key);
    return std::unique_ptr<Lock>(std::make_unique<HeldKey>(*disk, key));
  }
  void Started(graph::StepIndex) override {}
  void Explained(graph::StepIndex step, const std::vector<Reason>& why) override { reasons[step] = why; }
  void Finished(graph::StepIndex step, const StepOutcome& outcome, const Error*) override {
    finished[step] = outcome.status;
  }
  StepSink& SinkOf(graph::StepIndex) override { return *this; }
  void Log(int, std::string_view) override {}
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}

  static tree::Node File(const std::string& text) {
    tree::Node node;
    node.mode = 0644;
    node.size = text.size();
    node.digest = Digest::Of(text);
    return node;
  }

 private:
  // The runner makes lost trees again from its layers.
  class RunnerTrees final : public tree::TreeStore {
   public:
    explicit RunnerTrees(FakeDisk::Trees& trees) : trees_(trees) {}
    Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest) override { return trees_.all.Get(digest); }
    Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override { return trees_.Put(objects); }

   private:
    FakeDisk::Trees& trees_;
  };
  class HeldKey final : public Lock {
   public:
    HeldKey(FakeDisk& disk, const StepKey& key) : disk_(disk), key_(key) {}
    ~HeldKey() override {
      std::lock_guard lock(disk_.mutex);
      disk_.locked.erase(key_);
      disk_.unlocked.notify_all();
    }

   private:
    FakeDisk& disk_;
    StepKey key_;
  };

  static std::string CommandOf(const graph::Step& step) {
    if (const auto* exec = std::get_if<graph::Exec>(&step.op)) return exec->args.back();
    return step.name;
  }
  bool AllHere(const std::vector<cache::Rootfs>& outputs) const {
    for (const auto& output : outputs) {
      for (const DiffId& layer : output.layers) {
        if (!layers.contains(layer) || unobtainable.contains(layer)) return false;
      }
    }
    return true;
  }
  Digest SelectionOf(const cache::Rootfs& rootfs, const graph::InputUse& use) {
    auto digest = tree::SelectionDigest(disk->trees.all, rootfs.tree_root, use.selectors);
    EXPECT_TRUE(digest);
    return digest ? *digest : Digest();
  }
  void CheckKey(const RunRequest& request, const graph::Step& step) {
    std::vector<InputFact> facts;
    std::string preimage;
    for (const graph::InputUse& use : graph::InputUses(step)) {
      const RunInput& input = request.inputs[static_cast<size_t>(use.input)];
      if (use.lineage || input.rootfs.tree_root.empty()) continue;
      disk->content[request.key].insert(SelectionOf(input.rootfs, use));
    }
    EXPECT_LE(disk->content[request.key].size(), graph::InputUses(step).size()) << "I1: one key, two contents";
  }

  void LeaseAll(const std::vector<cache::Rootfs>& outputs) {
    for (const auto& output : outputs) {
      leased_.insert(leased_.end(), output.layers.begin(), output.layers.end());
      disk->leased.insert(output.layers.begin(), output.layers.end());
    }
  }

  std::vector<DiffId> leased_;
  std::vector<cache::DroppedRecord> dropped_;
};

// --- Graphs in the tests' words ------------------------------------------------------------------------

inline graph::StepIndex AddContext(graph::Graph& graph, std::string name = "context") {
  return graph.Add({.op = graph::LocalSource{.name = name}, .name = name});
}

inline graph::StepIndex AddImage(graph::Graph& graph, std::string reference) {
  return graph.Add({.op = graph::ImageSource{.reference = reference}, .name = "FROM " + reference});
}

// RUN `command` on `base`.
inline graph::StepIndex AddRun(graph::Graph& graph, std::string command, graph::StepIndex base,
                               std::string stage = "main") {
  graph::Exec exec{.args = {"sh", "-c", command}, .mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}}};
  return graph.Add({.op = exec, .inputs = {{base}}, .name = "RUN " + command, .stage = std::move(stage)});
}

// COPY `path` of `from` onto `base` (or scratch when base is -1).
inline graph::StepIndex AddCopy(graph::Graph& graph, std::string path, graph::StepIndex from, int base,
                                std::string stage = "main") {
  graph::Step step{.name = "COPY " + path, .stage = std::move(stage)};
  graph::FileOp file;
  if (base >= 0) {
    file.base = 0;
    step.inputs.push_back({static_cast<graph::StepIndex>(base)});
  }
  file.actions.push_back(
      graph::Copy{.input = static_cast<int>(step.inputs.size()), .from = {.path = path}, .dest = "/"});
  step.inputs.push_back({from});
  step.op = file;
  return graph.Add(std::move(step));
}

}  // namespace varve::engine
