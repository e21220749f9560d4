// Tiers in buckets and on web servers: the contract, what goes over the wire, faults at every request,
// and what is removed when.
#include <gmock/gmock.h>

#include <set>

#include "objects/http_store.h"
#include "objects/s3_store.h"
#include "objects/testing/fake_bucket.h"
#include "oci/layout.h"
#include "registry/testing/client_fixture.h"
#include "tier/bucket_storage.h"
#include "tier/testing/contract.h"
#include "tier/web_storage.h"

namespace varve::tier {
namespace {

using net::testing::ServerReply;
using net::testing::ServerRequest;
using objects::testing::BucketOptions;
using objects::testing::FakeBucket;
using objects::testing::S3Refusal;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using namespace testing;

using Strings = std::vector<std::string>;

class ObjectPlace : public Place {
 public:
  explicit ObjectPlace(BucketOptions options) : server_(std::move(options)) {}
  void Remove(const Digest& blob) override { server_.RemoveObject(KeyOf(blob)); }
  void Damage(const Digest& blob, size_t keep) override {
    std::string bytes = "#" + server_.Objects().at(KeyOf(blob)).substr(1);
    if (keep > 0) bytes.resize(keep);
    server_.PutObject(KeyOf(blob), bytes);
  }
  FakeBucket& server() { return server_; }
  bool Holds(const Digest& blob) { return server_.Objects().contains(KeyOf(blob)); }
  virtual std::string KeyOf(const Digest& blob) = 0;
  std::chrono::milliseconds stall = net::Timeouts().stall;

 protected:
  FakeBucket server_;
  net::HttpClient http_;
  registry::testing::RecordingSleeper sleeper_;
};

class BucketPlace final : public ObjectPlace {
 public:
  explicit BucketPlace(BucketOptions options = {.page_size = 1000}) : ObjectPlace(std::move(options)) {}
  std::unique_ptr<BlobStorage> Storage() override { return StorageOf({"app"}); }
  std::unique_ptr<Tier> OpenNames(Strings names, PackedOptions options = {}) {
    return MakePackedTier(StorageOf(std::move(names)), std::move(options), clock_);
  }
  std::unique_ptr<BlobStorage> StorageOf(Strings names) {
    objects::S3Options s3{
        .bucket = "cache", .region = "eu-west-9", .prefix = "p/", .endpoint_url = server_.Url(), .keys = keys};
    s3.timeouts.stall = stall;
    auto store = *objects::S3Store::Open(std::move(s3), http_, environment, SystemClock(), sleeper_);
    return MakeBucketStorage(std::move(store), {.names = std::move(names)});
  }
  std::string KeyOf(const Digest& blob) override { return "p/blobs/" + blob.ToString(); }

  objects::AwsKeys keys = {"ID", "secret", ""};
  objects::Environment environment = [](const std::string&) { return std::string(); };
};

// A bucket whose listings come two keys a page.
class PagedBucketPlace final : public Place {
 public:
  std::unique_ptr<BlobStorage> Storage() override { return place_.Storage(); }
  void Remove(const Digest& blob) override { place_.Remove(blob); }
  void Damage(const Digest& blob, size_t keep) override { place_.Damage(blob, keep); }

 private:
  BucketPlace place_{BucketOptions{}};
};

class WebPlace : public ObjectPlace {
 public:
  explicit WebPlace(bool conditions = true, WebLayout layout = WebLayout::kPlain)
      : ObjectPlace(
            {.bucket = "dav", .keys = {}, .conditions = conditions, .bazel_remote = layout == WebLayout::kBazel}),
        layout_(layout) {}
  std::unique_ptr<BlobStorage> Storage() override {
    objects::HttpOptions http{.url = server_.Url("/dav/app")};
    http.timeouts.stall = stall;
    auto store = *objects::HttpStore::Open(std::move(http), http_, SystemClock(), sleeper_);
    net::Sleeper& in_time = in_real_time_ ? net::SystemSleeper() : sleeper_;
    return MakeWebStorage(std::move(store), layout_, in_time);
  }
  void MergeInRealTime() override { in_real_time_ = true; }
  std::string KeyOf(const Digest& blob) override { return "app/" + oci::LayoutBlobPath(blob); }

