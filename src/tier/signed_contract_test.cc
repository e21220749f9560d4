// The contract of signed tiers, run against every storage: whoever can write to the place, but has no
// key, cannot make a reader take what he wrote.
#include <functional>

#include "tier/signing.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using ::testing::HasSubstr;
using namespace testing;

struct Keys {
  SigningKey mine = *SigningKey::Generate(), others = *SigningKey::Generate();
  PackedOptions sign{.sign = std::make_shared<SigningKey>(mine)};
  PackedOptions sign_otherwise{.sign = std::make_shared<SigningKey>(others)};
  PackedOptions verify{.verify = std::make_shared<VerifyKeys>(mine.verify_keys())};
};

TEST_P(TierContract, OnlyWhatTheKeySignedIsRead) {
  Keys keys;
  ASSERT_TRUE(Export(OfferOf({"a"}), keys.sign));
  Offer forged = OfferOf({"b"});
  forged.records[0].record.trace = cache::StepTrace{.weak_key = Digest::Of("weak"), .reads = {"b"}};
  ASSERT_TRUE(Export(forged, keys.sign_otherwise));
  ASSERT_TRUE(Export(OfferOf({"c"})));
  EXPECT_EQ(Found({"a", "b", "c", "d"}), "a b c") << "without a key all are trusted";
  auto tier = place_->Open(keys.verify);
  auto records = tier->GetMany({Key("a"), Key("b"), Key("c"), Key("d")}, trees_, {});
  ASSERT_TRUE(records) << records.error().message;
  EXPECT_TRUE((*records)[0]);
  EXPECT_FALSE((*records)[1]);
  EXPECT_FALSE((*records)[2]);
  EXPECT_EQ(tier->traffic().refused, 2u);
  EXPECT_THAT(*tier->WhyRefused(Key("b")), HasSubstr("signed by another key"));
  EXPECT_EQ(*tier->WhyRefused(Key("c")), "it is not signed");
  EXPECT_FALSE(tier->WhyRefused(Key("d"))) << "absent is not refused";
  StringWriter out;
  ASSERT_TRUE(tier->Fetch(BlobIn(*tier, "a"), out, {}));
  EXPECT_EQ(out.text, BlobOf(LayerOf("a")));
  EXPECT_FALSE(*tier->FindLayer(LayerOf("b"), {})) << "nobody vouches for the blob";
  EXPECT_TRUE(tier->Earlier("b", Digest::Of("op"), 9).empty()) << "not even in explanations";
  EXPECT_TRUE(tier->Traced(Digest::Of("weak"), 9).empty()) << "nor for other steps";
}

TEST_P(TierContract, OnlyWhoHasTheKeyDisowns) {
  Keys keys;
  const Digest weak = Digest::Of("weak");
  Offer offer = OfferOf({"a"});
  offer.records[0].record.trace = cache::StepTrace{.weak_key = weak, .reads = {"a"}};
  ASSERT_TRUE(Export(offer, keys.sign));
  auto why = [&](const PackedOptions& options) {
    auto tier = place_->Open(options);
    EXPECT_TRUE(tier->GetMany({Key("a")}, trees_, {}));
    return tier->WhyDisowned(weak);
  };
  offer.disowned = {{weak, "somebody says so"}};
  ASSERT_TRUE(Export(offer));
  EXPECT_EQ(why({}), "somebody says so") << "without a key all are trusted";
  EXPECT_FALSE(why(keys.verify));
  offer.disowned = {{weak, "it differs"}};
  ASSERT_TRUE(Export(offer, keys.sign));
  EXPECT_EQ(why(keys.verify), "it differs");
}

