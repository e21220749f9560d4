// Weak keys and traces by hand: which layers a step is traced on, and which runs stand for which.
#include "engine/replay.h"

#include <gmock/gmock.h>

#include "engine/fake_world.h"
#include "engine/traced_fixture.h"

namespace varve::engine {
namespace {

using tree::Dir;
using tree::kAbsent;
using tree::kStat;

struct WeakKey : TracedFixture {
  const DiffId one_ = layers_.Add("one", {{"f", tree::File("1")}});
  const DiffId other_ = layers_.Add("other", {{"f", tree::File("2")}});
};

TEST_F(WeakKey, HoldsNothingOfATracedLayerAndAllOfOthers) {
  EXPECT_EQ(Of({Traced(one_)}).key, Of({Traced(other_)}).key);
  EXPECT_NE(Of({Content(one_)}).key, Of({Content(other_)}).key);
  EXPECT_NE(Of({Traced(one_)}).key, Of({Traced(one_), Content(other_)}).key);
}

// Where no file has extended attributes, the kernel is told so once and asks for none.
TEST_F(WeakKey, OfALayerWithExtendedAttributesIsAnother) {
  auto file = tree::File("1");
  file.xattrs = {{"user.x", "1"}};
  EXPECT_NE(Of({Traced(layers_.Add("marked", {{"f", file}}))}).key, Of({Traced(one_)}).key);
}

// With --strict-mtime.
TEST_F(WeakKey, OfStrictStepsHoldsLayersByTheirTimes) {
  EXPECT_NE(Of({Traced(one_)}, true).key, Of({Traced(one_)}).key);
  EXPECT_EQ(Of({Traced(one_)}, true).key, Of({Traced(other_)}, true).key);
  // Equal but for times.
  DiffId again = layers_.Add("one, made again", {{"f", tree::File("1")}});
  EXPECT_EQ(Of({Content(one_)}).key, Of({Content(again)}).key);
  EXPECT_NE(Of({Content(one_)}, true).key, Of({Content(again)}, true).key);
}

// With --semantic-manifests.
TEST_F(WeakKey, OfPackageFilesHoldsWhatTheyInstall) {
  auto packages = [](const DiffId& layer) { return LayerBelow{layer, LayerBelow::Kind::kTraced, true}; };
  PackageLayer installs{.digest = Digest::Of("a 1.0"), .files = {"package.json"}};
  layers_.packages = {{one_, installs}, {other_, installs}};
  EXPECT_EQ(Of({packages(one_)}).key, Of({packages(other_)}).key);
  EXPECT_NE(Of({packages(one_)}).key, Of({Traced(one_)}).key);
  EXPECT_EQ(Of({packages(one_)}).packages, std::vector<std::string>{"package.json"});
  layers_.packages[other_].digest = Digest::Of("a 2.0");
  EXPECT_NE(Of({packages(one_)}).key, Of({packages(other_)}).key);
  EXPECT_NE(Of({packages(one_)}, true).key, Of({packages(one_)}).key) << "not with --strict-mtime";
  // A layer that was refused counts as it did without the switch, and says why.
  layers_.packages[one_] = {.digest = {}, .files = {}, .refused = "it runs scripts"};
  EXPECT_EQ(Of({packages(one_)}).key, Of({Traced(one_)}).key);
  EXPECT_EQ(Of({packages(one_)}).refused, std::vector<std::string>{"it runs scripts"});
}

struct Traces : WeakKey {
  // "stands", or the first path and its difference.
  std::string Check(const cache::StepTrace& trace, const DiffId& layer, bool strict_mtime) {
    return CheckOn(trace, Of({Traced(layer)}, strict_mtime));
  }
  cache::StepTrace Make(const DiffId& layer, const std::vector<tree::Question>& asked, bool strict_mtime) {
    auto trace = MakeTrace(Of({Traced(layer)}, strict_mtime), layers_.trees, layers_, {asked});
    EXPECT_TRUE(trace) << trace.error().message;
    return trace.value_or(cache::StepTrace());
  }
  const std::vector<tree::Question> stats_ = {{"d", kStat}, {"d/f", kStat}, {"none", kAbsent}};
  const DiffId with_ = layers_.Add("with", {{"d", Dir()}, {"d/f", tree::File("1")}, {"d/g", tree::File("1")}});
};

TEST_F(Traces, StandForAStepThatIsAnsweredTheSame) {
  auto trace = Make(with_, stats_, false);
  EXPECT_EQ(Check(trace, layers_.Add("2", {{"d", Dir()}, {"d/f", tree::File("2")}}), false), "stands");
  EXPECT_EQ(Check(trace, layers_.Add("3", {{"d", Dir()}, {"d/f", tree::File("22")}}), false), "d/f: size 1 → 2");
  EXPECT_EQ(Check(trace, layers_.Add("4", {{"d", Dir()}}), false), "d/f: is gone");
}

// It is mounted once; where the two places hold different layers again, both have to answer.
TEST_F(Traces, OfOneLayerInTwoPlacesAreOfBoth) {
  WeakStep weak = Of({Traced(with_), Traced(with_)});
  ASSERT_EQ(weak.Mounted().size(), 1u);
  auto trace = MakeTrace(weak, layers_.trees, layers_, {stats_});
  ASSERT_TRUE(trace) << trace.error().message;
  DiffId more = layers_.Add("more", {{"d", Dir()}, {"d/f", tree::File("1")}, {"none", Dir()}});
  auto check = [&](const DiffId& lower, const DiffId& upper) {
    auto replay = CheckTrace(*trace, Of({Traced(lower), Traced(upper)}), layers_.trees, layers_);
    return replay && replay->stands;
  };
  EXPECT_TRUE(check(with_, with_));
  EXPECT_FALSE(check(more, with_));
  EXPECT_FALSE(check(with_, more));
}

// Layers that lie directly on each other, lowest first, as name: files.
struct Stacks : Traces {
  using Files = std::map<std::string, tree::Node>;
  WeakStep On(const std::vector<Files>& layers) {
    std::vector<LayerBelow> below;
    for (const Files& files : layers) {
      below.push_back(Traced(layers_.Add(std::to_string(++added_), files)));
      below.back().below = below_;
    }
    return Of(below);
  }
  // Whether a run on `before` that asked this of each layer stands on `after`, as Traces::Check.
  std::string Check(const std::vector<Files>& before, const std::vector<std::vector<tree::Question>>& asked,
                    const std::vector<Files>& after) {
    auto trace = MakeTrace(On(before), layers_.trees, layers_, asked);
    if (!trace) return trace.error().message;
    return CheckOn(*trace, On(after));
  }
  int added_ = 0;
  Digest below_;  // tree of what lies below all of them
};

TEST_F(Stacks, ADirectoryLooksAsItsUppermostLayerSays) {
  const std::vector<std::vector<tree::Question>> asked = {{{"d", tree::kExists}}, {{"d", kStat}}};
  EXPECT_EQ(Check({{{"d", Dir()}}, {{"d", Dir()}}}, asked, {{{"d", Dir(0700)}}, {{"d", Dir()}}}), "stands");
  EXPECT_EQ(Check({{{"d", Dir()}}, {{"d", Dir()}}}, asked, {{{"d", Dir()}}, {{"d", Dir(0700)}}}), "d: mode 755 → 700");
  EXPECT_EQ(Check({{{"d", Dir()}}, {{"d", Dir()}}}, asked, {{}, {{"d", Dir()}}}), "stands");
  EXPECT_EQ(Check({{{"d", Dir()}}, {}}, {{{"d", kStat}}, {{"d", kAbsent}}}, {{{"d", Dir()}}, {{"d", Dir(0700)}}}),
            "d: mode 755 → 700");
}

TEST_F(Stacks, AFileMayComeFromAnotherLayer) {
  const std::vector<std::vector<tree::Question>> asked = {{{"f", kStat | tree::kContent}}, {{"f", kAbsent}}};
  const Files one = {{"f", tree::File("1")}}, other = {{"f", tree::File("2")}};
  EXPECT_EQ(Check({one, {}}, asked, {{}, one}), "stands");
  EXPECT_EQ(Check({one, {}}, asked, {other, one}), "stands");
  EXPECT_EQ(Check({one, {}}, asked, {one, other}), "f: content changed");
  EXPECT_EQ(Check({one, {}}, asked, {{}, {}}), "f: is gone");
  EXPECT_EQ(Check({one, {}}, asked, {one}), "stands") << "one COPY fewer";
  EXPECT_EQ(Check({{}, {}}, {{{"f", kAbsent}}, {{"f", kAbsent}}}, {one, {}}), "f: is there now");
}

TEST_F(Stacks, NamesInADirectoryAreThoseOfAllLayers) {
  const Files lower = {{"d", Dir()}, {"d/a", tree::File("1")}}, upper = {{"d", Dir()}, {"d/b", tree::File("1")}};
  const std::vector<std::vector<tree::Question>> asked = {{{"d", tree::kExists | tree::kList}},
                                                          {{"d", kStat | tree::kList}}};
  Files more = lower;
  more["d/b"] = Dir();
  EXPECT_EQ(Check({lower, upper}, asked, {more, upper}), "stands");
  more["d/c"] = Dir();
  EXPECT_EQ(Check({lower, upper}, asked, {more, upper}), "d: other names are in it");
}

// A file between two directories keeps the lower one, of the image, from being merged.
TEST_F(Stacks, AFileThatADirectoryCoversIsSeenByWhatIsBelow) {
  const std::vector<std::vector<tree::Question>> asked = {{{"d", tree::kExists}}, {{"d", kStat}}};
  const Files file = {{"d", tree::File("1")}}, directory = {{"d", Dir()}};
  EXPECT_EQ(Check({file, directory}, asked, {file, directory}), "stands");
  EXPECT_EQ(Check({file, directory}, asked, {{}, directory}), "d: its type changed");
  EXPECT_EQ(Check({{}, directory}, {{{"d", kAbsent}}, {{"d", kStat}}}, {file, directory}), "d: its type changed");
}

// Unless nothing below has a directory of that name.
TEST_F(Stacks, AFileThatADirectoryCoversIsNotSeenWhereNothingIsBelow) {
  const std::vector<std::vector<tree::Question>> asked = {{{"d", tree::kExists}}, {{"d", kStat}}};
  const Files file = {{"d", tree::File("1")}}, directory = {{"d", Dir()}};
  below_ = tree::BuildTree(layers_.trees, {{"other", Dir()}});
  EXPECT_EQ(Check({file, directory}, asked, {{}, directory}), "stands");
  below_ = tree::BuildTree(layers_.trees, {{"d", Dir()}});
  EXPECT_EQ(Check({file, directory}, asked, {{}, directory}), "d: its type changed");
}

TEST_F(Stacks, NotesOnAnotherLayerAreNotTaken) {
  EXPECT_EQ(Check({{}, {}}, {{{"f", kStat}}, {}}, {{}, {}}), "the layer and its index disagree about \"f\"");
}

// What a step made lies between: it may hide what is below it.
TEST_F(Stacks, EndAtOtherLayers) {
  DiffId made = layers_.Add("made", {{"d", Dir()}});
  EXPECT_EQ(Of({Traced(one_), Content(made), Traced(other_)}).stacks.size(), 2u);
  EXPECT_NE(Of({Traced(one_), Content(made), Traced(other_)}).key,
            Of({Traced(one_), Traced(other_), Content(made)}).key);
  EXPECT_EQ(Of({Traced(one_), Traced(other_)}, true).stacks.size(), 2u) << "with --strict-mtime";
}

TEST_F(Stacks, HaveExtendedAttributesWhereOneLayerHasThem) {
  auto file = tree::File("1");
  file.xattrs = {{"user.x", "1"}};
  auto weak = Of({Traced(one_), Traced(layers_.Add("marked", {{"f", file}}))});
  EXPECT_NE(weak.key, Of({Traced(one_), Traced(other_)}).key);
  // Then that a file of the other layer has none is an answer too, which must be asked for.
  for (const auto& layer : weak.Mounted()) EXPECT_TRUE(layer.has_xattrs);
}

TEST_F(Traces, OfStrictStepsSeeTimesOfFilesThatWereLookedAt) {
  layers_.times[with_.ToString() + "/d/f"] = 1'700'000'000'123'456'789;
  auto trace = Make(with_, stats_, true);
  DiffId again = layers_.Add("again", {{"d", Dir()}, {"d/f", tree::File("1")}, {"d/g", tree::File("1")}});
  EXPECT_EQ(Check(trace, again, true), "d/f: modification time changed");
  layers_.times[again.ToString() + "/d/f"] = 1'700'000'000'123'456'789;
  layers_.times[again.ToString() + "/d/g"] = 5;
  layers_.times[again.ToString() + "/d"] = 5;
  EXPECT_EQ(Check(trace, again, true), "stands");
  trace.times[0].pop_back();
  EXPECT_EQ(Check(trace, again, true), "a trace has the times of other files");
}

TEST_F(Traces, AreNotKeptWithMoreTimesThanAreWorthIt) {
  std::vector<tree::Question> asked;
  for (int i = 0; i < 20'001; ++i) asked.push_back({fmt::format("none{}", i), kAbsent});
  EXPECT_FALSE(MakeTrace(Of({Traced(with_)}, true), layers_.trees, layers_, {asked}));
}

struct Below : testing::Test {
  // The kinds of the layers below the last step, lowest first: "i", "c", "t"; "-": it is not traced.
  std::string Kinds(graph::StepIndex step, const std::vector<size_t>& heights, bool trace = true) {
    Plan plan(graph_, {{step}}, true);
    for (graph::StepIndex i = 0; i < heights.size(); ++i) {
      cache::Rootfs rootfs;
      for (size_t n = 0; n < heights[i]; ++n) rootfs.layers.push_back(DiffId(Digest::Of(std::to_string(n))));
      bool image = std::holds_alternative<graph::ImageSource>(graph_.steps[i].op);
      if (graph::IsSource(graph_.steps[i].op)) {
        plan.OnPin(i, rootfs, image, true);
      } else {
        plan.OnKey(i, StepKey(Digest::Of(std::to_string(i))));
        plan.OnLookUp(i, std::vector<cache::Rootfs>{rootfs}, true);
      }
    }
    auto below = LayersBelow(graph_, plan, step, trace);
    if (!below) return "-";
    std::string kinds;
    for (const LayerBelow& layer : below->layers) {
      if (layer.packages) kinds += 'p';
      kinds += layer.kind == LayerBelow::Kind::kImage ? 'i' : layer.kind == LayerBelow::Kind::kTraced ? 't' : 'c';
    }
    return kinds;
  }
  graph::Exec& ExecOf(graph::StepIndex step) { return std::get<graph::Exec>(graph_.steps[step].op); }

  graph::Graph graph_;
};

TEST_F(Below, LayersOfCopiesFromTheContextAreTraced) {
  auto image = AddImage(graph_, "base"), context = AddContext(graph_);
  auto first = AddRun(graph_, "first", image);
  auto copy = AddCopy(graph_, "src", context, static_cast<int>(first));
  auto last = AddRun(graph_, "last", copy);
  EXPECT_EQ(Kinds(last, {2, 0, 3, 4}), "iict");
}

TEST_F(Below, PackageFilesCountForStepsThatOnlyInstall) {
  auto image = AddImage(graph_, "base"), context = AddContext(graph_);
  auto copy = AddCopy(graph_, "package.json", context, static_cast<int>(image));
  auto last = AddRun(graph_, "npm ci", copy);
  EXPECT_EQ(Kinds(last, {1, 0, 2}, false), "-") << "nobody asked for it";
  graph_.steps[copy].semantic = true;
  EXPECT_EQ(Kinds(last, {1, 0, 2}, false), "-") << "the step may read anything";
  graph_.steps[last].installs = "npm";
  EXPECT_EQ(Kinds(last, {1, 0, 2}, false), "ipc");
  EXPECT_EQ(Kinds(last, {1, 0, 2}), "ipt");
  graph_.steps[last].no_trace = true;
  EXPECT_EQ(Kinds(last, {1, 0, 2}), "-");
}

TEST_F(Below, ACopyOntoScratchIsTracedAndOneFromAStageIsNot) {
  auto context = AddContext(graph_);
  auto copy = AddCopy(graph_, "src", context, -1);
  auto from = AddCopy(graph_, "src", copy, static_cast<int>(copy));
  auto last = AddRun(graph_, "last", from);
  EXPECT_EQ(Kinds(last, {0, 1, 2}), "tc");
}

// Whoever sees more than the file system may have seen what changed.
TEST_F(Below, StepsWithPowersOverTheMachineAreNotTraced) {
  auto image = AddImage(graph_, "base");
  auto run = AddRun(graph_, "run", image);
  EXPECT_EQ(Kinds(run, {1}), "i");
  ExecOf(run).network = graph::NetworkMode::kHost;
  EXPECT_EQ(Kinds(run, {1}), "-");
  ExecOf(run).network = graph::NetworkMode::kNone;
  ExecOf(run).security = graph::SecurityMode::kInsecure;
  EXPECT_EQ(Kinds(run, {1}), "-");
  ExecOf(run).security = graph::SecurityMode::kSandbox;
  ExecOf(run).devices = {{.name = "vendor.com/gpu=0"}};
  EXPECT_EQ(Kinds(run, {1}), "-");
  ExecOf(run).devices.clear();
  ExecOf(run).mounts.push_back({.target = "/kept", .output = 1});
  EXPECT_EQ(Kinds(run, {1}), "-");
  ExecOf(run).mounts.pop_back();
  graph_.steps[run].no_trace = true;
  EXPECT_EQ(Kinds(run, {1}), "-");
}

}  // namespace
}  // namespace varve::engine
