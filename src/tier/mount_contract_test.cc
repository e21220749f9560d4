// The contract of tiers: cache mounts, which are chunks everywhere.
#include <gmock/gmock.h>

#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using namespace testing;

Offer OfferOfMount(const std::string& content, int64_t created) {
  Offer offer = testing::OfferOf({});
  offer.mounts = {{.key = "/root/.npm",
                   .id = "npm",
                   .created = Timestamp{created * 1'000'000'000},
                   .write = [content](Writer& out, std::stop_token) { return out.Write(content); }}};
  return offer;
}

std::string ReadMount(Tier& tier) {
  auto blob = tier.FindMount("/root/.npm", {});
  if (!blob) return blob.error().message;
  if (!*blob) return "absent";
  StringWriter out;
  Status fetched = tier.Fetch(**blob, out, {});
  if (fetched) return out.text;
  const Code code = fetched.error().code;
  return code == Code::kNotFound || code == Code::kCorrupt ? "gone" : fetched.error().message;
}

TEST_P(TierContract, TheNewestContentOfAMountIsRead) {
  const std::string first = BlobOf(LayerOf("first")), second = first + BlobOf(LayerOf("second"));
  EXPECT_EQ(ReadMount(*place_->Open()), "absent");
  ASSERT_TRUE(Export(OfferOfMount(first, 1)));
  EXPECT_TRUE(ReadMount(*place_->Open()) == first);
  auto unchanged = place_->Open();
  ASSERT_TRUE(unchanged->Export(OfferOfMount(first, 2), nullptr, {}));
  EXPECT_EQ(unchanged->traffic().bytes_written, 0u);
  ASSERT_TRUE(Export(OfferOfMount(second, 3)));
  ASSERT_TRUE(Export(OfferOfMount("older", 2)));
  EXPECT_TRUE(ReadMount(*place_->Open()) == second);
}

TEST_P(TierContract, AMountWhosePackIsGoneIsSentAgain) {
  const std::string content = BlobOf(LayerOf("content"));
  ASSERT_TRUE(Export(OfferOfMount(content, 1)));
  place_->Remove(Stored().mounts.at(0).tar.packs.at(0).digest);
  EXPECT_EQ(ReadMount(*place_->Open()), "gone");
  auto again = place_->Open();
  ASSERT_TRUE(again->Export(OfferOfMount(content, 2), nullptr, {}));
  EXPECT_GT(again->traffic().bytes_written, content.size() / 2);
  if (!place_->Overwrites()) return;
  EXPECT_TRUE(ReadMount(*place_->Open()) == content);
}

}  // namespace
}  // namespace varve::tier
