// The tier in GitHub's cache against varve's own service: what it costs, scopes, limits, faults.
#include <gmock/gmock.h>

#include <fstream>
#include <random>

#include "base/fd.h"
#include "gha_server/testing/faulty_service.h"
#include "registry/testing/client_fixture.h"
#include "tier/gha_storage.h"
#include "tier/packed_tier.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using gha::Protocol;
using gha_server::testing::FaultyService;
using net::testing::ServerReply;
using net::testing::ServerRequest;
using ::testing::HasSubstr;
using testing::Key;
using testing::LayerOf;
using testing::Place;
using testing::Setting;
using ::testing::SizeIs;
using testing::TierContract;

constexpr char kMain[] = "refs/heads/main:rw", kTopic[] = "refs/heads/topic:rw,refs/heads/main:r";

class OwnedReader final : public Reader {
 public:
  explicit OwnedReader(std::string text) : text_(std::move(text)), in_(text_) {}
  Result<size_t> Read(std::span<char> buffer) override { return in_.Read(buffer); }

 private:
  const std::string text_;
  StringReader in_;
};

// A pause is over at once, when the clock says so.
class AdvancingSleeper final : public net::Sleeper {
 public:
  explicit AdvancingSleeper(FakeClock& clock) : clock_(clock) {}
  bool Sleep(Nanos time, std::stop_token stop) override {
    clock_.Advance(time);
    slept_ += time.count();
    return !stop.stop_requested();
  }
  Nanos slept() const { return Nanos(slept_.load()); }

 private:
  FakeClock& clock_;
  std::atomic<int64_t> slept_ = 0;
};

// --- The contract -----------------------------------------------------------------------------------

// Each blob in an entry of its own, so that one can be gone without the others.
class GhaPlace final : public Place {
 public:
  explicit GhaPlace(gha::Protocol protocol) : protocol_(protocol) {}
  std::unique_ptr<Tier> Open(PackedOptions options) override {
    options.evicts_by_itself = true;
    return Place::Open(std::move(options));
  }
  std::unique_ptr<BlobStorage> Storage() override {
    net::Sleeper& in_time = in_real_time_ ? net::SystemSleeper() : sleeper_;
    GhaOptions gha{.address = service_.Address(protocol_, "refs/heads/main:rw"),
                   .packs = {.pack_size = 1, .max_packs = 1'000'000}};
    return MakeGhaStorage(http_, std::move(gha), SystemClock(), in_time);
  }
  void Remove(const Digest& blob) override {
    for (const gha_server::Entry& entry : EntriesOf(blob)) service_.store().Drop(entry.id);
  }
  void Damage(const Digest& blob, size_t) override {
    for (const gha_server::Entry& entry : EntriesOf(blob)) {
      std::fstream(DataOf(entry), std::ios::in | std::ios::out | std::ios::binary).put('#');
    }
  }
  void MergeInRealTime() override { in_real_time_ = true; }
  uint64_t RequestsOfTheList() override { return 3; }  // newest, a later one, its bytes
  uint64_t RequestsOfABlob() override { return 2; }    // pack, bytes

 private:
  std::string DataOf(const gha_server::Entry& entry) {
    return service_.folder() + "/entries/" + std::to_string(entry.id) + ".data";
  }
  std::vector<gha_server::Entry> EntriesOf(const Digest& blob) {
    auto entries = service_.store().List({"refs/heads/main"}, "varve-varve#pack-");
    std::erase_if(entries, [&](const auto& entry) { return Digest::Of(*ReadFile(DataOf(entry))) != blob; });
    return entries;
  }

  const gha::Protocol protocol_;
  bool in_real_time_ = false;
  gha_server::testing::LocalService service_;
  net::HttpClient http_;
  registry::testing::RecordingSleeper sleeper_;
};

template <gha::Protocol protocol>
std::unique_ptr<Place> NewGhaPlace() {
  return std::make_unique<GhaPlace>(protocol);
}

INSTANTIATE_TEST_SUITE_P(GhaVersion1, TierContract, ::testing::Values(&NewGhaPlace<gha::Protocol::kV1>));
INSTANTIATE_TEST_SUITE_P(GhaVersion2, TierContract, ::testing::Values(&NewGhaPlace<gha::Protocol::kV2>));
INSTANTIATE_TEST_SUITE_P(GhaChunked, TierContract, ::testing::Values(Setting(&NewGhaPlace<gha::Protocol::kV2>, true)));