 private:
  const WebLayout layout_;
  bool in_real_time_ = false;
};
// bazel-remote, below a path as behind a proxy.
class BazelPlace final : public WebPlace {
 public:
  BazelPlace() : WebPlace(false, WebLayout::kBazel) {}
  std::string KeyOf(const Digest& blob) override { return "app/cas/" + blob.Hex(); }
};
class PlainWebPlace final : public WebPlace {
 public:
  PlainWebPlace() : WebPlace(false) {}
};

INSTANTIATE_TEST_SUITE_P(Bucket, TierContract, ::testing::Values(&New<BucketPlace>));
INSTANTIATE_TEST_SUITE_P(PagedBucket, TierContract, ::testing::Values(&New<PagedBucketPlace>));
INSTANTIATE_TEST_SUITE_P(Web, TierContract, ::testing::Values(&New<WebPlace>));
INSTANTIATE_TEST_SUITE_P(BucketChunked, TierContract, ::testing::Values(Setting(&New<BucketPlace>, true)));
INSTANTIATE_TEST_SUITE_P(WebChunked, TierContract, ::testing::Values(Setting(&New<WebPlace>, true)));
INSTANTIATE_TEST_SUITE_P(Bazel, TierContract, ::testing::Values(&New<BazelPlace>));
INSTANTIATE_TEST_SUITE_P(BazelChunked, TierContract, ::testing::Values(Setting(&New<BazelPlace>, true)));
INSTANTIATE_TEST_SUITE_P(WebWithoutConditions, TierContract, ::testing::Values(&New<PlainWebPlace>));

// Which of the named steps a fresh machine finds, and can fetch the layer of.
std::string Usable(Place& place, const Strings& names) {
  auto tier = place.Open();
  std::vector<StepKey> keys;
  for (const std::string& name : names) keys.push_back(Key(name));
  tree::MemoryTreeStore trees;
  auto records = tier->GetMany(keys, trees, {});
  if (!records) return "error: " + records.error().message;
  std::string found;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!(*records)[i]) continue;
    auto blob = tier->FindLayer(LayerOf(names[i]), {});
    StringWriter out;
    if (!blob || !*blob || !tier->Fetch(**blob, out, {})) return names[i] + " has no layer";
    found += (found.empty() ? "" : " ") + names[i];
  }
  return found;
}

// --- What goes over the wire -------------------------------------------------------------------------

TEST(ObjectTier, BazelsPathsAreAllThatIsAskedForAndNothingIsDeleted) {
  BazelPlace place;
  PackedOptions one_layer{.max_size = BlobOf(LayerOf("a")).size() + 10};
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(place.Open(one_layer)->Export(OfferOf({name}), nullptr, {}));
  }
  EXPECT_EQ(Usable(place, {"a", "b", "c"}), "c");
  for (const auto& [key, bytes] : place.server().Objects()) {
    EXPECT_TRUE(key.starts_with("app/cas/") || key.starts_with("app/ac/")) << key;
    EXPECT_TRUE(key.starts_with("app/ac/") || key == "app/cas/" + Digest::Of(bytes).Hex()) << key;
  }
  EXPECT_TRUE(place.Holds(Digest::Of(BlobOf(LayerOf("a"))))) << "the server drops what it likes";
}

TEST(ObjectTier, ALookUpOfAHundredStepsIsTwoRequestsOnTheWire) {
  BucketPlace bucket;
  WebPlace web;
  Strings names;
  for (int i = 0; i < 100; ++i) names.push_back("step " + std::to_string(i));
  for (ObjectPlace* place : std::initializer_list<ObjectPlace*>{&bucket, &web}) {
    ASSERT_TRUE(place->Open()->Export(OfferOf(names), nullptr, {}));
    place->server().SetFaults({});
    auto tier = place->Open();
    tree::MemoryTreeStore trees;
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(Key(name));
    ASSERT_TRUE(tier->GetMany(keys, trees, {}));
    ASSERT_TRUE(tier->GetMany(keys, trees, {}));
    EXPECT_EQ(place->server().requests(), 2);
  }
  EXPECT_THAT(bucket.server().log(), ElementsAre(StartsWith("GET /cache?encoding-type=url&list-type=2"),
                                                 StartsWith("GET /cache/p/blobs/sha256%3A")));
  EXPECT_THAT(web.server().log(), ElementsAre("GET /dav/app/index.json", StartsWith("GET /dav/app/blobs/sha256/")));
}