TEST_P(TierContract, ForgedSignaturesAreRefused) {
  Keys keys;
  ASSERT_TRUE(Export(OfferOf({"a", "b"}), keys.sign));
  const Group honest = Stored();
  ASSERT_EQ(honest.signatures.size(), 4u) << "two records, two layers";
  auto number = [&](const std::string& name) { return honest.records[0].key == Key(name) ? size_t{0} : size_t{1}; };
  const cache::StepRecord& record = honest.records[number("a")];
  const Digest statement = StatementOf(record), other = StatementOf(honest.records[number("b")]);
  struct Forgery {
    std::string what;
    std::function<void(Group&)> forge;
  };
  const Forgery forgeries[] = {
      {"none", [&](Group& group) { group.signatures.erase(statement); }},
      {"another key's", [&](Group& group) { group.signatures[statement] = {*keys.others.Sign(statement)}; }},
      {"another key's under the name of the right one",
       [&](Group& group) {
         Signature signature = *keys.others.Sign(statement);
         signature.key = keys.mine.name();
         group.signatures[statement] = {signature};
       }},
      {"that of another record", [&](Group& group) { group.signatures[statement] = honest.signatures.at(other); }},
      {"of a layer",
       [&](Group& group) { group.signatures[statement] = honest.signatures.at(StatementOf(honest.layers[0])); }},
      {"one byte short", [&](Group& group) { group.signatures[statement][0].value.pop_back(); }},
      {"that of the record before it was changed",
       [&](Group& group) {
         cache::StepRecord& changed = group.records[number("a")];
         changed.outputs[0].layers = {LayerOf("b")};
         group.signatures[StatementOf(changed)] = honest.signatures.at(statement);
       }},
  };
  auto expect_refused = [&](const std::string& what) {
    auto tier = place_->Open(keys.verify);
    auto records = tier->GetMany({Key("a"), Key("b")}, trees_, {});
    ASSERT_TRUE(records) << what << ": " << records.error().message;
    EXPECT_FALSE((*records)[0]) << what;
    EXPECT_TRUE((*records)[1]) << what;
    EXPECT_EQ(tier->traffic().refused, 1u) << what;
    EXPECT_TRUE(tier->WhyRefused(Key("a"))) << what;
  };
  for (const Forgery& forgery : forgeries) {
    Group group = honest;
    forgery.forge(group);
    ASSERT_NO_FATAL_FAILURE(Forge(group));
    expect_refused(forgery.what);
  }
  for (size_t bit : {size_t{0}, size_t{255}, size_t{256}, size_t{511}}) {
    Group group = honest;
    group.signatures[statement][0].value[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_NO_FATAL_FAILURE(Forge(group));
    expect_refused("bit " + std::to_string(bit) + " flipped");
  }
  ASSERT_NO_FATAL_FAILURE(Forge(honest));
  EXPECT_EQ(Found({"a", "b"}, keys.verify), "a b") << "what was signed can be put back";
}

TEST_P(TierContract, ABlobThatWasNotSignedIsNotTakenForALayer) {
  Keys keys;
  ASSERT_TRUE(Export(OfferOf({"a", "b"}), keys.sign));
  const Group honest = Stored();
  size_t a = honest.layers[0].layer == LayerOf("a") ? 0 : 1;
  Group group = honest;
  StoredLayer& layer = group.layers[a];
  layer.blob = honest.layers[1 - a].blob;
  group.signatures[StatementOf(layer)] = honest.signatures.at(StatementOf(honest.layers[a]));
  ASSERT_NO_FATAL_FAILURE(Forge(group));
  auto tier = place_->Open(keys.verify);
  ASSERT_TRUE((*tier->GetMany({Key("a")}, trees_, {}))[0]) << "the record is as it was signed";
  EXPECT_FALSE(*tier->FindLayer(LayerOf("a"), {}));
  EXPECT_TRUE(*tier->FindLayer(LayerOf("b"), {}));
  // Whoever has the key finds it missing too, and mends it.
  Offer again = OfferOf({"a"});
  again.records[0].fresh = true;
  ASSERT_TRUE(Export(again, keys.sign));
  auto mended = place_->Open(keys.verify);
  StringWriter out;
  ASSERT_TRUE(mended->Fetch(BlobIn(*mended, "a"), out, {}));
  EXPECT_EQ(out.text, BlobOf(LayerOf("a")));
}

TEST_P(TierContract, AMountThatWasNotSignedIsNotRestored) {
  Keys keys;
  auto offer = [&](const std::string& content, int64_t created) {
    Offer mounts = OfferOf({});
    mounts.mounts = {{.key = "/root/.npm",
                      .id = "npm",
                      .created = Timestamp{created * 1'000'000'000},
                      .write = [content](Writer& out, std::stop_token) { return out.Write(content); }}};
    return mounts;
  };
  auto read = [&](const PackedOptions& options) -> std::string {
    auto tier = place_->Open(options);
    auto blob = tier->FindMount("/root/.npm", {});
    if (!blob || !*blob) return "absent";
    StringWriter out;
    Status fetched = tier->Fetch(**blob, out, {});
    return fetched ? out.text : fetched.error().message;
  };
  ASSERT_TRUE(Export(offer("good", 1), keys.sign));
  Group honest = Stored();
  ASSERT_TRUE(Export(offer("evil", 2)));
  EXPECT_EQ(read({}), "evil");
  EXPECT_EQ(read(keys.verify), "good") << "a newer one of somebody else neither counts nor hides it";
  Group merged = honest;
  merged.mounts[0].key = "/root/.cache";
  merged.signatures[StatementOf(merged.mounts[0])] = honest.signatures.at(StatementOf(honest.mounts[0]));
  ASSERT_NO_FATAL_FAILURE(Forge(merged));
  auto tier = place_->Open(keys.verify);
  EXPECT_FALSE(*tier->FindMount("/root/.cache", {})) << "the signature is that of another mount";
}

}  // namespace
}  // namespace varve::tier
