#include "cache/retention.h"

#include <gmock/gmock.h>

#include <random>
#include <set>

namespace varve::cache {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

constexpr int64_t kDay = int64_t{24} * 3600 * 1'000'000'000;
constexpr uint64_t kMB = 1'000'000;

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() { input.now = Timestamp{1000 * kDay}; }
  Timestamp Ago(double days) { return {input.now.nanos - static_cast<int64_t>(days * static_cast<double>(kDay))}; }
  uint32_t Layer(uint64_t bytes, double made, double used, uint64_t uses) {
    input.layers.push_back({.bytes = bytes, .created = Ago(made), .last_used = Ago(used), .uses = uses});
    return static_cast<uint32_t>(input.layers.size() - 1);
  }
  uint32_t Fresh(uint64_t bytes) { return Layer(bytes, 1, 0.5, 1); }
  void Result(std::vector<uint32_t> stack, double seconds, uint32_t slot) {
    input.results.push_back({std::move(stack), slot, seconds});
  }
  std::vector<uint32_t> Order() {
    std::vector<uint32_t> out;
    for (const Eviction& block : EvictionOrder(input)) {
      out.insert(out.end(), block.layers.begin(), block.layers.end());
    }
    return out;
  }
  RetentionInput input;
};

TEST_F(RetentionTest, CheapAndLargeGoesBeforeDearAndSmall) {
  uint32_t cheap = Fresh(500 * kMB), dear = Fresh(50 * kMB);
  Result({cheap}, 2, 0);
  Result({dear}, 300, 1);
  EXPECT_THAT(Order(), ElementsAre(cheap, dear));
}

TEST_F(RetentionTest, OfEqualsTheOneUsedLongerAgoGoesFirst) {
  uint32_t recent = Layer(kMB, 10, 0.5, 3), old = Layer(kMB, 10, 8, 3);
  Result({recent}, 10, 0);
  Result({old}, 10, 1);
  EXPECT_THAT(Order(), ElementsAre(old, recent));
}

TEST_F(RetentionTest, OneOftenUsedOutlivesOneUsedLater) {
  uint32_t often = Layer(kMB, 20, 1.2, 30), once = Layer(kMB, 1, 1, 0);
  Result({often}, 10, 0);
  Result({once}, 10, 1);
  EXPECT_THAT(Order(), ElementsAre(once, often));
}

// What every push makes anew is dead when the next push comes, although it was used a moment ago.
TEST_F(RetentionTest, WhatItsSlotReplacedGoesBeforeWhatIsCurrent) {
  std::vector<uint32_t> builds;
  for (int i = 10; i >= 0; --i) {
    builds.push_back(Layer(kMB, 0.1 * i + 0.01, 0.1 * i + 0.01, 0));
    Result({builds.back()}, 60, 0);
  }
  uint32_t dependencies = Layer(30 * kMB, 20, 0.01, 40);
  Result({dependencies}, 60, 1);
  std::vector<uint32_t> order = Order();
  EXPECT_EQ(order.back(), builds.back()) << "the current one, small and just made";
  EXPECT_EQ(order[order.size() - 2], dependencies);
}

TEST_F(RetentionTest, NothingIsKeptWithoutWhatItStandsOn) {
  uint32_t base = Fresh(100 * kMB), below = Fresh(200 * kMB), above = Fresh(kMB);
  Result({base, below}, 0.1, 0);         // worth nothing by itself
  Result({base, below, above}, 500, 1);  // but this stands on it
  uint32_t other = Fresh(50 * kMB);
  Result({other}, 20, 2);
  std::vector<Eviction> order = EvictionOrder(input);
  ASSERT_EQ(order.size(), 2u);
  EXPECT_THAT(order[0].layers, ElementsAre(other));
  EXPECT_THAT(order[1].layers, ElementsAre(above, below, base)) << "together, from the top";
}

TEST_F(RetentionTest, SharedLayerGoesWithTheLastOfItsStacks) {
  uint32_t one = Fresh(100 * kMB), two = Fresh(100 * kMB), shared = Fresh(kMB);
  Result({one}, 100, 0);
  Result({two}, 1, 1);
  Result({one, shared}, 0.1, 2);
  Result({two, shared}, 0.1, 3);
  std::vector<Eviction> order = EvictionOrder(input);
  std::vector<uint32_t> all;
  for (const Eviction& block : order) {
    all.insert(all.end(), block.layers.begin(), block.layers.end());
  }
  EXPECT_THAT(all, UnorderedElementsAre(one, two, shared));
  EXPECT_EQ(all.back(), one);
}

