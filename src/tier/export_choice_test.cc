#include "tier/export_choice.h"

#include <gmock/gmock.h>

namespace varve::tier {
namespace {

constexpr uint64_t kMega = 1'000'000;

DiffId Layer(const std::string& name) { return DiffId(Digest::Of(name)); }

// A step on the stack of layers, the last of which it made.
Offer::Record Step(const std::vector<std::string>& stack, uint64_t bytes, double seconds) {
  cache::StepRecord record;
  std::vector<DiffId> layers;
  for (const std::string& name : stack) layers.push_back(Layer(name));
  record.outputs = {{layers, {}}};
  record.new_bytes = bytes;
  record.wall = Nanos(static_cast<int64_t>(seconds * 1e9));
  record.key = StepKey(Digest::Of("key " + stack.back()));
  return {record, true};
}

std::set<DiffId> Set(const std::vector<std::string>& names) {
  std::set<DiffId> set;
  for (const std::string& name : names) set.insert(Layer(name));
  return set;
}

// In the order of `values`.
std::string Names(const std::vector<LayerValue>& values, const std::vector<std::string>& known) {
  std::string text;
  for (const LayerValue& value : values) {
    for (const std::string& name : known) text += value.layer == Layer(name) ? name : "";
  }
  return text;
}

const Timestamp kNow{1'700'000'000'000'000'000};

TEST(ExportChoice, SecondsPerByteGoFirst) {
  std::vector<Offer::Record> records = {Step({"a"}, 100 * kMega, 1), Step({"b"}, kMega, 60), Step({"c"}, kMega, 5)};
  EXPECT_EQ(Names(ByValue(records, Set({"a", "b", "c"}), kNow), {"a", "b", "c"}), "bca");
}

TEST(ExportChoice, ALayerComesAfterThoseBelowIt) {
  // The dear one stands on a cheap one that is large.
  std::vector<Offer::Record> records = {Step({"a"}, 100 * kMega, 0.1), Step({"a", "b"}, kMega, 600),
                                        Step({"c"}, 10 * kMega, 1)};
  auto values = ByValue(records, Set({"a", "b", "c"}), kNow);
  EXPECT_EQ(Names(values, {"a", "b", "c"}), "abc");
  EXPECT_EQ(values[1].below, Layer("a"));
}

TEST(ExportChoice, LayersOfBaseImagesAreNotWeighed) {
  auto values = ByValue({Step({"base", "a"}, kMega, 1)}, Set({"a"}), kNow);
  ASSERT_EQ(values.size(), 1u);
  EXPECT_FALSE(values[0].below);
  EXPECT_EQ(values[0].seconds, 1);
}

TEST(ExportChoice, AStepThatAddedNothingGivesNoValue) {
  // Its stack ends with a layer of the base image.
  auto values = ByValue({Step({"a"}, kMega, 1), Step({"a", "base"}, 0, 900)}, Set({"a"}), kNow);
  ASSERT_EQ(values.size(), 1u);
  EXPECT_EQ(values[0].seconds, 1);
}

TEST(ExportChoice, EveryLayerIsThereOnce) {
  std::vector<Offer::Record> records = {Step({"a"}, kMega, 1), Step({"a", "b"}, kMega, 1),
                                        Step({"a", "b", "c"}, kMega, 1), Step({"a", "d"}, kMega, 1)};
  EXPECT_EQ(ByValue(records, Set({"a", "b", "c", "d"}), kNow).size(), 4u);
}

constexpr Rates kTenMegabytes{.up = 10e6, .down = 10e6, .latency = 0};

std::set<DiffId> Worth(const std::vector<Offer::Record>& records, const std::vector<std::string>& offered,
                       const std::vector<std::string>& there = {}, const Rates& rates = kTenMegabytes) {
  return WorthMoving(ByValue(records, Set(offered), kNow), Set(there), rates);
}

TEST(ExportChoice, AutoSendsWhatTakesLongerToMakeThanToMoveTwice) {
  // 100 MB take 10 s each way.
  EXPECT_EQ(Worth({Step({"a"}, 100 * kMega, 21)}, {"a"}), Set({"a"}));
  EXPECT_EQ(Worth({Step({"a"}, 100 * kMega, 19)}, {"a"}), Set({}));
}

TEST(ExportChoice, AutoGoesByTheMeasuredRates) {
  std::vector<Offer::Record> records = {Step({"a"}, 100 * kMega, 5)};
  EXPECT_EQ(Worth(records, {"a"}, {}, {.up = 100e6, .down = 100e6, .latency = 0}), Set({"a"}));
  EXPECT_EQ(Worth(records, {"a"}, {}, {.up = 100e6, .down = 100e6, .latency = 2}), Set({}));
  EXPECT_EQ(Worth(records, {"a"}, {}, {.up = 20e6, .down = 100e6, .latency = 0}), Set({}));
  EXPECT_EQ(Worth(records, {"a"}, {}, {.up = 100e6, .down = 20e6, .latency = 0}), Set({}));
}

TEST(ExportChoice, AutoSendsACheapLayerBelowADearOne) {
  EXPECT_EQ(Worth({Step({"a"}, 100 * kMega, 0), Step({"a", "b"}, kMega, 60)}, {"a", "b"}), Set({"a", "b"}));
  // Not when both together do not pay.
  EXPECT_EQ(Worth({Step({"a"}, 100 * kMega, 0), Step({"a", "b"}, kMega, 15)}, {"a", "b"}), Set({}));
  // What is there already costs nothing.
  EXPECT_EQ(Worth({Step({"a"}, 100 * kMega, 0), Step({"a", "b"}, kMega, 15)}, {"a", "b"}, {"a"}).count(Layer("b")), 1u);
}

TEST(ExportChoice, AutoLeavesOutWhatIsCheapOnTopOfTheDear) {
  EXPECT_EQ(Worth({Step({"a"}, kMega, 60), Step({"a", "b"}, 100 * kMega, 1)}, {"a", "b"}), Set({"a"}));
}

}  // namespace
}  // namespace varve::tier