// --- Its own ----------------------------------------------------------------------------------------

// What a build of these steps has to give; each has one layer of `size` bytes.
Offer OfferOf(const std::vector<std::string>& names, size_t size = 3'000) {
  Offer offer;
  auto bytes_of = std::make_shared<std::map<DiffId, std::string>>();
  for (const std::string& name : names) {
    cache::StepRecord record;
    record.outputs = {{{LayerOf(name)}, tree::EmptyTree()}};
    record.preimage = "key " + name;
    record.key = StepKey(Digest::Of(record.preimage));
    record.name = "RUN " + name;
    record.created = Timestamp{1'000'000'000};
    record.wall = Nanos(2'000'000'000);
    record.slot = name;
    offer.records.push_back({record, false});
    offer.layers.insert(LayerOf(name));
    std::string bytes = name + ":";
    while (bytes.size() < size) bytes += Digest::Of(bytes).Hex();
    (*bytes_of)[LayerOf(name)] = bytes.substr(0, size);
  }
  offer.result_layers = offer.layers;
  offer.make_blob = [bytes_of](const DiffId& layer, std::stop_token) -> Result<Offer::Blob> {
    std::string bytes = bytes_of->at(layer);
    return Offer::Blob{.descriptor = {.media_type = std::string(oci::kOciLayerZstd),
                                      .digest = Digest::Of(bytes),
                                      .size = bytes.size()},
                       .open = [bytes](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
                         return std::make_unique<OwnedReader>(bytes.substr(offset));
                       }};
  };
  return offer;
}

std::vector<std::string> Names(const std::string& prefix, int count) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(prefix + std::to_string(i));
  return names;
}

class GhaTier : public ::testing::TestWithParam<Protocol> {
 protected:
  // A job that comes to the service anew.
  std::unique_ptr<Tier> Job(FaultyService& server, const std::string& scopes = kMain, PackedOptions options = {},
                            GhaOptions gha = {}) {
    options.evicts_by_itself = true;
    gha.address = server.Address(GetParam(), scopes);
    return MakePackedTier(MakeGhaStorage(http_, std::move(gha), clock_, sleeper_), options, clock_);
  }
  std::unique_ptr<Tier> Job(const std::string& scopes = kMain, PackedOptions options = {}) {
    return Job(*server_, scopes, options);
  }
  // Which of the steps the tier knows, and gives the layers of.
  std::string Found(Tier& tier, const std::vector<std::string>& names) {
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(Key(name));
    auto records = tier.GetMany(keys, trees_, {});
    if (!records) return "error: " + records.error().message;
    std::string found;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!(*records)[i]) continue;
      found += (found.empty() ? "" : " ") + names[i];
      auto blob = tier.FindLayer(LayerOf(names[i]), {});
      StringWriter bytes;
      if (!blob || !*blob) {
        found += "(record)";
      } else if (!tier.Fetch(**blob, bytes, {}) || Digest::Of(bytes.text) != (*blob)->digest) {
        found += "(broken)";
      }
    }
    return found;
  }
  static bool IsUpload(const ServerRequest& request) {
    return request.method == "POST" &&
           (request.path.ends_with("/caches") || request.path.ends_with("/CreateCacheEntry"));
  }
  // An answer to every request, or to those whose path contains `text`.
  static FaultyService::Fault Answering(int status, const std::string& text = "", ServerReply reply = {}) {
    reply.status = status;
    return [text, reply](const ServerRequest& request, int) -> std::optional<ServerReply> {
      if (request.path.find(text) == request.path.npos) return std::nullopt;
      return reply;
    };
  }

  net::HttpClient http_;
  FakeClock clock_;
  AdvancingSleeper sleeper_{clock_};
  tree::MemoryTreeStore trees_;
  std::unique_ptr<FaultyService> server_ = std::make_unique<FaultyService>();
};

INSTANTIATE_TEST_SUITE_P(Versions, GhaTier, ::testing::Values(Protocol::kV1, Protocol::kV2),
                         [](const auto& version) { return version.param == Protocol::kV1 ? "V1" : "V2"; });