TEST_F(RetentionTest, HeldLayersAndWhatIsBelowThemAreNotOffered) {
  uint32_t base = Fresh(kMB), held = Fresh(kMB), above = Fresh(kMB);
  input.layers[held].held = true;
  Result({base, held}, 1, 0);
  Result({base, held, above}, 1, 1);
  EXPECT_THAT(Order(), ElementsAre(above));
}

TEST_F(RetentionTest, LayersThatNoResultNamesAreOfferedToo) {
  uint32_t pulled = Layer(kMB, 30, 30, 0);
  EXPECT_THAT(Order(), ElementsAre(pulled));
}

TEST_F(RetentionTest, ResultsWithoutLayersAndNothingAtAllAreNoMatter) {
  EXPECT_TRUE(EvictionOrder(input).empty());
  Result({}, 10, 0);
  EXPECT_TRUE(EvictionOrder(input).empty());
}

// Against all ways to choose: for every prefix of the order, no other closed set of that many bytes
// or fewer is worth more.
TEST_F(RetentionTest, EveryPrefixLeavesTheMostThatItsBytesCanHold) {
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    input = {};
    input.now = Timestamp{1000 * kDay};
    std::vector<std::vector<uint32_t>> stacks;
    for (uint32_t i = 0; i < 9; ++i) {
      std::vector<uint32_t> stack;
      if (i > 0 && random() % 4 != 0) stack = stacks[random() % i];
      stack.push_back(Layer((1 + random() % 50) * kMB, 5, 1, random() % 5));
      stacks.push_back(stack);
      Result(stack, 1 + static_cast<double>(random() % 100), i);
    }
    auto worth = [&](uint32_t i) {
      const RetentionLayer& layer = input.layers[i];
      return input.results[i].seconds * ExpectedUsesPerDay({.age_days = 5,
                                                            .idle_days = 1,
                                                            .uses = static_cast<double>(layer.uses),
                                                            .slot_uses = static_cast<double>(layer.uses)});
    };
    auto value = [&](uint32_t set) {
      double sum = 0;
      for (uint32_t i = 0; i < 9; ++i) sum += (set >> i & 1) ? worth(i) : 0;
      return sum;
    };
    auto bytes = [&](uint32_t set) {
      uint64_t sum = 0;
      for (uint32_t i = 0; i < 9; ++i) sum += (set >> i & 1) ? input.layers[i].bytes + 4096 : 0;
      return sum;
    };
    auto closed = [&](uint32_t set) {
      for (uint32_t i = 0; i < 9; ++i) {
        if (!(set >> i & 1)) continue;
        for (uint32_t layer : stacks[i])
          if (!(set >> layer & 1)) return false;
      }
      return true;
    };
    uint32_t left = 0x1ff;
    for (const Eviction& block : EvictionOrder(input)) {
      for (uint32_t layer : block.layers) left &= ~(1u << layer);
      ASSERT_TRUE(closed(left));
      for (uint32_t set = 0; set < 0x200; ++set) {
        if (!closed(set) || bytes(set) > bytes(left)) continue;
        ASSERT_LE(value(set), value(left) * (1 + 1e-9)) << round;
      }
    }
    EXPECT_EQ(left, 0u);
  }
}

TEST_F(RetentionTest, ManyLayersOfOneSlotTakeNoSquareOfTheirNumber) {
  for (int i = 0; i < 50'000; ++i) {
    Result({Layer(kMB, 10, 0.0001 * i, 0)}, 1, 0);
  }
  EXPECT_EQ(Order().size(), 50'000u);
}

TEST(ExpectedUses, FallWithIdleTimeAndMissedChancesAndRiseWithUses) {
  UseHistory base{.age_days = 10, .idle_days = 1, .uses = 5, .slot_deaths = 3, .slot_uses = 10};
  double before = ExpectedUsesPerDay(base);
  auto with = [&](auto change) {
    UseHistory history = base;
    change(history);
    return ExpectedUsesPerDay(history);
  };
  EXPECT_LT(with([](UseHistory& h) { h.idle_days = 5; }), before);
  EXPECT_LT(with([](UseHistory& h) { h.missed = 1; }), before);
  EXPECT_LT(with([](UseHistory& h) { h.slot_deaths = 50; }), before);
  EXPECT_GT(with([](UseHistory& h) { h.uses = 9; }), before);
  EXPECT_GE(ExpectedUsesPerDay({.age_days = 1e5, .idle_days = 1e5, .uses = 1e4}), 0);
}

}  // namespace
}  // namespace varve::cache
