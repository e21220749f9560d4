// Signed tiers: what counts, what does not, and what those without a key must not break.
#include "tier/signing.h"

#include <gmock/gmock.h>

#include "base/fd.h"
#include "sys/tempdir.h"
#include "tier/directory_storage.h"
#include "tier/shrink.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using ::testing::HasSubstr;
using namespace testing;

Group GroupOf(const std::string& name) {
  std::string bytes = BlobOf(LayerOf(name));
  return {
      .records = {RecordOf(name)},
      .layers = {{LayerOf(name),
                  {.media_type = std::string(oci::kOciLayerZstd), .digest = Digest::Of(bytes), .size = bytes.size()}}},
      .trees = {}};
}

TEST(Signing, KeysSurviveTheirText) {
  SigningKey key = *SigningKey::Generate();
  SigningKey again = *SigningKey::Parse(*key.PrivatePem());
  EXPECT_EQ(again.name(), key.name());
  VerifyKeys keys = *VerifyKeys::Parse(*key.PublicPem());
  Digest statement = Digest::Of("statement");
  Signatures signatures = {{statement, {*again.Sign(statement)}}};
  EXPECT_TRUE(keys.Signed(signatures, statement));
}

TEST(Signing, OneOfSeveralKeysIsEnough) {
  SigningKey old_key = *SigningKey::Generate(), new_key = *SigningKey::Generate();
  VerifyKeys both = *VerifyKeys::Parse(*old_key.PublicPem() + "a comment\n" + *new_key.PublicPem());
  Digest statement = Digest::Of("statement");
  EXPECT_TRUE(both.Signed({{statement, {*old_key.Sign(statement)}}}, statement));
  EXPECT_TRUE(both.Signed({{statement, {*new_key.Sign(statement)}}}, statement));
  EXPECT_FALSE(both.Signed({{statement, {*SigningKey::Generate()->Sign(statement)}}}, statement));
}