TEST(ObjectTier, ABucketListsGroupsByTheNamesOfKeys) {
  BucketPlace place;
  ASSERT_TRUE(place.Open()->Export(OfferOf({"a"}), nullptr, {}));
  Strings keys;
  for (const auto& [key, bytes] : place.server().Objects()) keys.push_back(key);
  ASSERT_EQ(keys.size(), 3u) << "a layer, the records, the group";
  EXPECT_THAT(keys.back(), ::testing::MatchesRegex("p/manifests/app\\.groups/[0-9a-f]+\\.[0-9]+\\.[0-9a-f]+\\.[0-9]+"));
  place.server().PutObject("p/manifests/app.groups/of-a-later-version", "?");
  place.server().PutObject("p/manifests/app.groups/", "");
  EXPECT_EQ(Usable(place, {"a"}), "a");
}

TEST(ObjectTier, SeveralNamesAreOneCacheUnderAllOfThem) {
  BucketPlace place;
  ASSERT_TRUE(place.OpenNames({"main"})->Export(OfferOf({"a"}), nullptr, {}));
  std::atomic<int> made = 0;
  auto both = place.OpenNames({"main", "branch"});
  ASSERT_TRUE(both->Export(OfferOf({"a", "b"}, &made), nullptr, {}));
  EXPECT_LT(both->traffic().bytes_written, 2 * BlobOf(LayerOf("a")).size()) << "names share the blobs";
  tree::MemoryTreeStore trees;
  for (const char* name : {"main", "branch"}) {
    auto records = place.OpenNames({name})->GetMany({Key("a"), Key("b")}, trees, {});
    ASSERT_TRUE(records);
    EXPECT_TRUE((*records)[0] && (*records)[1]) << name;
  }
}

// --- Faults ------------------------------------------------------------------------------------------