TEST_P(GhaTier, ABuildOfSixtyStepsTakesFewUploads) {
  std::atomic<int> uploads = 0;
  server_->Fail([&](const ServerRequest& request, int) -> std::optional<ServerReply> {
    if (IsUpload(request)) ++uploads;
    return std::nullopt;
  });
  std::vector<std::string> names = Names("step", 60);
  ASSERT_TRUE(Job(*server_, kMain, {}, {.packs = {.pack_size = 10'000}})->Export(OfferOf(names, 20'000), nullptr, {}));
  EXPECT_GT(uploads, 5) << "1.2 MB in packs of at least 10 kB";
  EXPECT_LT(uploads, 20);
  uploads = 0;
  ASSERT_TRUE(Job()->Export(OfferOf(names), nullptr, {}));
  EXPECT_EQ(uploads, 0) << "nothing was new";
  EXPECT_EQ(Found(*Job(), {"step0", "step59"}), "step0 step59");
}

TEST_P(GhaTier, LayersThatWaitForOthersAreNotCountedAsSentAhead) {
  // The first pack takes 16,000 bytes, the second 32,000.
  auto job = Job(*server_, kMain, {}, {.packs = {.pack_size = 256'000}});
  std::vector<std::string> names = Names("step", 3);
  Offer offer = OfferOf(names, 9'000);
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_TRUE(*job->SendAhead(offer, LayerOf(names[i]), {}));
    EXPECT_EQ(job->traffic().bytes_written, i == 0 ? 0u : 18'000u);
  }
  ASSERT_TRUE(job->Export(offer, nullptr, {}));
  EXPECT_EQ(job->traffic().bytes_ahead, 18'000u);
  EXPECT_GT(job->traffic().bytes_written, 27'000u);
  EXPECT_EQ(Found(*Job(), names), "step0 step1 step2");
}

TEST_P(GhaTier, ALookUpOfSixtyStepsIsAFewRequests) {
  std::vector<std::string> names = Names("step", 60);
  ASSERT_TRUE(Job()->Export(OfferOf(names), nullptr, {}));
  server_->Fail({});
  auto tier = Job();
  std::vector<StepKey> keys;
  for (const std::string& name : names) keys.push_back(Key(name));
  ASSERT_TRUE(tier->GetMany(keys, trees_, {}));
  EXPECT_EQ(server_->requests(), 5);
  EXPECT_EQ(tier->traffic().requests, 5u);
  EXPECT_EQ(tier->traffic().hits, 60u);
  EXPECT_EQ(tier->traffic().layers, 0u);
}

TEST_P(GhaTier, ABranchReadsItsBaseAndWritesItsOwn) {
  ASSERT_TRUE(Job()->Export(OfferOf({"base"}), nullptr, {}));
  auto topic = Job(kTopic);
  EXPECT_EQ(Found(*topic, {"base"}), "base");
  ASSERT_TRUE(topic->Export(OfferOf({"base", "topic"}), nullptr, {}));
  EXPECT_EQ(Found(*Job(kTopic), {"base", "topic"}), "base topic");
  EXPECT_EQ(Found(*Job(), {"base", "topic"}), "base");
  EXPECT_EQ(Found(*Job("refs/heads/other:rw,refs/heads/main:r"), {"base", "topic"}), "base");
}

// Its base's groups are merged into one of the branch's own, and are not asked for any longer.
TEST_P(GhaTier, ABranchOfABaseWithManyGroupsStaysQuick) {
  std::vector<std::string> names = Names("main", kMaxGroups);
  for (const std::string& name : names) ASSERT_TRUE(Job()->Export(OfferOf({name}), nullptr, {}));
  ASSERT_TRUE(Job(kTopic)->Export(OfferOf({"topic"}), nullptr, {}));
  server_->Fail({});
  names.push_back("topic");
  auto tier = Job(kTopic);
  auto records = tier->GetMany({Key("main0"), Key("topic")}, trees_, {});
  ASSERT_TRUE(records && (*records)[0] && (*records)[1]);
  EXPECT_EQ(server_->requests(), 3 + 3 + 2) << "two indexes, one group";
  std::string all = "main0";
  for (size_t i = 1; i < names.size(); ++i) all += " " + names[i];
  EXPECT_EQ(Found(*tier, names), all);
  EXPECT_EQ(Found(*Job(), {"main0", "topic"}), "main0");
}

TEST_P(GhaTier, ScopesAreApart) {
  GhaOptions web;
  web.packs.scope = "web";
  ASSERT_TRUE(Job(*server_, kMain, {}, web)->Export(OfferOf({"a"}), nullptr, {}));
  EXPECT_EQ(Found(*Job(), {"a"}), "");
  EXPECT_EQ(Found(*Job(*server_, kMain, {}, web), {"a"}), "a");
}

TEST_P(GhaTier, WhatDoesNotFitIsNotSentAndTheExportSaysSo) {
  const PackedOptions small{.max_size = 10'000};
  Offer valuable = OfferOf({"long0", "long1"});
  for (Offer::Record& offered : valuable.records) offered.record.wall = Nanos(3'600'000'000'000);
  ASSERT_TRUE(Job(kMain, small)->Export(valuable, nullptr, {}));
  // mode=max would send three more; one is the result's.
  Offer offer = OfferOf({"result", "stage0", "stage1"});
  offer.result_layers = {LayerOf("result")};
  std::atomic<int> uploads = 0;
  auto tier = Job(kMain, small);
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  auto notices = tier->TakeNotices();
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_THAT(notices[0], HasSubstr("2 of 3 layers (6.00 kB) were not sent, since max-size=10.0 kB is reached"));
  EXPECT_THAT(notices[0], HasSubstr("mode=min"));
  EXPECT_LE(tier->traffic().bytes_written, 6'000u);
  EXPECT_EQ(Found(*Job(), {"long0", "long1", "result", "stage0", "stage1"}),
            "long0 long1 result stage0(record) stage1(record)");
  // Again: there is nothing new, since what did not fit does not fit.
  server_->Fail([&](const ServerRequest& request, int) -> std::optional<ServerReply> {
    if (IsUpload(request)) ++uploads;
    return std::nullopt;
  });
  ASSERT_TRUE(Job(kMain, small)->Export(offer, nullptr, {}));
  EXPECT_EQ(uploads, 0);
}

// --- Cache mounts -----------------------------------------------------------------------------------

// Of bytes that do not compress, the same for the same `seed`.
std::string NoiseOf(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes;
  while (bytes.size() < size) bytes += static_cast<char>(random());
  return bytes;
}

Offer::Mount MountOf(const std::string& id, const std::string& content, int64_t created = 1) {
  return {.key = "key of " + id,
          .id = id,
          .created = Timestamp{created * 1'000'000'000},
          .write = [content](Writer& out, std::stop_token) { return out.Write(content); }};
}

std::string ReadMount(Tier& tier, const std::string& id) {
  auto blob = tier.FindMount("key of " + id, {});
  if (!blob || !*blob) return "absent";
  StringWriter out;
  Status fetched = tier.Fetch(**blob, out, {});
  return fetched ? out.text : "gone";
}

TEST_P(GhaTier, MountsTakeFewUploadsAndThoseThatDidNotChangeNone) {
  std::atomic<int> uploads = 0;
  server_->Fail([&](const ServerRequest& request, int) -> std::optional<ServerReply> {
    if (IsUpload(request)) ++uploads;
    return std::nullopt;
  });
  // As many uploads ahead as there may be, and a blob for each mount besides.
  std::vector<std::string> names = Names("step", 30);
  Offer offer = OfferOf(names, 9'000);
  for (int i = 0; i < 30; ++i) offer.mounts.push_back(MountOf(std::to_string(i), NoiseOf(9'000, 1'000u + i)));
  offer.mounts.push_back(MountOf("large", NoiseOf(3'000'000, 1)));
  auto first = Job(*server_, kMain, {}, {.packs = {.pack_size = 16}});
  for (const std::string& name : names) ASSERT_TRUE(first->SendAhead(offer, LayerOf(name), {}));
  Status exported = first->Export(offer, nullptr, {});
  ASSERT_TRUE(exported) << exported.error().ToString();
  EXPECT_GT(uploads, 12);
  EXPECT_LE(uploads, 19);
  auto reader = Job();
  EXPECT_TRUE(ReadMount(*reader, "7") == NoiseOf(9'000, 1'007));
  EXPECT_TRUE(ReadMount(*reader, "large") == NoiseOf(3'000'000, 1));

  uploads = 0;
  auto second = Job();
  ASSERT_TRUE(second->Export(offer, nullptr, {}));
  EXPECT_EQ(uploads, 0);
  EXPECT_EQ(second->traffic().bytes_written, 0u);

  std::string more = NoiseOf(3'000'000, 1) + "and a little more";
  offer.mounts.back() = MountOf("large", more, 2);
  auto third = Job();
  ASSERT_TRUE(third->Export(offer, nullptr, {}));
  EXPECT_LE(uploads, 2) << "a pack and the index";
  EXPECT_LT(third->traffic().bytes_written, 400'000u);
  EXPECT_TRUE(ReadMount(*Job(), "large") == more);
}

TEST_P(GhaTier, WhatMountsShareIsSentAndCountedOnce) {
  Offer offer = OfferOf({});
  const std::string content = NoiseOf(3'000'000, 1);
  offer.mounts = {MountOf("npm", content), MountOf("yarn", content + "and a little more")};
  auto job = Job();
  ASSERT_TRUE(job->Export(offer, nullptr, {}));
  EXPECT_LT(job->traffic().bytes_written, 3'500'000u);
}

TEST_P(GhaTier, MountsTakeHalfOfTheSpaceAndWhatDoesNotFitIsNotSent) {
  const PackedOptions small{.max_size = 100'000};
  Offer offer = OfferOf({"result"}, 30'000);
  offer.mounts = {MountOf("npm", NoiseOf(300'000, 1), 3), MountOf("pip", NoiseOf(70'000, 2), 2),
                  MountOf("go", NoiseOf(30'000, 3), 1)};
  auto job = Job(kMain, small);
  ASSERT_TRUE(job->Export(offer, nullptr, {}));
  auto notices = job->TakeNotices();
  ASSERT_THAT(notices, SizeIs(1));
  EXPECT_THAT(notices[0], HasSubstr("max-size=100 kB is reached, of which mounts take half: npm, pip ("));
  EXPECT_LT(job->traffic().bytes_written, 65'000u);
  EXPECT_EQ(Found(*Job(), {"result"}), "result");
  EXPECT_EQ(ReadMount(*Job(), "npm"), "absent");
  EXPECT_TRUE(ReadMount(*Job(), "go") == NoiseOf(30'000, 3));
  // A newer one takes the place of an older one, and layers stay.
  offer.mounts = {MountOf("pip", NoiseOf(40'000, 2), 2)};
  ASSERT_TRUE(Job(kMain, small)->Export(offer, nullptr, {}));
  EXPECT_TRUE(ReadMount(*Job(), "pip") == NoiseOf(40'000, 2));
  EXPECT_EQ(ReadMount(*Job(), "go"), "absent");
  EXPECT_EQ(Found(*Job(), {"result"}), "result");
}

TEST_P(GhaTier, MountsOfABuildThatHitCountAsUsedAndAreSentAgainWhenTheyAreGone) {
  // Each value in an entry of its own.
  const GhaOptions apart{.packs = {.pack_size = 1, .max_packs = 1'000'000}};
  Offer offer = OfferOf({"a"});
  offer.mounts = {MountOf("npm", NoiseOf(40'000, 1))};
  ASSERT_TRUE(Job(*server_, kMain, {}, apart)->Export(offer, nullptr, {}));
  gha_server::EntryStore& store = server_->service().store();
  auto pack = [&] {
    auto entries = store.List({"refs/heads/main"}, "varve-varve#pack-");
    std::erase_if(entries, [](const gha_server::Entry& entry) { return entry.size < 40'000; });
    return entries.at(0);
  };
  const gha_server::Entry before = pack();
  server_->service().clock().Advance(std::chrono::minutes(1));
  offer.mounts[0].changed = false;
  ASSERT_TRUE(Job()->Export(offer, nullptr, {}));
  EXPECT_GT(pack().used, before.used);
  ASSERT_TRUE(store.Drop(before.id));
  auto reader = Job();
  EXPECT_EQ(ReadMount(*reader, "npm"), "gone");
  ASSERT_TRUE(Job()->Export(offer, nullptr, {}));
  EXPECT_TRUE(ReadMount(*Job(), "npm") == NoiseOf(40'000, 1));
}

TEST_P(GhaTier, WhatABuildHitsCountsAsUsedAndIsSentAgainWhenItIsGone) {
  // Each value in an entry of its own, so that the layer can be gone and its record not.
  const GhaOptions apart{.packs = {.pack_size = 1, .max_packs = 1'000'000}};
  ASSERT_TRUE(Job(*server_, kMain, {}, apart)->Export(OfferOf({"a"}, 3'000), nullptr, {}));
  gha_server::EntryStore& store = server_->service().store();
  auto layer = [&] {
    auto entries = store.List({"refs/heads/main"}, "varve-varve#pack-");
    std::erase_if(entries, [](const gha_server::Entry& entry) { return entry.size != 3'000; });
    return entries.at(0);
  };
  const gha_server::Entry before = layer();
  server_->service().clock().Advance(std::chrono::minutes(1));
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}, 3'000), nullptr, {}));
  EXPECT_GT(layer().used, before.used);
  ASSERT_TRUE(store.Drop(before.id));
  EXPECT_EQ(Found(*Job(), {"a"}), "a(broken)");
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}, 3'000), nullptr, {}));
  EXPECT_EQ(Found(*Job(), {"a"}), "a");
}

TEST_P(GhaTier, ChunkedLayersSendWhatIsNewAndAreWeighedWhole) {
  auto offer_of = [](const std::string& name, const std::string& tar) {
    Offer offer = OfferOf({name});
    offer.chunked = true;
    const DiffId layer(Digest::Of(tar));
    offer.records[0].record.outputs = {{{layer}, tree::EmptyTree()}};
    offer.layers = offer.result_layers = {layer};
    offer.write_tar = [tar](const DiffId&, Writer& out, std::stop_token) { return out.Write(tar); };
    return offer;
  };
  auto read = [&](Tier& tier, const std::string& tar) {
    auto blob = tier.FindLayer(DiffId(Digest::Of(tar)), {});
    if (!blob || !*blob) return false;
    StringWriter out;
    return tier.Fetch(**blob, out, {}) && out.text == tar;
  };
  const PackedOptions small{.max_size = 4'000'000};
  const std::string first = NoiseOf(2'500'000, 1), second = first + "and a little more";
  ASSERT_TRUE(Job(kMain, small)->Export(offer_of("a", first), nullptr, {}));
  auto job = Job(kMain, small);
  ASSERT_TRUE(job->Export(offer_of("b", second), nullptr, {}));
  EXPECT_LT(job->traffic().bytes_written, 500'000u);
  EXPECT_THAT(job->TakeNotices(), SizeIs(0)) << "5 MB of layers are 2.5 MB of packs";
  EXPECT_TRUE(read(*Job(), first));
  EXPECT_TRUE(read(*Job(), second));
  // One that is no part of the result, and worth less than what would have to go.
  const std::string other = NoiseOf(3'000'000, 2);
  Offer stage = offer_of("c", other);
  stage.result_layers.clear();
  stage.records[0].record.wall = Nanos(1'000);
  auto late = Job(kMain, small);
  ASSERT_TRUE(late->Export(stage, nullptr, {}));
  EXPECT_LT(late->traffic().bytes_written, 10'000u) << "the record";
  EXPECT_THAT(late->TakeNotices(), SizeIs(1));
  EXPECT_FALSE(read(*Job(), other));
  EXPECT_TRUE(read(*Job(), second));
}

// --- Faults ------------------------------------------------------------------------------------------

TEST_P(GhaTier, EveryRefusalIsAnErrorOfTheTier) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  for (int status : {400, 401, 403, 404, 429, 500, 503}) {
    server_->Fail(Answering(status));
    auto records = Job()->GetMany({Key("a")}, trees_, {});
    ASSERT_FALSE(records) << status;
    EXPECT_EQ(records.error().code, Code::kUnavailable) << status;
    auto exported = Job()->Export(OfferOf({"b"}), nullptr, {});
    ASSERT_FALSE(exported) << status;
    EXPECT_EQ(exported.error().code, Code::kUnavailable) << status;
  }
  server_->Fail({});
  EXPECT_EQ(Found(*Job(), {"a", "b"}), "a");
}

TEST_P(GhaTier, ALayerThatTheServiceLostIsGone) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  auto tier = Job();
  auto blob = tier->FindLayer(LayerOf("a"), {});
  ASSERT_TRUE(blob && *blob);
  server_->Fail(Answering(404, "/varve/cache/"));
  StringWriter out;
  Status fetched = tier->Fetch(**blob, out, {});
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, Code::kNotFound);
}

TEST_P(GhaTier, ANonsensicalAnswerIsAnErrorOfTheTier) {
  for (const char* body : {"<html>proxy</html>", "{}", "[1]", ""}) {
    server_->Fail(Answering(200, "", {.body = body}));
    auto records = Job()->GetMany({Key("a")}, trees_, {});
    if (!records) EXPECT_EQ(records.error().code, Code::kUnavailable) << body;
    else EXPECT_FALSE((*records)[0]) << body;
    EXPECT_FALSE(Job()->Export(OfferOf({"b"}), nullptr, {})) << body;
  }
}

TEST_P(GhaTier, APauseThatTheServiceAsksForIsKeptWithinTheBudget) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  auto busy = [](std::string pause, int times) {
    return [pause, times](const ServerRequest&, int number) -> std::optional<ServerReply> {
      if (number >= times) return std::nullopt;
      return ServerReply{.status = 429, .headers = {{"Retry-After", pause}}};
    };
  };
  server_->Fail(busy("30", 3));
  EXPECT_EQ(Found(*Job(), {"a"}), "a");
  EXPECT_GE(sleeper_.slept(), Nanos(90'000'000'000));
  server_->Fail(busy("3600", 1));
  auto records = Job()->GetMany({Key("a")}, trees_, {});
  ASSERT_FALSE(records);
  EXPECT_EQ(records.error().code, Code::kUnavailable);
  EXPECT_THAT(records.error().message, HasSubstr("429"));
}

// Broken once, each request is repeated; broken for good from any request on, the export fails, what others
// wrote is there, and no record is without its layer (invariant I4).
TEST_P(GhaTier, AConnectionThatBreaksAtAnyRequest) {
  ASSERT_TRUE(Job()->Export(OfferOf({"theirs"}), nullptr, {}));
  server_->Fail({});
  ASSERT_TRUE(Job()->Export(OfferOf({"first"}), nullptr, {}));
  const int requests = server_->requests();
  ASSERT_GT(requests, 5);
  auto cut = [](int broken, bool for_good) {
    return [broken, for_good](const ServerRequest&, int number) -> std::optional<ServerReply> {
      if (number != broken && !(for_good && number > broken)) return std::nullopt;
      return ServerReply{.body = std::string(100, 'x'), .cut_after = 7};
    };
  };
  std::string all = "theirs";
  std::vector<std::string> names = {"theirs"};
  for (int broken = 0; broken < requests; ++broken) {
    names.push_back("mine" + std::to_string(broken));
    all += " " + names.back();
    server_->Fail(cut(broken, false));
    auto exported = Job()->Export(OfferOf({names.back()}), nullptr, {});
    EXPECT_TRUE(exported) << "request " << broken << ": " << exported.error().ToString();
  }
  server_->Fail({});
  EXPECT_EQ(Found(*Job(), names), all);
  // What a broken export reserved stays in the way of the next one.
  for (int broken = 0; broken < requests; ++broken) {
    const std::string name = "lost" + std::to_string(broken);
    server_->Fail(cut(broken, true));
    EXPECT_FALSE(Job()->Export(OfferOf({name}), nullptr, {})) << "request " << broken;
    server_->Fail({});
    EXPECT_THAT(Found(*Job(), {"theirs", name}), ::testing::AnyOf("theirs", "theirs " + name)) << broken;
  }
  ASSERT_TRUE(Job()->Export(OfferOf({"last"}), nullptr, {}));
  names.push_back("last");
  EXPECT_EQ(Found(*Job(), names), all + " last");
}

TEST_P(GhaTier, AReadThatBreaksAtAnyRequestIsRepeatedOrSaid) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  server_->Fail({});
  ASSERT_EQ(Found(*Job(), {"a"}), "a");
  const int requests = server_->requests();
  for (int broken = 0; broken < requests; ++broken) {
    auto cut = [&](bool for_good) {
      return [broken, for_good](const ServerRequest&, int number) -> std::optional<ServerReply> {
        if (number != broken && !(for_good && number > broken)) return std::nullopt;
        return ServerReply{.body = std::string(100, 'x'), .cut_after = 7};
      };
    };
    server_->Fail(cut(false));
    EXPECT_EQ(Found(*Job(), {"a"}), "a") << "request " << broken;
    server_->Fail(cut(true));
    auto tier = Job();
    EXPECT_THAT(Found(*tier, {"a"}), ::testing::AnyOf(HasSubstr("error: "), HasSubstr("(broken)")))
        << "request " << broken;
  }
}

TEST_P(GhaTier, AServiceThatHangsIsLeftWhenTheTimeIsOver) {
  std::stop_source time_over;
  server_->Fail([&](const ServerRequest&, int) -> std::optional<ServerReply> {
    time_over.request_stop();
    return ServerReply{.body = "never", .hang_after = 1};
  });
  auto records = Job()->GetMany({Key("a")}, trees_, time_over.get_token());
  ASSERT_FALSE(records);
  EXPECT_EQ(records.error().code, Code::kCancelled);
}

TEST_P(GhaTier, AddressesThatExpireAreRenewedAndATokenThatExpiresIsSaid) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a", "b"}), nullptr, {}));
  auto tier = Job();
  ASSERT_EQ(Found(*tier, {"a"}), "a");
  server_->service().clock().Advance(std::chrono::hours(2));  // addresses live for ten minutes
  EXPECT_EQ(Found(*tier, {"b"}), "b");
  server_->service().clock().Advance(std::chrono::hours(5));  // the token, for six hours
  auto blob = tier->FindLayer(LayerOf("b"), {});
  StringWriter out;
  Status fetched = tier->Fetch(**blob, out, {});
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().code, Code::kUnavailable);
  auto exported = tier->Export(OfferOf({"c"}), nullptr, {});
  ASSERT_FALSE(exported);
  EXPECT_EQ(exported.error().code, Code::kUnavailable);
  EXPECT_THAT(exported.error().message, HasSubstr("401"));
  EXPECT_THAT(exported.error().hint, HasSubstr("ACTIONS_RUNTIME_TOKEN"));
}

TEST_P(GhaTier, ATokenThatExpiresInTheMiddleOfAnExportLosesNothingOfOthers) {
  ASSERT_TRUE(Job()->Export(OfferOf({"theirs"}), nullptr, {}));
  std::atomic<bool> expired = false;
  server_->Fail([&](const ServerRequest& request, int) -> std::optional<ServerReply> {
    if (IsUpload(request) && !expired.exchange(true)) server_->service().clock().Advance(std::chrono::hours(7));
    return std::nullopt;
  });
  EXPECT_FALSE(Job()->Export(OfferOf({"mine"}), nullptr, {}));
  EXPECT_EQ(Found(*Job(), {"theirs", "mine"}), "theirs");
}

TEST_P(GhaTier, AJobThatMayOnlyReadIsToldSo) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  auto tier = Job("refs/heads/main:r");
  EXPECT_EQ(Found(*tier, {"a"}), "a");
  auto exported = tier->Export(OfferOf({"b"}), nullptr, {});
  ASSERT_FALSE(exported);
  EXPECT_THAT(exported.error().message, HasSubstr("cache write denied"));
}

TEST_P(GhaTier, MessagesHoldNeitherTokenNorSignature) {
  ASSERT_TRUE(Job()->Export(OfferOf({"a"}), nullptr, {}));
  const std::string token = server_->Address(GetParam(), kMain).token;
  for (const char* where : {"cache", "/varve/cache/"}) {
    for (int status : {403, 500}) {
      server_->Fail(Answering(status, where));
      auto tier = Job();
      std::string said = Found(*tier, {"a"});
      for (const std::string& notice : tier->TakeNotices()) said += notice;
      if (auto exported = Job()->Export(OfferOf({"b"}), nullptr, {}); !exported) said += exported.error().ToString();
      EXPECT_FALSE(said.empty());
      EXPECT_EQ(said.find(token.substr(token.rfind('.'))), said.npos) << said;
      EXPECT_EQ(said.find("sig="), said.npos) << said;
    }
  }
}

}  // namespace
}  // namespace varve::tier
