// References that name an image, a cache, something else or nothing; and records inside an image.
#include "tier/image_tier.h"

#include <gmock/gmock.h>

#include "base/hex.h"
#include "base/json.h"
#include "oci/manifest.h"
#include "tier/inline_records.h"
#include "tree/tree.h"

namespace varve::tier {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DiffId Layer(const std::string& name) { return DiffId(Digest::Of(name)); }
StepKey Key(const std::string& name) { return StepKey(Digest::Of("key " + name)); }

oci::ImageConfig ConfigWith(const std::vector<std::string>& layers) {
  oci::ImageConfig config = oci::ImageConfig::Scratch(oci::HostPlatform());
  std::vector<DiffId> ids;
  for (const std::string& layer : layers) ids.push_back(Layer(layer));
  config.set_diff_ids(ids);
  return config;
}

// A place with one image, or an error, or nothing.
class FakePlace final : public ImagePlace {
 public:
  Result<std::optional<PreviousImage>> Open(const oci::Platform&, Traffic& traffic, std::stop_token) override {
    ++asked;
    ++traffic.requests;
    if (error) return Error(*error);
    return image;
  }
  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token) override {
    return out.Write("blob " + blob.digest.ToString());
  }
  std::optional<PreviousImage> image;
  std::optional<Error> error;
  int asked = 0;
};

// A cache that says one thing to every look-up.
class FakeCache final : public Tier {
 public:
  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys, tree::TreeStore&,
                                                                std::stop_token) override {
    ++asked;
    if (error) return Error(*error);
    return std::vector<std::optional<cache::StepRecord>>(keys.size());
  }
  std::vector<cache::StepRecord> Earlier(const std::string&, const Digest&, size_t) override { return {}; }
  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId&, std::stop_token) override {
    return std::optional<oci::Descriptor>();
  }
  Result<std::optional<oci::Descriptor>> FindMount(const std::string& key, std::stop_token) override {
    if (error) return Error(*error);
    return oci::Descriptor{.digest = Digest::Of("mount " + key)};
  }
  Status Fetch(const oci::Descriptor&, Writer&, std::stop_token) override { return NotFound("no blob"); }
  Status Export(const Offer&, const OnProgress&, std::stop_token) override { return Ok(); }
  Traffic traffic() override { return {}; }
  std::vector<std::string> TakeNotices() override { return {}; }
  std::optional<Error> error;
  int asked = 0;
};

class ImageTierTest : public ::testing::Test {
 protected:
  ImageTierTest() {
    PreviousImage image{.config = ConfigWith({"a", "b"}), .layers = {}};
    image.layers = {{.digest = Digest::Of("blob a")}, {.digest = Digest::Of("blob b")}};
    one_ = std::move(image);
  }
  void Ask() { ASSERT_TRUE(tier.GetMany({Key("x")}, trees, {})); }
  Result<std::optional<PreviousImage>> Image() { return tier.Image(oci::HostPlatform(), {}); }

  PreviousImage one_;
  FakeCache* cache = new FakeCache;
  FakePlace* in_registry = new FakePlace;
  FakePlace* here = new FakePlace;
  ImageTier tier = [this] {
    std::vector<std::unique_ptr<ImagePlace>> elsewhere;
    elsewhere.emplace_back(here);
    return ImageTier(std::unique_ptr<Tier>(cache), std::unique_ptr<ImagePlace>(in_registry), std::move(elsewhere));
  }();
  tree::MemoryTreeStore trees;
};

TEST_F(ImageTierTest, WhatIsNoCacheMayBeAnImage) {
  cache->error = Invalid("what is there is no cache of varve's");
  in_registry->image = one_;
  Ask();
  Ask();
  EXPECT_EQ(cache->asked, 1);
  auto image = Image();
  ASSERT_TRUE(image && *image);
  ASSERT_TRUE(Image());
  EXPECT_EQ(in_registry->asked, 1);
  EXPECT_EQ(here->asked, 0);
  auto layer = tier.FindLayer(Layer("b"), {});
  ASSERT_TRUE(layer && *layer);
  EXPECT_EQ((*layer)->digest, Digest::Of("blob b"));
  StringWriter out;
  ASSERT_TRUE(tier.Fetch(**layer, out, {}));
  EXPECT_EQ(out.text, "blob " + Digest::Of("blob b").ToString());
  EXPECT_EQ(tier.traffic().layers, 1u);
}

