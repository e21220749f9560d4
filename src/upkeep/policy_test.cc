#include "upkeep/policy.h"

#include <gtest/gtest.h>

namespace varve::upkeep {
namespace {

constexpr uint64_t kGB = 1'000'000'000;
const DiskSpace kDisk{.total = 50 * kGB, .free = 20 * kGB};

TEST(Policy, SizesAreBytesUnitsOrAShareOfTheDisk) {
  EXPECT_EQ(ParseSize("512MB", kDisk).value(), 512u << 20);
  EXPECT_EQ(ParseSize("1000", kDisk).value(), 1000u);
  EXPECT_EQ(ParseSize("10%", kDisk).value(), 5 * kGB);
  EXPECT_FALSE(ParseSize("110%", kDisk));
  EXPECT_FALSE(ParseSize("much", kDisk));
}

// The table is BuildKit's calculateKeepBytes, case by case.
TEST(Policy, BytesToKeepAreWhatBuildKitKeeps) {
  EXPECT_EQ(BytesToKeep({}, 100, 10), std::nullopt);
  EXPECT_EQ(BytesToKeep({.max_used = 60}, 100, 10), 60u);
  EXPECT_EQ(BytesToKeep({.min_free = 30}, 100, 10), 80u) << "20 are missing";
  EXPECT_EQ(BytesToKeep({.min_free = 5}, 100, 10), 100u) << "there is room";
  EXPECT_EQ(BytesToKeep({.max_used = 90, .min_free = 30}, 100, 10), 80u);
  EXPECT_EQ(BytesToKeep({.reserved = 85, .max_used = 90, .min_free = 30}, 100, 10), 85u);
  EXPECT_EQ(BytesToKeep({.reserved = 40}, 100, 10), 40u);
  EXPECT_EQ(BytesToKeep({.min_free = 500}, 100, 10), 0u);
}

TEST(Policy, DefaultsAreSharesOfTheDisk) {
  PolicyFile file = ParsePolicies("{}", kDisk).value();
  ASSERT_EQ(file.policies.size(), 3u);
  EXPECT_TRUE(file.enabled);
  EXPECT_EQ(file.policies[0].keep_duration, Nanos(std::chrono::hours(24 * 60)));
  EXPECT_EQ(file.policies[1].limits.reserved, 5 * kGB);
  EXPECT_EQ(file.policies[1].limits.max_used, 40 * kGB);
  EXPECT_EQ(file.policies[1].limits.min_free, 10 * kGB);
  EXPECT_TRUE(file.policies[2].all);
  EXPECT_EQ(file.policies[1].name, "gc policy 2 (maxUsedSpace 40.0 GB, minFreeSpace 10.0 GB, reservedSpace 5.00 GB)");
}

TEST(Policy, FileHasBuildKitsMembers) {
  PolicyFile file = ParsePolicies(R"({"gc": true, "gcpolicy": [
      {"filters": ["type==exec.cachemount", "type==source.local"], "keepDuration": "48h",
       "maxUsedSpace": "512MB"},
      {"all": true, "keepDuration": 3600, "reservedSpace": "10%", "minFreeSpace": 1000}]})",
                                  kDisk)
                        .value();
  ASSERT_EQ(file.policies.size(), 2u);
  EXPECT_EQ(file.policies[0].limits.max_used, 512u << 20);
  EXPECT_EQ(file.policies[0].keep_duration, Nanos(std::chrono::hours(48)));
  EXPECT_FALSE(file.policies[0].filter.empty());
  EXPECT_TRUE(file.policies[1].all);
  EXPECT_EQ(file.policies[1].keep_duration, Nanos(std::chrono::hours(1)));
  EXPECT_EQ(file.policies[1].limits.reserved, 5 * kGB);
  EXPECT_FALSE(ParsePolicies(R"({"gc": false})", kDisk)->enabled);
}

TEST(Policy, UnknownMembersAndBadValuesAreErrors) {
  for (const char* text :
       {R"({"maxUsed": 1})", R"({"gcpolicy": [{"keep": 1}]})", R"({"gcpolicy": 1})", R"({"maxUsedSpace": "lots"})",
        R"({"gc": 1})", "[]", "{", R"({"gcpolicy": [{"filters": ["color=red"]}]})"}) {
    EXPECT_FALSE(ParsePolicies(text, kDisk)) << text;
  }
}

}  // namespace
}  // namespace varve::upkeep
