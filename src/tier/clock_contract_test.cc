// Exporters whose clocks are wrong, against every storage.
#include <gmock/gmock.h>

#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using namespace testing;

constexpr int64_t kDay = int64_t{86'400} * 1'000'000'000;

// More exports than there may be groups, so that groups are replaced and blobs dropped under each clock.
TEST_P(TierContract, ClocksThatAreADayApartLoseNothing) {
  const Timestamp now = place_->clock().Now();
  std::vector<std::string> names;
  for (int i = 0; i < 2 * static_cast<int>(kMaxGroups) + 2; ++i) {
    place_->clock().Set({now.nanos + (i % 3 - 1) * kDay});
    names.push_back("step " + std::to_string(i));
    Status exported = Export(OfferOf({names.back()}));
    ASSERT_TRUE(exported) << exported.error().message;
  }
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  EXPECT_EQ(Found(names), all);
  auto tier = place_->Open();
  for (const std::string& name : names) {
    StringWriter out;
    Status fetched = tier->Fetch(BlobIn(*tier, name), out, {});
    ASSERT_TRUE(fetched) << name << ": " << fetched.error().message;
    EXPECT_EQ(out.text, BlobOf(LayerOf(name)));
  }
}

}  // namespace
}  // namespace varve::tier
