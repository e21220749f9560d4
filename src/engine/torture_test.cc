// Random projects, random edits, random losses, builds side by side: what the cache answers must be
// what a build without a cache gives, and nothing may run that had been run on the same inputs and was
// still there.
//
// The judge is Reference, which evaluates a graph step by step, in order, with no engine, no plan and
// no record. VARVE_TORTURE_CASES and VARVE_TORTURE_SEED choose how many cases and where to begin; a
// case is one state of a project, built and judged.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <thread>

#include "engine/fake_world.h"

namespace varve::engine {
namespace {

using graph::StepIndex;

long FromEnvironment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::atol(text);
}

class Random {
 public:
  explicit Random(unsigned long seed) : engine_(seed) {}
  size_t Pick(size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(engine_); }
  bool OneIn(size_t n) { return Pick(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

// One instruction of a project. Numbers are taken modulo what there is when the graph is made, so that
// an edit may add or remove instructions anywhere and still leave a graph.
struct Instruction {
  enum Kind { kRun, kLossy, kRunMounted, kCopyContext, kCopyStage, kCopyImage, kMerge, kKinds };
  Kind kind = kRun;
  size_t text = 0, base = 0, other = 0, arg = 0;
  bool on_scratch = false, uses_arg = false, no_cache = false;
};

struct Project {
  std::vector<Instruction> instructions;
  std::vector<std::string> args;             // values
  std::map<std::string, std::string> files;  // of the context
  std::map<std::string, uint32_t> modes;
  std::map<std::string, std::string> images;
  std::vector<size_t> wanted;

  static Project Make(Random& random) {
    Project project;
    for (size_t n = 3 + random.Pick(14); n > 0; --n) {
      project.instructions.push_back(NewInstruction(random));
    }
    project.args = {"0", "0", "0"};
    project.files = {{"a/x", "1"}, {"a/y", "1"}, {"a/d/z", "1"}, {"b", "1"}, {"c", "1"}};
    project.images = {{"i0", "image 0"}, {"i1", "image 1"}};
    for (size_t n = 1 + random.Pick(3); n > 0; --n) project.wanted.push_back(random.Pick(100));
    return project;
  }

  static Instruction NewInstruction(Random& random) {
    return {.kind = static_cast<Instruction::Kind>(random.Pick(Instruction::kKinds)),
            .text = random.Pick(6),
            .base = random.Pick(1000),
            .other = random.Pick(1000),
            .arg = random.Pick(3),
            .on_scratch = random.OneIn(4),
            .uses_arg = random.OneIn(3)};
  }

  void Edit(Random& random) {
    auto file = std::next(files.begin(), static_cast<long>(random.Pick(files.size())));
    size_t at = random.Pick(instructions.size());
    switch (random.Pick(10)) {
      case 0:
      case 1:
        file->second = std::to_string(random.Pick(3));
        break;
      case 2:
        modes[file->first] = random.OneIn(2) ? 0644 : 0755;
        break;
      case 3: {  // renamed
        std::string text = file->second;
        files.erase(file);
        files["a/n" + std::to_string(random.Pick(4))] = text;
        break;
      }
      case 4:
        args[random.Pick(args.size())] = std::to_string(random.Pick(3));
        break;
      case 5:
        images[random.OneIn(2) ? "i0" : "i1"] = "image " + std::to_string(random.Pick(4));
        break;
      case 6:
        instructions[at] = NewInstruction(random);
        break;
      case 7:
        instructions.insert(instructions.begin() + static_cast<long>(at), NewInstruction(random));
        break;
      case 8:
        if (instructions.size() > 2) instructions.erase(instructions.begin() + static_cast<long>(at));
        break;
      case 9:
        instructions[at].no_cache = random.OneIn(4);
        break;
    }
  }

  void CopyInto(FakeWorld& world) const {
    world.sources["context"] = files;
    world.modes = modes;
    world.images = images;
    world.step_takes = std::chrono::milliseconds(1);
  }

  graph::Graph Lower(std::vector<graph::Ref>& refs) const {
    graph::Graph graph;
    StepIndex context = AddContext(graph);
    std::vector<StepIndex> images_at = {AddImage(graph, "i0"), AddImage(graph, "i1")};
    std::vector<StepIndex> results = images_at, made;
    for (const Instruction& instruction : instructions) {
      StepIndex base = results[instruction.base % results.size()];
      int onto = instruction.on_scratch ? -1 : static_cast<int>(base);
      const bool has_stage = !made.empty();
      StepIndex stage = has_stage ? made[instruction.other % made.size()] : base;
      StepIndex step = 0;
      static const char* const kPaths[] = {"a", "b", "a/*", "c", "a/x", "."};
      switch (instruction.kind) {
        case Instruction::kCopyContext: {
          step = AddCopy(graph, kPaths[instruction.text], context, onto);
          graph.steps[step].name = "copy" + std::to_string(instruction.text);  // names a file
          auto& from = std::get<graph::Copy>(std::get<graph::FileOp>(graph.steps[step].op).actions[0]).from;
          from.wildcards = from.path == "a/*";
          if (instruction.uses_arg) from.exclude = {instruction.arg == 0 ? "x" : "d"};
          break;
        }
        case Instruction::kCopyStage:
          if (has_stage) {
            step = AddCopy(graph, "out", stage, onto);
            break;
          }
          [[fallthrough]];
        case Instruction::kCopyImage:
          step = AddCopy(graph, "bin", images_at[instruction.other % 2], onto);
          break;
        case Instruction::kMerge:
          step = graph.Add({.op = graph::Merge{}, .inputs = {{base}, {stage}}, .name = "merge"});
          break;
        default: {
          const char* word = instruction.kind == Instruction::kLossy ? "lossy" : "c";
          step = AddRun(graph, word + std::to_string(instruction.text), base);
          auto& exec = std::get<graph::Exec>(graph.steps[step].op);
          if (instruction.uses_arg) exec.env = {"ARG=" + args[instruction.arg]};
          if (instruction.kind == Instruction::kRunMounted) {
            graph::Mount mount{.target = "/mnt", .input = 1, .readonly = true};
            bool from_context = instruction.other % 2 == 0 || !has_stage;
            mount.source = from_context ? "/a" : "/out";
            exec.mounts.push_back(mount);
            graph.steps[step].inputs.push_back({from_context ? context : stage});
          }
        }
      }
      graph.steps[step].no_cache = instruction.no_cache;
      results.push_back(step);
      made.push_back(step);
    }
    for (size_t number : wanted) refs.push_back({made[number % made.size()]});
    return graph;
  }
};

// What a build without cache gives, and what each step declares: its operation, its lineage, and the
// content of what it reads.
struct Reference {
  struct Step {
    std::optional<cache::Rootfs> rootfs;  // nothing: cannot be built (a file that is not there)
    std::string declared;
    bool no_cache = false;
  };
  std::vector<Step> steps;
  std::vector<bool> reachable;
  bool fails = false;

  Reference(const Project& project, const graph::Graph& graph, const std::vector<graph::Ref>& wanted)
      : steps(graph.steps.size()), reachable(graph.steps.size()) {
    for (const graph::Ref& ref : wanted) reachable[ref.step] = true;
    for (size_t i = graph.steps.size(); i-- > 0;) {
      for (const graph::Ref& input : graph.steps[i].inputs) {
        if (reachable[i]) reachable[input.step] = true;
      }
    }
    FakeWorld world;
    project.CopyInto(world);
    tree::MemoryTreeStore trees;
    for (size_t i = 0; i < steps.size(); ++i) {
      Evaluate(world, trees, graph, i);
      if (reachable[i] && !steps[i].rootfs) fails = true;
    }
  }

 private:
  void Evaluate(FakeWorld& world, tree::MemoryTreeStore& trees, const graph::Graph& graph, size_t i) {
    const graph::Step& step = graph.steps[i];
    if (const auto* image = std::get_if<graph::ImageSource>(&step.op)) {
      DiffId layer(Digest::Of(world.images[image->reference]));
      steps[i] = {cache::Rootfs{{layer}, *FakeWorld::ImageTree(trees, layer)}, layer.Hex()};
      return;
    }
    if (std::holds_alternative<graph::LocalSource>(step.op)) {
      Digest root = *world.SourceTree(trees, "context");
      steps[i] = {cache::Rootfs{{}, root}, root.Hex()};
      return;
    }
    std::string declared = graph::CanonicalOp(step).DumpCanonical();
    std::vector<cache::Rootfs> inputs;
    steps[i].no_cache = step.no_cache;
    for (const graph::Ref& ref : step.inputs) {
      if (!steps[ref.step].rootfs) return;
      inputs.push_back(*steps[ref.step].rootfs);
    }
    for (const graph::InputUse& use : graph::InputUses(step)) {
      StepIndex input = step.inputs[static_cast<size_t>(use.input)].step;
      if (use.lineage || std::holds_alternative<graph::ImageSource>(graph.steps[input].op)) {
        declared += "|" + steps[input].declared;
        steps[i].no_cache |= use.lineage && steps[input].no_cache;
        continue;
      }
      auto digest = tree::SelectionDigest(trees, inputs[static_cast<size_t>(use.input)].tree_root, use.selectors);
      if (!digest) return;
      declared += "|" + digest->Hex();
    }
    auto out = FakeWorld::Effect(trees, step, inputs, "");
    ASSERT_TRUE(out) << step.name << ": " << out.error().message;
    steps[i].rootfs = std::move(*out);
    steps[i].declared = Digest::Of(declared).Hex();
  }
};

struct Tally {
  size_t cases = 0, failing = 0, runs = 0, hits = 0, needless = 0;
};

// The processes of one state root, over the life of one project.
class Life {
 public:
  Life(unsigned long seed, Tally& tally) : random_(seed), tally_(tally), project_(Project::Make(random_)) {}

  void Round() {
    if (random_.OneIn(4)) {
      BuildSideBySide();
    } else {
      Turn turn(*this, project_);
      auto usable = UsableRecords();
      turn.Build();
      turn.Judge();
      CountNeedless(turn, usable);
    }
    for (size_t n = random_.Pick(3); n > 0; --n) project_.Edit(random_);
    LoseThings();
  }

 private:
  // One build of one state of the project.
  struct Turn {
    Turn(Life& owner, const Project& project)
        : life(owner), graph(project.Lower(wanted)), reference(project, graph, wanted), world(owner.disk_) {
      project.CopyInto(world);
    }
    void Build() { outcome = world.Build(graph, wanted); }
    void Judge() {
      Tally& tally = life.tally_;
      ++tally.cases;
      if (reference.fails) {
        ++tally.failing;
        EXPECT_TRUE(outcome.error);
        return;
      }
      ASSERT_FALSE(outcome.error) << outcome.error->message;
      for (size_t n = 0; n < wanted.size(); ++n) {
        EXPECT_EQ(outcome.wanted[n], *reference.steps[wanted[n].step].rootfs) << "wanted " << n;
      }
      tally.runs += static_cast<size_t>(outcome.totals.ran);
      tally.hits += static_cast<size_t>(outcome.totals.cached);
      // What a step declares and its key tell the same steps apart.
      for (size_t i = 0; i < graph.steps.size(); ++i) {
        const std::string& declared = reference.steps[i].declared;
        StepKey key = outcome.steps[i].key;
        if (key.empty() || declared.empty()) continue;
        EXPECT_EQ(life.key_of_.try_emplace(declared, key).first->second, key) << "step " << i;
        EXPECT_EQ(life.declared_of_.try_emplace(key, declared).first->second, declared) << "step " << i;
      }
    }

    Life& life;
    std::vector<graph::Ref> wanted;
    graph::Graph graph;
    Reference reference;
    FakeWorld world;
    Outcome outcome;
  };

  std::set<StepKey> UsableRecords() {
    std::set<StepKey> usable;
    for (const auto& [key, record] : disk_->records) {
      bool here = true;
      for (const auto& output : record.outputs) {
        for (const DiffId& layer : output.layers) here = here && disk_->layers.contains(layer);
        here = here && !disk_->trees.Lost(output.tree_root);
      }
      if (here) usable.insert(key);
    }
    return usable;
  }

  void CountNeedless(const Turn& turn, const std::set<StepKey>& usable) {
    std::set<StepKey> forced, ran;
    for (size_t i = 0; i < turn.graph.steps.size(); ++i) {
      if (turn.reference.steps[i].no_cache) forced.insert(turn.outcome.steps[i].key);
    }
    for (const StepKey& key : turn.world.ran_keys) {
      // A copy onto a base of which a lower layer is gone runs again when that base was needed whole.
      bool again = !ran.insert(key).second && !turn.world.from_parts.contains(key);
      bool needless = again || (usable.contains(key) && !forced.contains(key));
      tally_.needless += needless;
      EXPECT_FALSE(needless) << key.ToString();
    }
  }

  void BuildSideBySide() {
    std::vector<std::unique_ptr<Turn>> turns;
    Project other = project_;
    for (size_t n = 2 + random_.Pick(2); n > 0; --n) {
      turns.push_back(std::make_unique<Turn>(*this, other));
      if (random_.OneIn(2)) other.Edit(random_);
    }
    auto usable = UsableRecords();
    const bool evict = random_.OneIn(2);
    // Of its own, so that what follows does not depend on how the threads take turns.
    Random evictions(random_.Pick(1u << 30));
    std::mutex mutex;
    std::set<StepKey> evicted;
    {
      std::vector<std::jthread> threads;
      for (auto& turn : turns) {
        if (evict) {
          turn->world.between = [&] {
            std::lock_guard guard(mutex);
            EvictWhatNobodyLeases(evictions, evicted);
          };
        }
        threads.emplace_back([&turn] { turn->Build(); });
      }
    }
    std::set<StepKey> ran, forced;
    for (auto& turn : turns) {
      turn->Judge();
      for (size_t i = 0; i < turn->graph.steps.size(); ++i) {
        if (turn->reference.steps[i].no_cache) forced.insert(turn->outcome.steps[i].key);
      }
    }
    // Shared work is done once, whoever does it.
    for (auto& turn : turns) {
      for (const StepKey& key : turn->world.ran_keys) {
        if (forced.contains(key) || evicted.contains(key) || turn->world.from_parts.contains(key)) continue;
        bool needless = usable.contains(key) || !ran.insert(key).second;
        // A build that failed elsewhere stops its steps, and a layer that was evicted under a record
        // that another one writes on is made again.
        if (evict) continue;
        tally_.needless += needless;
        EXPECT_FALSE(needless) << key.ToString() << " ran twice in builds side by side";
      }
    }
  }

  // As collection does while builds run.
  void EvictWhatNobodyLeases(Random& random, std::set<StepKey>& evicted) {
    std::lock_guard lock(disk_->mutex);
    std::erase_if(disk_->records, [&](auto& entry) { return random.OneIn(8) && evicted.insert(entry.first).second; });
    std::erase_if(disk_->layers,
                  [&](const DiffId& layer) { return random.OneIn(8) && !disk_->leased.contains(layer); });
  }

  void LoseThings() {
    if (random_.OneIn(3)) return;
    size_t kind = random_.Pick(4);
    if (kind == 0) std::erase_if(disk_->records, [&](auto&) { return random_.OneIn(5); });
    if (kind == 1) std::erase_if(disk_->layers, [&](auto&) { return random_.OneIn(5); });
    if (kind == 2) {
      for (const auto& [key, record] : disk_->records) {
        if (random_.OneIn(5)) disk_->trees.Lose(record.outputs[0].tree_root);
      }
    }
  }

  Random random_;
  Tally& tally_;
  Project project_;
  std::shared_ptr<FakeDisk> disk_ = std::make_shared<FakeDisk>();
  std::map<std::string, StepKey> key_of_;
  std::map<StepKey, std::string> declared_of_;
};

TEST(Torture, CachedEqualsUncachedAndNothingRunsNeedlessly) {
  const auto cases = static_cast<size_t>(FromEnvironment("VARVE_TORTURE_CASES", 10'000));
  const auto first = static_cast<unsigned long>(FromEnvironment("VARVE_TORTURE_SEED", 1));
  Tally tally;
  unsigned long seed = first;
  for (; tally.cases < cases; ++seed) {
    SCOPED_TRACE("VARVE_TORTURE_SEED=" + std::to_string(seed));
    Life life(seed, tally);
    for (int round = 0; round < 10; ++round) life.Round();
    if (::testing::Test::HasFailure()) {
      FAIL() << "again: VARVE_TORTURE_SEED=" << seed << " VARVE_TORTURE_CASES=1";
    }
  }
  std::cout << fmt::format(
      "seeds {}..{}: {} cases, of which {} fail as they must; {} steps ran, {} hit, {} ran needlessly\n", first,
      seed - 1, tally.cases, tally.failing, tally.runs, tally.hits, tally.needless);
  EXPECT_EQ(tally.needless, 0u);
  EXPECT_GT(tally.hits, tally.runs / 4) << "the cases hardly use the cache";
}

}  // namespace
}  // namespace varve::engine