TEST_F(ImageTierTest, ACacheIsNotAskedForAsAnImage) {
  in_registry->image = one_;
  Ask();
  auto image = Image();
  ASSERT_TRUE(image);
  EXPECT_FALSE(*image);
  EXPECT_EQ(in_registry->asked, 0);
}

TEST_F(ImageTierTest, CacheMountsAreTheCachesAndAnImageHasNone) {
  Ask();
  auto mount = tier.FindMount("npm", {});
  ASSERT_TRUE(mount && *mount);
  EXPECT_EQ((*mount)->digest, Digest::Of("mount npm"));

  cache->error = Invalid("it is an image");
  Ask();
  mount = tier.FindMount("npm", {});
  ASSERT_TRUE(mount) << mount.error().message;
  EXPECT_FALSE(*mount);
}

TEST_F(ImageTierTest, WhereTheRegistryHasNothingThisMachineMay) {
  here->image = one_;
  Ask();
  auto image = Image();
  EXPECT_TRUE(image && *image);
}

TEST_F(ImageTierTest, ARegistryThatIsDownIsNoReasonNotToUseTheImageHere) {
  cache->error = Unavailable("no route to host");
  here->image = one_;
  Ask();
  auto image = Image();
  EXPECT_TRUE(image && *image);
  EXPECT_EQ(in_registry->asked, 0);
}

TEST_F(ImageTierTest, WhatIsWrongIsToldWhenThereIsNoImageEither) {
  cache->error = Unavailable("no route to host");
  Ask();
  auto image = Image();
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().message, "no route to host");
}

TEST(InlineRecords, ComeBack) {
  oci::ImageConfig config = ConfigWith({"a", "b", "c"});
  const InlineRecord prefix{Key("1"), {0, 1}}, chain{Key("2"), {0, 2}}, none{Key("3"), {}};
  (void)SetInlineRecords(config, {prefix, chain, none});
  auto records = GetInlineRecords(config);
  ASSERT_TRUE(records);
  EXPECT_THAT(*records, ::testing::UnorderedElementsAre(prefix, chain, none));
}

TEST(InlineRecords, OfAStepWithSeveralOutputsSayWhatTheOthersWere) {
  oci::ImageConfig config = ConfigWith({"a"});
  const InlineRecord record{Key("1"), {0}, {{0, Digest::Of("zero")}, {2, Digest::Of("two")}}};
  ASSERT_TRUE(SetInlineRecords(config, {record}));
  EXPECT_THAT(*GetInlineRecords(config), ElementsAre(record));
  EXPECT_TRUE(IsUnkept(Unkept(Digest::Of("zero"))));
  EXPECT_FALSE(IsUnkept(Unkept(tree::EmptyTree())));  // which nobody has to bring
}

TEST(InlineRecords, DoNotDependOnTheOrderInWhichTheyWereFound) {
  oci::ImageConfig one = ConfigWith({"a"}), other = ConfigWith({"a"});
  (void)SetInlineRecords(one, {{Key("1"), {0}}, {Key("2"), {}}, {Key("1"), {0}}});
  (void)SetInlineRecords(other, {{Key("2"), {}}, {Key("1"), {0}}});
  EXPECT_EQ(one.Serialise(), other.Serialise());
}

// The bytes leave the process: other versions read them.
TEST(InlineRecords, LookLikeThis) {
  oci::ImageConfig config = ConfigWith({"a", "b"});
  (void)SetInlineRecords(config, {{StepKey(Digest::Of("k")), {0, 1}}});
  std::string text;
  ASSERT_TRUE(Base64Decode(config.document().GetString(kInlineRecords), &text));
  EXPECT_EQ(text, R"({"records":[{"key":")" + Digest::Of("k").ToString() + R"(","layers":2}]})");
}

