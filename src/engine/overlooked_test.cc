// Two traced layers with a layer of another kind between them, by hand: what of the one the other hides.
#include "engine/overlooked.h"

#include <gmock/gmock.h>

#include "engine/traced_fixture.h"

namespace varve::engine {
namespace {

using tree::Dir;
using tree::File;
using tree::kAbsent;
using tree::kExists;
using tree::kList;
using tree::kStat;

struct OverlookedTest : TracedFixture {
  using Files = std::map<std::string, tree::Node>;
  using Questions = std::vector<tree::Question>;
  struct Two {
    Files lower, upper;
  };
  WeakStep On(const Two& layers) {
    return Of({Traced(Add(layers.lower)), Content(between_), Traced(Add(layers.upper))});
  }
  // Whether a run on `before` that asked this of the two stands on `after`: "stands", or why not.
  std::string Check(const Two& before, const Questions& lower, const Questions& upper, const Two& after) {
    auto trace = MakeTrace(On(before), layers_.trees, layers_, {lower, upper});
    if (!trace) return trace.error().message;
    return CheckOn(*trace, On(after));
  }
  DiffId Add(const Files& files) { return layers_.Add(std::to_string(++added_), files); }

  DiffId between_ = layers_.Add("between", {});
  int added_ = 0;
  const Files dir_ = {{"d", Dir()}};
};

// --- A lower directory -------------------------------------------------------------------------------

TEST_F(OverlookedTest, ALowerDirectoryMayLookDifferentComeAndGo) {
  EXPECT_EQ(Check({dir_, dir_}, {{"d", kExists}}, {{"d", kStat}}, {{{"d", Dir(0700)}}, dir_}), "stands");
  EXPECT_EQ(Check({dir_, dir_}, {{"d", kExists}}, {{"d", kStat}}, {{}, dir_}), "stands");
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat}}, {{{"d", Dir(0700)}}, dir_}), "stands");
}

// Overlayfs goes no deeper than that.
TEST_F(OverlookedTest, ALowerDirectoryMayNotBecomeAFile) {
  EXPECT_EQ(Check({dir_, dir_}, {{"d", kExists}}, {{"d", kStat}}, {{{"d", File("1")}}, dir_}), "d: its type changed");
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat}}, {{{"d", File("1")}}, dir_}), "d: is there now");
}

TEST_F(OverlookedTest, ALowerDirectoryIsSeenWhereTheUpperOneWentToo) {
  EXPECT_EQ(Check({dir_, dir_}, {{"d", kExists}}, {{"d", kExists}}, {{{"d", Dir(0700)}}, {}}), "d: mode 755 → 700");
  EXPECT_EQ(Check({dir_, {}}, {{"d", kStat}}, {{"d", kAbsent}}, {{{"d", Dir(0700)}}, {}}), "d: mode 755 → 700");
}

TEST_F(OverlookedTest, WhatWasLookedUpMayNotComeWithALowerDirectory) {
  const Files brought = {{"d", Dir()}, {"d/f", File("1")}};
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat}}, {brought, dir_}), "stands") << "nobody asked for d/f";
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat}, {"d/f", kAbsent}}, {brought, dir_}), "d: is there now");
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat}, {"d/e", kAbsent}}, {brought, dir_}), "stands");
}

TEST_F(OverlookedTest, ALowerDirectoryThatComesBringsNamesToAListing) {
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat | kList}}, {{{"d", Dir()}, {"d/f", File("1")}}, dir_}),
            "d: is there now");
  EXPECT_EQ(Check({{}, dir_}, {{"d", kAbsent}}, {{"d", kStat | kList}}, {dir_, dir_}), "stands");
}

TEST_F(OverlookedTest, NamesMayNotGoFromAListing) {
  const Files listed = {{"d", Dir()}, {"d/f", File("1")}};
  EXPECT_EQ(Check({listed, dir_}, {{"d", kExists | kList}}, {{"d", kStat | kList}}, {{}, dir_}), "d: is gone");
  EXPECT_EQ(Check({listed, dir_}, {{"d", kExists | kList}}, {{"d", kStat | kList}}, {dir_, dir_}),
            "d: other names are in it");
  EXPECT_EQ(Check({listed, dir_}, {{"d", kExists}, {"d/f", kStat}}, {{"d", kStat}, {"d/f", kAbsent}}, {{}, dir_}),
            "d/f: is gone");
}

// --- An upper directory that comes ---------------------------------------------------------------------

struct UpperOverlooked : OverlookedTest {
  // Comes above a lower d that was asked this.
  std::string Comes(const Files& upper, const Questions& lower = {{"d", kStat}}) {
    return Check({dir_, {}}, lower, {{"d", kAbsent}}, {dir_, upper});
  }
};

TEST_F(UpperOverlooked, MayComeWithWhatNobodyLookedUp) {
  const Files brought = {{"d", Dir()}, {"d/f", File("1")}};
  EXPECT_EQ(Comes(dir_), "stands");
  EXPECT_EQ(Comes(brought), "stands");
  EXPECT_EQ(Comes(brought, {{"d", kStat}, {"d/f", kAbsent}}), "d: is there now");
  EXPECT_EQ(Comes(brought, {{"d", kStat | kList}}), "d: is there now");
}

TEST_F(UpperOverlooked, MustLookAsTheOneDid) {
  EXPECT_EQ(Comes({{"d", Dir(0700)}}), "d: is there now");
  auto marked = Dir();
  marked.uid = 7;
  EXPECT_EQ(Comes({{"d", marked}}), "d: is there now");
}

// The step saw its mode; the layer between is asked natively.
TEST_F(UpperOverlooked, MustLookAsTheLayerBetweenDoes) {
  between_ = layers_.Add("between, 700", {{"d", Dir(0700)}});
  EXPECT_EQ(Comes({{"d", Dir()}}), "d: is there now");
  EXPECT_EQ(Comes({{"d", Dir(0700)}}), "stands");
}

// What that has is found there, and what it removes too: nobody asked the lower layer then.
TEST_F(UpperOverlooked, MayBringNothingThatTheLayerBetweenHasOrRemoves) {
  const Files brought = {{"d", Dir()}, {"d/f", File("1")}};
  between_ = layers_.Add("between, with f", {{"d", Dir()}, {"d/f", File("2")}});
  EXPECT_EQ(Comes(brought), "d: is there now");
  between_ = layers_.Add("between, with g", {{"d", Dir()}, {"d/g", File("2")}});
  EXPECT_EQ(Comes(brought), "stands");
  between_ = layers_.AddRemoving("between, without f");
  EXPECT_EQ(Comes(brought), "d: is there now");
}

TEST_F(UpperOverlooked, MayNotComeWhereNobodyWatches) {
  EXPECT_EQ(Check({{}, {}}, {{"d", kAbsent}}, {{"d", kAbsent}}, {{}, dir_}), "d: is there now");
  EXPECT_EQ(Check({dir_, {}}, {}, {{"d", kAbsent}}, {dir_, dir_}), "d: is there now");
}

}  // namespace
}  // namespace varve::engine
