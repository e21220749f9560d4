// Layers that are sent before the export that names them, against every storage.
#include <gmock/gmock.h>

#include <thread>

#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using namespace testing;

TEST_P(TierContract, WhatWasSentAheadIsMadeAndSentOnce) {
  std::atomic<int> made = 0;
  Offer offer = OfferOf({"a", "b"}, &made);
  auto tier = place_->Open();
  auto sent = tier->SendAhead(offer, LayerOf("a"), {});
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_TRUE(*sent);
  EXPECT_EQ(Found({"a"}), "") << "nothing names it yet";
  // Chunks are sent when a pack of them is full.
  const uint64_t ahead = tier->traffic().bytes_written;
  EXPECT_EQ(ahead > 0, !offer.chunked);
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(tier->traffic().layers_ahead, 1u);
  EXPECT_EQ(tier->traffic().bytes_ahead, ahead);
  EXPECT_EQ(Found({"a", "b"}), "a b");
  for (const char* name : {"a", "b"}) {
    StringWriter out;
    auto reader = place_->Open();
    ASSERT_TRUE(reader->Fetch(BlobIn(*reader, name), out, {}));
    EXPECT_EQ(out.text, BlobOf(LayerOf(name)));
  }
  // One export without it sends as many bytes.
  Offer others = OfferOf({"c", "d"});
  auto at_once = place_->Open();
  ASSERT_TRUE(at_once->Export(others, nullptr, {}));
  EXPECT_LE(tier->traffic().bytes_written, at_once->traffic().bytes_written + 100);
}

TEST_P(TierContract, WhatIsThereIsNotSentAhead) {
  ASSERT_TRUE(Export(OfferOf({"a"})));
  std::atomic<int> made = 0;
  auto tier = place_->Open();
  auto sent = tier->SendAhead(OfferOf({"a"}, &made), LayerOf("a"), {});
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_FALSE(*sent);
  EXPECT_EQ(tier->traffic().bytes_written, 0u);
}

TEST_P(TierContract, WhatWasSentAheadAndIsNotOfferedIsNamedByNothing) {
  auto tier = place_->Open();
  ASSERT_TRUE(tier->SendAhead(OfferOf({"a"}), LayerOf("a"), {}));
  ASSERT_TRUE(tier->Export(OfferOf({"b"}), nullptr, {}));
  EXPECT_EQ(Found({"a", "b"}), "b");
  EXPECT_FALSE(*place_->Open()->FindLayer(LayerOf("a"), {}));
}

TEST_P(TierContract, ALayerThatCannotBeMadeIsNoFailureOfTheTier) {
  Offer offer = OfferOf({"a"});
  offer.make_blob = [](const DiffId&, std::stop_token) -> Result<Offer::Blob> { return Corrupt("a bad disk"); };
  if (offer.chunked) return;  // told by the tar as it is read
  auto sent = place_->Open()->SendAhead(offer, LayerOf("a"), {});
  ASSERT_TRUE(sent) << sent.error().message;
  EXPECT_FALSE(*sent);
}

TEST_P(TierContract, SeveralAreSentAheadAtOnce) {
  std::vector<std::string> names = {"a", "b", "c", "d", "e", "f"};
  Offer offer = OfferOf(names);
  auto tier = place_->Open();
  {
    std::vector<std::jthread> threads;
    for (size_t half = 0; half < 2; ++half) {
      threads.emplace_back([&, half] {
        for (size_t i = half; i < names.size(); i += 2) {
          auto sent = tier->SendAhead(offer, LayerOf(names[i]), {});
          EXPECT_TRUE(sent && *sent);
        }
      });
    }
  }
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(tier->traffic().layers_ahead, names.size());
  EXPECT_EQ(Found(names), "a b c d e f");
}

}  // namespace
}  // namespace varve::tier