TEST(InlineRecords, HaveTheTreesOfStepsThatOthersCopiedFrom) {
  oci::ImageConfig config = ConfigWith({"a"});
  const std::string object = tree::Encode(tree::Directory{});
  const SeenSteps::Record record{Key("1"), {Digest::Of("tree"), Digest::Of("another")}};
  ASSERT_TRUE(
      SetInlineRecords(config, {{Key("2"), {0}}}, {.records = {record}, .objects = {{Digest::Of(object), object}}}));
  EXPECT_EQ(GetInlineRecords(config)->size(), 1u);
  auto seen = GetSeenSteps(config);
  ASSERT_TRUE(seen) << seen.error().message;
  ASSERT_EQ(seen->records.size(), 1u);
  EXPECT_EQ(seen->records[0].key, record.key);
  EXPECT_EQ(seen->records[0].outputs, record.outputs);
  EXPECT_THAT(seen->objects, ElementsAre(std::pair(Digest::Of(object), object)));
  EXPECT_TRUE(IsUnkept({{UnkeptLayer(Digest::Of("tree"))}, Digest::Of("tree")}));
  EXPECT_FALSE(IsUnkept({{UnkeptLayer(Digest::Of("tree"))}, Digest::Of("another")}));
  config.document().Set(kInlineRecords, Base64Encode(R"({"records":[],"seen":[{"key":"x"}]})"));
  EXPECT_FALSE(GetSeenSteps(config));
}

TEST(InlineRecords, AreRefusedWhenTheyCannotBeRight) {
  auto read = [](const std::string& json) {
    oci::ImageConfig config = ConfigWith({"a", "b"});
    config.document().Set(kInlineRecords, Base64Encode(json));
    return GetInlineRecords(config);
  };
  const std::string key = R"({"records":[{"key":")" + Digest::Of("k").ToString() + "\",";
  EXPECT_TRUE(read(key + R"("layers":2}]})"));
  EXPECT_FALSE(read(key + R"("layers":3}]})"));
  EXPECT_FALSE(read(key + R"("layers":-1}]})"));
  EXPECT_FALSE(read(key + R"("chain":[2]}]})"));
  EXPECT_FALSE(read(key + R"("chain":["a"]}]})"));
  EXPECT_FALSE(read(R"({"records":[{"key":"x","layers":1}]})"));
  const std::string tree = "\"" + Digest::Of("tree").ToString() + "\"";
  const std::string other = R"({"several":[{"key":")" + Digest::Of("k").ToString() + "\",";
  EXPECT_TRUE(read(other + R"("layers":1,"besides":{"1":)" + tree + "}}]}"));
  EXPECT_FALSE(read(other + R"("layers":1,"besides":{"2":)" + tree + "}}]}"));
  EXPECT_FALSE(read(other + R"("layers":1,"besides":{"-1":)" + tree + "}}]}"));
  EXPECT_FALSE(read(other + R"("layers":1,"besides":{"1":"x"}}]})"));
  EXPECT_FALSE(read("not json"));
  EXPECT_THAT(*GetInlineRecords(ConfigWith({"a"})), IsEmpty());
}

// A thousand records of a thousand layers each are 50 kB.
TEST(InlineRecords, DoNotFillTheMemory) {
  oci::ImageConfig config = ConfigWith(std::vector<std::string>(2000, "a"));
  std::string json = R"({"records":[)";
  for (int i = 0; i < 1000; ++i) {
    json += fmt::format(R"({}{{"key":"{}","layers":2000}})", i == 0 ? "" : ",", Digest::Of("k").ToString());
  }
  config.document().Set(kInlineRecords, Base64Encode(json + "]}"));
  EXPECT_FALSE(GetInlineRecords(config));
}

}  // namespace
}  // namespace varve::tier