struct Fault {
  const char* name;
  int status = 0;      // answered instead; 0: the connection is cut
  bool before = true;  // nothing was carried out
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

void Inject(FakeBucket& server, const Fault& fault, int from, int to) {
  server.SetFaults(
      [=](int n, const ServerRequest& request) -> std::optional<ServerReply> {
        if (n < from || n >= to || !fault.before) return {};
        if (fault.status != 0) return S3Refusal(fault.status, "Fault");
        if (request.method == "HEAD") return S3Refusal(500, "Fault");  // has no body to cut
        return ServerReply{.body = "lost", .cut_after = 0};
      },
      [=](int n, const ServerRequest& request, ServerReply& reply) {
        if (n < from || n >= to || fault.before || request.method == "HEAD") return;
        if (reply.body.empty()) reply.body = "lost", reply.status = 200;
        reply.cut_after = reply.body.size() / 2;
      });
}

class ObjectTierFaults : public ::testing::TestWithParam<Fault> {
 protected:
  // Two exporters, one after the other, the second under faults.
  template <class AnyPlace>
  void AtEveryRequest(int length) {
    auto begin = [](AnyPlace& place) { ASSERT_TRUE(place.Open()->Export(OfferOf({"theirs"}), nullptr, {})); };
    AnyPlace counted;
    begin(counted);
    counted.server().SetFaults({});
    ASSERT_TRUE(counted.Open()->Export(OfferOf({"mine"}), nullptr, {}));
    const int requests = counted.server().requests();
    ASSERT_GE(requests, 6);
    for (int at = 0; at < requests; ++at) {
      AnyPlace place;
      begin(place);
      Inject(place.server(), GetParam(), at, at + length);
      Status exported = place.Open()->Export(OfferOf({"mine"}), nullptr, {});
      place.server().SetFaults({});
      std::string usable = Usable(place, {"theirs", "mine"});
      if (exported) {
        EXPECT_EQ(usable, "theirs mine") << "request " << at;
        continue;
      }
      // No record without its blobs, and nothing of others is lost.
      EXPECT_TRUE(usable == "theirs" || usable == "theirs mine") << "request " << at << ": " << usable;
      EXPECT_TRUE(place.Open()->Export(OfferOf({"mine"}), nullptr, {}));
      EXPECT_EQ(Usable(place, {"theirs", "mine"}), "theirs mine") << "request " << at;
    }
  }
};

TEST_P(ObjectTierFaults, OnceAtAnyRequestOfABucket) { AtEveryRequest<BucketPlace>(1); }
TEST_P(ObjectTierFaults, OnceAtAnyRequestOfAWebServer) { AtEveryRequest<WebPlace>(1); }
TEST_P(ObjectTierFaults, OnceAtAnyRequestOfAWebServerWithoutConditions) { AtEveryRequest<PlainWebPlace>(1); }
TEST_P(ObjectTierFaults, FromAnyRequestOnOfABucket) { AtEveryRequest<BucketPlace>(1000); }
TEST_P(ObjectTierFaults, FromAnyRequestOnOfAWebServer) { AtEveryRequest<WebPlace>(1000); }

INSTANTIATE_TEST_SUITE_P(Kinds, ObjectTierFaults,
                         ::testing::Values(Fault{"Status401", 401}, Fault{"Status403", 403}, Fault{"Status404", 404},
                                           Fault{"Status429", 429}, Fault{"Status500", 500}, Fault{"CutBefore"},
                                           Fault{"CutAfter", 0, false}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(ObjectTier, ARefusalIsAnErrorOfTheTierAndSaysWhatToDo) {
  for (int status : {401, 403, 429, 500, 503}) {
    BucketPlace bucket;
    WebPlace web;
    for (ObjectPlace* place : std::initializer_list<ObjectPlace*>{&bucket, &web}) {
      ASSERT_TRUE(place->Open()->Export(OfferOf({"a"}), nullptr, {}));
      Inject(place->server(), {"", status}, 0, 1000);
      tree::MemoryTreeStore trees;
      auto records = place->Open()->GetMany({Key("a")}, trees, {});
      ASSERT_FALSE(records) << status;
      EXPECT_EQ(records.error().code, status < 404 ? Code::kInvalid : Code::kUnavailable) << status;
      EXPECT_THAT(records.error().message, HasSubstr(std::to_string(status)));
    }
  }
}

TEST(ObjectTier, AServerThatHangsIsAskedAgain) {
  BucketPlace place;
  ASSERT_TRUE(place.Open()->Export(OfferOf({"a"}), nullptr, {}));
  place.stall = std::chrono::seconds(2);
  place.server().SetFaults({}, [](int n, const ServerRequest&, ServerReply& reply) {
    if (n == 0) reply.hang_after = reply.body.size() / 2;
  });
  EXPECT_EQ(Usable(place, {"a"}), "a");
}

TEST(ObjectTier, ABucketWhoseClockIsAheadIsWrittenAndNothingYoungIsRemoved) {
  BucketPlace place({.clock_ahead = 3 * 3600, .page_size = 1000});
  PackedOptions small{.max_size = BlobOf(LayerOf("a")).size() + 100};
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_TRUE(place.Open(small)->Export(OfferOf({name}), nullptr, {})) << name;
  }
  for (const char* name : {"a", "b", "c"}) {
    EXPECT_TRUE(place.Holds(Digest::Of(BlobOf(LayerOf(name))))) << name;
  }
}

TEST(ObjectTier, ATokenThatExpiresWithinAnExportIsFetchedAgain) {
  BucketPlace place({.keys = objects::AwsKeys{"ID", "secret", "one"}, .page_size = 1000});
  std::atomic<int> fetched = 0;
  net::testing::HttpServer role([&](const ServerRequest&) {
    return ServerReply{.body = fmt::format(R"({{"AccessKeyId":"ID","SecretAccessKey":"secret","Token":"{}"}})",
                                           ++fetched == 1 ? "one" : "two")};
  });
  const std::string url = role.Url("/role");
  place.keys = {};
  place.environment = [url](const std::string& name) {
    return name == "AWS_CONTAINER_CREDENTIALS_FULL_URI" ? url : "";
  };
  auto tier = place.Open();
  Offer offer = OfferOf({"a", "b"});
  auto make = offer.make_blob;
  offer.make_blob = [&](const DiffId& layer, std::stop_token stop) {
    place.server().SetKeys({"ID", "secret", "two"});
    return make(layer, stop);
  };
  Status exported = tier->Export(offer, nullptr, {});
  ASSERT_TRUE(exported) << exported.error().message;
  EXPECT_EQ(fetched, 2);
  EXPECT_EQ(Usable(place, {"a", "b"}), "a b");
}

TEST(ObjectTier, AWrongSecretIsSaidAndNotShown) {
  BucketPlace place;
  place.keys.secret_access_key = "s3cr3t-and-wrong";
  Status exported = place.Open()->Export(OfferOf({"a"}), nullptr, {});
  ASSERT_FALSE(exported);
  EXPECT_THAT(exported.error().ToString(), HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(exported.error().ToString(), ::testing::Not(HasSubstr("s3cr3t")));
}

TEST(ObjectTier, AnotherIndexOnTheServerIsNeitherReadNorOverwritten) {
  WebPlace place;
  place.server().PutObject("app/index.json", R"({"schemaVersion":2,"manifests":[]})");
  tree::MemoryTreeStore trees;
  auto records = place.Open()->GetMany({Key("a")}, trees, {});
  ASSERT_FALSE(records);
  EXPECT_THAT(records.error().message, HasSubstr("/dav/app/index.json: what is there is no cache"));
  EXPECT_FALSE(place.Open()->Export(OfferOf({"a"}), nullptr, {}));
  EXPECT_EQ(place.server().Objects().at("app/index.json"), R"({"schemaVersion":2,"manifests":[]})");
}

// --- What is removed ---------------------------------------------------------------------------------

// Room for one layer: an export of another drops the first.
const PackedOptions kOneLayer{.max_size = BlobOf(LayerOf("a")).size() + 100};

Offer DayOffer(const std::string& name, int day) {
  Offer offer = OfferOf({name});
  offer.records[0].record.created = Timestamp{day * 86'400'000'000'000};
  return offer;
}
Digest BlobDigest(const std::string& name) { return Digest::Of(BlobOf(LayerOf(name))); }

TEST(ObjectTierRemoval, BlobsThatNothingListsGoAfterTheGrace) {
  BucketPlace bucket;
  WebPlace web;
  for (ObjectPlace* place : std::initializer_list<ObjectPlace*>{&bucket, &web}) {
    ASSERT_TRUE(place->Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
    ASSERT_TRUE(place->Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
    EXPECT_TRUE(place->Holds(BlobDigest("a"))) << "an exporter may be about to name it";
    place->server().Advance(std::chrono::minutes(75));
    size_t before = place->server().Objects().size();
    ASSERT_TRUE(place->Open(kOneLayer)->Export(DayOffer("c", 3), nullptr, {}));
    EXPECT_FALSE(place->Holds(BlobDigest("a")));
    EXPECT_TRUE(place->Holds(BlobDigest("c")));
    EXPECT_EQ(Usable(*place, {"c"}), "c");
    EXPECT_LE(place->server().Objects().size(), before + 3) << "records and manifests went, too";
  }
}

TEST(ObjectTierRemoval, ABlobThatAnotherNameListsStays) {
  BucketPlace place;
  ASSERT_TRUE(place.OpenNames({"branch"})->Export(DayOffer("a", 1), nullptr, {}));
  ASSERT_TRUE(place.OpenNames({"main"}, kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  place.server().Advance(std::chrono::hours(30));
  ASSERT_TRUE(place.OpenNames({"main"}, kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
  ASSERT_TRUE(place.OpenNames({"main"}, kOneLayer)->Export(DayOffer("c", 3), nullptr, {}));
  EXPECT_TRUE(place.Holds(BlobDigest("a")));
}

TEST(ObjectTierRemoval, WhatBuildKitLeadsToStays) {
  BucketPlace place;
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  Digest theirs = Digest::Of("theirs"), unused = Digest::Of("unused");
  place.server().PutObject(place.KeyOf(theirs), "theirs");
  place.server().PutObject(place.KeyOf(unused), "unused");
  place.server().PutObject("p/manifests/buildkit",
                           R"({"layers":[{"blob":")" + theirs.ToString() + R"(","parent":-1}],"records":[]})");
  place.server().Advance(std::chrono::hours(2));
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
  EXPECT_TRUE(place.Holds(unused)) << "BuildKit refreshes what it is about to name once a day";
  place.server().Advance(std::chrono::hours(24));
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("c", 3), nullptr, {}));
  EXPECT_FALSE(place.Holds(unused));
  EXPECT_TRUE(place.Holds(theirs));
}

TEST(ObjectTierRemoval, AManifestOfAnUnknownKindKeepsEverything) {
  BucketPlace place;
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  place.server().PutObject("p/manifests/what", "?");
  place.server().Advance(std::chrono::hours(30));
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
  EXPECT_TRUE(place.Holds(BlobDigest("a")));
}

TEST(ObjectTierRemoval, ABlobThatIsAboutToBeNamedAgainIsMadeYoung) {
  BucketPlace bucket;
  ASSERT_TRUE(bucket.OpenNames({"branch"})->Export(DayOffer("a", 1), nullptr, {}));
  bucket.server().Advance(std::chrono::hours(2));
  bucket.server().SetFaults({});
  // Another name finds the blob there, and makes it young without moving it.
  auto main = bucket.OpenNames({"main"});
  ASSERT_TRUE(main->Export(DayOffer("a", 1), nullptr, {}));
  EXPECT_LT(main->traffic().bytes_written, BlobOf(LayerOf("a")).size());

  // A web server cannot: a blob that was dropped is sent again.
  WebPlace web;
  ASSERT_TRUE(web.Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  ASSERT_TRUE(web.Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
  web.server().Advance(std::chrono::minutes(75));
  auto again = web.Open(kOneLayer);
  ASSERT_TRUE(again->Export(DayOffer("a", 3), nullptr, {}));
  EXPECT_GE(again->traffic().bytes_written, BlobOf(LayerOf("a")).size());
  EXPECT_EQ(Usable(web, {"a"}), "a");
}

TEST(ObjectTierRemoval, AGroupWhoseManifestIsGoneKeepsEverythingOnAWebServer) {
  WebPlace place;
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {}));
  auto groups = ParseGroupIndex(place.server().Objects().at("app/index.json"));
  ASSERT_EQ(groups->size(), 1u);
  place.Remove((*groups)[0].manifest.digest);
  place.server().Advance(std::chrono::minutes(75));
  ASSERT_TRUE(place.Open()->Export(DayOffer("c", 3), nullptr, {}));
  EXPECT_TRUE(place.Holds(BlobDigest("a")));
  EXPECT_EQ(Usable(place, {"b", "c"}), "b c");
}

TEST(ObjectTierRemoval, ADeniedDeleteIsSaid) {
  BucketPlace place;
  ASSERT_TRUE(place.Open(kOneLayer)->Export(DayOffer("a", 1), nullptr, {}));
  place.server().SetFaults([](int, const ServerRequest& request) -> std::optional<ServerReply> {
    if (request.method != "POST") return {};
    return S3Refusal(403, "AccessDenied");
  });
  Status exported = place.Open(kOneLayer)->Export(DayOffer("b", 2), nullptr, {});
  ASSERT_FALSE(exported);
  EXPECT_THAT(exported.error().ToString(), HasSubstr("what they replace stays"));
  place.server().SetFaults({});
  EXPECT_EQ(Usable(place, {"b"}), "b");
}

}  // namespace
}  // namespace varve::tier