TEST(Signing, WhatIsNoKeyIsRefused) {
  SigningKey key = *SigningKey::Generate();
  EXPECT_FALSE(VerifyKeys::Parse(""));
  EXPECT_FALSE(VerifyKeys::Parse(*key.PrivatePem())) << "a private key is not for those who read";
  EXPECT_FALSE(SigningKey::Parse(*key.PublicPem()));
  EXPECT_FALSE(SigningKey::Parse("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  EXPECT_FALSE(ReadKeyText("/nonexistent/key"));
  EXPECT_FALSE(ReadKeyText("env:VARVE_TEST_NO_SUCH_KEY"));
}

TEST(Signing, ASignatureIsOfOneStatement) {
  SigningKey key = *SigningKey::Generate();
  VerifyKeys keys = key.verify_keys();
  Group group = GroupOf("a");
  ASSERT_TRUE(SignGroup(group, key));
  EXPECT_TRUE(keys.Signed(group.signatures, StatementOf(group.records[0])));

  // Every part of a record is covered, its layers above all.
  cache::StepRecord changed = group.records[0];
  changed.outputs[0].layers[0] = LayerOf("evil");
  EXPECT_FALSE(keys.Signed(group.signatures, StatementOf(changed)));
  changed = group.records[0];
  changed.outputs[0].tree_root = Digest::Of("evil");
  EXPECT_FALSE(keys.Signed(group.signatures, StatementOf(changed)));
  // The blob that holds a layer is covered, and how it is unpacked.
  StoredLayer layer = group.layers[0];
  layer.blob.digest = Digest::Of("evil");
  EXPECT_FALSE(keys.Signed(group.signatures, StatementOf(layer)));
  layer = group.layers[0];
  layer.blob.media_type = std::string(oci::kOciLayerGzip);
  EXPECT_FALSE(keys.Signed(group.signatures, StatementOf(layer)));

  // Signatures that are moved under another statement are of another message.
  Digest other = StatementOf(changed);
  EXPECT_FALSE(keys.Signed({{other, group.signatures[StatementOf(group.records[0])]}}, other));
  EXPECT_EQ(keys.WhyNot({{other, group.signatures[StatementOf(group.records[0])]}}, other), "its signature is wrong");
  EXPECT_EQ(keys.WhyNot({}, other), "it is not signed");
  Signatures foreign = {{other, {*SigningKey::Generate()->Sign(other)}}};
  EXPECT_THAT(keys.WhyNot(foreign, other), HasSubstr("signed by another key"));
}

TEST(Signing, ARecordIsSignedAsItTravels) {
  SigningKey key = *SigningKey::Generate();
  Group group = GroupOf("a");
  group.records[0].log = "stays at home";
  group.records[0].unknown = R"({"later":1})";
  ASSERT_TRUE(SignGroup(group, key));
  Group read = *DecodeGroup(*EncodeGroup(group));
  EXPECT_TRUE(key.verify_keys().Signed(read.signatures, StatementOf(read.records[0])));
}

TEST(Signing, MergingKeepsWhatEachSignerSaid) {
  SigningKey key = *SigningKey::Generate();
  Group own = GroupOf("a"), foreign = GroupOf("a");
  ASSERT_TRUE(SignGroup(own, key));
  foreign.records[0].created = Timestamp{99'000'000'000};
  foreign.layers[0].blob.digest = Digest::Of("another blob");
  for (const auto& groups : {std::vector{own, foreign}, std::vector{foreign, own}}) {
    Group merged = *DecodeGroup(*EncodeGroup(MergeGroups(groups)));
    ASSERT_EQ(merged.records.size(), 2u);
    ASSERT_EQ(merged.layers.size(), 2u);
    auto is_signed = [&](const auto& item) { return key.verify_keys().Signed(merged.signatures, StatementOf(item)); };
    EXPECT_EQ(std::ranges::count_if(merged.records, is_signed), 1);
    EXPECT_EQ(std::ranges::count_if(merged.layers, is_signed), 1);
    // Both blobs of the layer go when it goes.
    Shrink(merged, 1, Timestamp{100'000'000'000}, {});
    EXPECT_TRUE(merged.layers.empty());
  }
}

// A directory that signers and others share.
class SignedTier : public ::testing::Test {
 protected:
  std::unique_ptr<Tier> Open(const SigningKey* sign, const SigningKey* verify) {
    PackedOptions options;
    if (sign != nullptr) options.sign = std::make_shared<SigningKey>(*sign);
    if (verify != nullptr) options.verify = std::make_shared<VerifyKeys>(verify->verify_keys());
    return MakePackedTier(MakeDirectoryStorage({.path = directory_.path() + "/cache"}), options, clock_);
  }
  Status Export(const SigningKey* sign, const Offer& offer) { return Open(sign, nullptr)->Export(offer, nullptr, {}); }
  // "a" found, "-" not; then how many were refused.
  std::string Found(const SigningKey* verify, const std::vector<std::string>& names) {
    auto tier = Open(nullptr, verify);
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(Key(name));
    auto records = tier->GetMany(keys, trees_, {});
    if (!records) return records.error().message;
    std::string found;
    for (size_t i = 0; i < names.size(); ++i) found += (*records)[i] ? names[i] : "-";
    return fmt::format("{} {}", found, tier->traffic().refused);
  }

  sys::TempDir directory_ = *sys::TempDir::Create(::testing::TempDir(), "signed-");
  FakeClock clock_;
  tree::MemoryTreeStore trees_;
  SigningKey mine_ = *SigningKey::Generate(), others_ = *SigningKey::Generate();
};

TEST_F(SignedTier, OnlyWhatTheKeySignedIsRead) {
  ASSERT_TRUE(Export(&mine_, OfferOf({"a"})));
  ASSERT_TRUE(Export(&others_, OfferOf({"b"})));
  ASSERT_TRUE(Export(nullptr, OfferOf({"c"})));
  EXPECT_EQ(Found(&mine_, {"a", "b", "c", "d"}), "a--- 2");
  EXPECT_EQ(Found(nullptr, {"a", "b", "c", "d"}), "abc- 0") << "without a key all are trusted";
  auto tier = Open(nullptr, &mine_);
  ASSERT_TRUE(tier->GetMany({Key("a")}, trees_, {}));
  EXPECT_FALSE(tier->WhyRefused(Key("a")));
  EXPECT_THAT(*tier->WhyRefused(Key("b")), HasSubstr("another key"));
  EXPECT_EQ(*tier->WhyRefused(Key("c")), "it is not signed");
  EXPECT_FALSE(tier->WhyRefused(Key("d")));
  EXPECT_TRUE(*tier->FindLayer(LayerOf("a"), {}));
  EXPECT_FALSE(*tier->FindLayer(LayerOf("b"), {})) << "nobody vouches for the blob";
  EXPECT_TRUE(tier->Earlier("b", Digest::Of("op"), 9).empty()) << "not even in explanations";
}

TEST_F(SignedTier, ASignerSignsAnewWhatOthersAdded) {
  std::atomic<int> made = 0;
  ASSERT_TRUE(Export(nullptr, OfferOf({"a"})));
  ASSERT_TRUE(Export(&mine_, OfferOf({"a"}, &made)));
  EXPECT_EQ(made, 1) << "the layer of others was signed unseen";
  EXPECT_EQ(Found(&mine_, {"a"}), "a 0");
  auto tier = Open(&mine_, nullptr);
  ASSERT_TRUE(tier->Export(OfferOf({"a"}, &made), nullptr, {}));
  EXPECT_EQ(made, 1) << "its own it need not sign again";
  EXPECT_EQ(tier->traffic().bytes_written, 0u);
}

TEST_F(SignedTier, ANewerRecordOfOthersDoesNotHideASignedOne) {
  ASSERT_TRUE(Export(&mine_, OfferOf({"a"})));
  Offer other = OfferOf({"a"});
  other.records[0].record.outputs[0].layers = {LayerOf("evil")};
  other.records[0].record.created = Timestamp{99'000'000'000};
  other.records[0].fresh = true;
  other.layers = {LayerOf("evil")};
  ASSERT_TRUE(Export(nullptr, other));
  auto tier = Open(nullptr, &mine_);
  auto records = tier->GetMany({Key("a")}, trees_, {});
  ASSERT_TRUE(records && (*records)[0]);
  EXPECT_EQ((*records)[0]->outputs[0].layers[0], LayerOf("a"));
}

TEST_F(SignedTier, MergesByThoseWithoutAKeyKeepSignatures) {
  ASSERT_TRUE(Export(&mine_, OfferOf({"a"})));
  for (size_t i = 0; i < kMaxGroups + 2; ++i) {
    ASSERT_TRUE(Export(nullptr, OfferOf({"other " + std::to_string(i)})));
  }
  auto listed = MakeDirectoryStorage({.path = directory_.path() + "/cache"})->List({});
  ASSERT_TRUE(listed);
  EXPECT_LT(listed->size(), kMaxGroups) << "they were merged";
  EXPECT_EQ(Found(&mine_, {"a", "other 1"}), "a- 1");
}

}  // namespace
}  // namespace varve::tier
