#include "tier/chain.h"

#include <gmock/gmock.h>

#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::tier {
namespace {

using ::testing::HasSubstr;

cache::StepRecord RecordOf(const std::string& name) {
  cache::StepRecord record;
  record.outputs = {{{DiffId(Digest::Of(name))}, tree::EmptyTree()}};
  record.preimage = name;
  record.key = StepKey(Digest::Of(name));
  record.name = name;
  return record;
}

// A tier that is a map, and fails when it is told to.
class FakeTier final : public Tier {
 public:
  Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys, tree::TreeStore&,
                                                                std::stop_token stop) override {
    asked.push_back(keys.size());
    if (slow) {
      while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return Cancelled("stopped");
    }
    if (error) return *error;
    std::vector<std::optional<cache::StepRecord>> found;
    for (const StepKey& key : keys) {
      auto it = records.find(key);
      found.push_back(it == records.end() ? std::nullopt : std::optional(it->second));
    }
    return found;
  }
  std::vector<cache::StepRecord> Traced(const Digest& weak_key, size_t) override {
    std::vector<cache::StepRecord> traced;
    for (const auto& [key, record] : records) {
      if (record.trace && record.trace->weak_key == weak_key) traced.push_back(record);
    }
    return traced;
  }
  std::optional<std::string> WhyDisowned(const Digest& weak_key) override {
    return disowned.contains(weak_key) ? std::optional(disowned.at(weak_key)) : std::nullopt;
  }
  std::vector<cache::StepRecord> Earlier(const std::string&, const Digest&, size_t limit) override {
    std::vector<cache::StepRecord> earlier;
    for (const auto& [key, record] : records) {
      if (earlier.size() < limit) earlier.push_back(record);
    }
    return earlier;
  }
  Result<std::optional<oci::Descriptor>> FindLayer(const DiffId& layer, std::stop_token) override {
    auto it = blobs.find(layer);
    if (it == blobs.end()) return std::optional<oci::Descriptor>();
    return std::optional(oci::Descriptor{
        .media_type = std::string(oci::kOciLayer), .digest = Digest::Of(it->second), .size = it->second.size()});
  }
  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token) override {
    ++fetches;
    if (on_fetch) return on_fetch();
    for (const auto& [layer, text] : blobs) {
      if (Digest::Of(text) != blob.digest) continue;
      if (gone) return NotFound("gone");
      return out.Write(damaged ? text + "!" : text);
    }
    return NotFound("no such blob");
  }
  Result<std::optional<oci::Descriptor>> FindMount(const std::string& key, std::stop_token stop) override {
    return FindLayer(DiffId(Digest::Of(key)), stop);
  }
  Status Export(const Offer&, const OnProgress&, std::stop_token) override { return Ok(); }
  std::optional<std::string> WhyRefused(const StepKey& key) override {
    return refused.contains(key) ? std::optional(std::string("it is not signed")) : std::nullopt;
  }
  Traffic traffic() override { return {}; }
  std::vector<std::string> TakeNotices() override { return {}; }

  void Add(const std::string& name) {
    records[StepKey(Digest::Of(name))] = RecordOf(name);
    blobs[DiffId(Digest::Of(name))] = "blob of " + name;
  }

  std::map<StepKey, cache::StepRecord> records;
  std::map<DiffId, std::string> blobs;
  std::vector<size_t> asked;
  std::set<StepKey> refused;
  std::map<Digest, std::string> disowned;
  std::optional<Error> error;
  bool slow = false, gone = false, damaged = false;
  int fetches = 0;
  std::function<Error()> on_fetch;
};

class ChainTest : public ::testing::Test {
 protected:
  ChainTest() {
    EXPECT_TRUE(cache::PrepareRoot(root_.path()));
    local_ = *cache::OpenLocalStore(root_.path(), clock_);
  }
  Chain& Use(Nanos timeout = Nanos(5'000'000'000)) {
    chain_ = std::make_unique<Chain>(*local_.store, *blobs_, clock_,
                                     std::vector<Member>{{"near", near_, timeout}, {"far", far_, timeout}},
                                     std::stop_token());
    return *chain_;
  }
  std::string Hits(const std::vector<std::string>& names) {
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(StepKey(Digest::Of(name)));
    auto records = chain_->GetMany(keys);
    if (!records) return "error";
    std::string hits;
    for (size_t i = 0; i < names.size(); ++i) {
      hits += (*records)[i] ? names[i] : "-";
    }
    return hits;
  }
  static DiffId LayerOf(const std::string& name) { return DiffId(Digest::Of(name)); }

  sys::TempDir root_ = *sys::TempDir::Create(::testing::TempDir(), "chain-");
  FakeClock clock_;
  cache::OpenedStore local_;
  std::unique_ptr<cas::BlobStore> blobs_ = cas::MakeMemoryStore();
  std::shared_ptr<FakeTier> near_ = std::make_shared<FakeTier>(), far_ = std::make_shared<FakeTier>();
  std::unique_ptr<Chain> chain_;
};

TEST_F(ChainTest, EachIsAskedForWhatThoseBeforeDidNotHave) {
  ASSERT_TRUE(local_.store->Put(RecordOf("a")));
  near_->Add("b");
  far_->Add("b"), far_->Add("c");
  Use();
  EXPECT_EQ(Hits({"a", "b", "c", "d"}), "abc-");
  EXPECT_EQ(near_->asked, (std::vector<size_t>{3}));
  EXPECT_EQ(far_->asked, (std::vector<size_t>{2}));
  EXPECT_EQ(chain_->TierOf(StepKey(Digest::Of("b"))), "near");
  EXPECT_EQ(chain_->TierOf(StepKey(Digest::Of("a"))), "");
  EXPECT_EQ(Hits({"a"}), "a");
  EXPECT_EQ(near_->asked.size(), 1u) << "nothing is left to ask for";
}

TEST_F(ChainTest, ATierThatFailsIsAskedOnceAndReported) {
  near_->error = Unavailable("connection refused");
  far_->Add("a");
  Use();
  EXPECT_EQ(Hits({"a", "b"}), "a-");
  EXPECT_EQ(Hits({"c"}), "-");
  EXPECT_EQ(near_->asked.size(), 1u);
  auto reports = chain_->Reports();
  ASSERT_TRUE(reports[0].failure);
  EXPECT_EQ(reports[0].failure->message, "connection refused");
  EXPECT_FALSE(reports[1].failure);
}

TEST_F(ChainTest, AnExplanationHearsWhoIsNotTrustedAndWhoFailed) {
  StepKey key(Digest::Of("a"));
  far_->refused = {key};
  near_->error = Unavailable("connection refused");
  Use();
  EXPECT_EQ(Hits({"a", "b"}), "--");
  auto trouble = chain_->TroubleWith(key);
  ASSERT_EQ(trouble.size(), 2u);
  EXPECT_EQ(trouble[0].tier, "far");
  EXPECT_EQ(trouble[0].kind, cache::TierTrouble::Kind::kUntrusted);
  EXPECT_EQ(trouble[0].why, "it is not signed");
  EXPECT_EQ(trouble[1].tier, "near");
  EXPECT_EQ(trouble[1].kind, cache::TierTrouble::Kind::kFailed);
  EXPECT_EQ(chain_->TroubleWith(StepKey(Digest::Of("b"))).size(), 1u) << "nobody has it, far is no trouble";
}

TEST_F(ChainTest, ATierThatIsSlowIsNotWaitedFor) {
  near_->slow = true;
  far_->Add("a");
  Use(Nanos(20'000'000));
  EXPECT_EQ(Hits({"a"}), "a");
  EXPECT_THAT(chain_->Reports()[0].failure->message, HasSubstr("no answer within"));
}

TEST_F(ChainTest, ExplanationsSeeWhatTiersHold) {
  near_->Add("a"), far_->Add("a"), far_->Add("b");
  Use();
  EXPECT_EQ(chain_->Earlier("slot", Digest(), 4)->size(), 2u) << "each record once";
  EXPECT_EQ(chain_->Earlier("slot", Digest(), 1)->size(), 1u);
}

TEST_F(ChainTest, TracesOfAllTiersAreNewestFirstAndEachRunOnce) {
  auto trace = [](FakeTier& tier, const std::string& name, const std::string& reads, int64_t created) {
    tier.Add(name);
    cache::StepRecord& record = tier.records.at(StepKey(Digest::Of(name)));
    record.trace = cache::StepTrace{.weak_key = Digest::Of("w"), .reads = {reads}};
    record.outputs[0].layers = {LayerOf(reads)};
    record.created = Timestamp{created};
  };
  trace(*near_, "a", "one", 1), trace(*far_, "b", "one", 1), trace(*far_, "c", "two", 2);
  Use();
  auto names = [&](size_t limit) {
    std::string text;
    auto traced = *chain_->Traced(Digest::Of("w"), limit);
    for (const cache::StepRecord& record : traced) text += record.name + " ";
    return text;
  };
  EXPECT_EQ(names(9), "c a ");
  EXPECT_EQ(names(1), "c ");
  ASSERT_TRUE(chain_->Drop(StepKey(Digest::Of("c"))));
  EXPECT_EQ(names(9), "a ") << "its layer could not be had";
  far_->error = Unavailable("down");
  EXPECT_EQ(Hits({"x"}), "-");
  EXPECT_EQ(names(9), "a ");
}

TEST_F(ChainTest, WhatATierDisownsStaysSoWithoutIt) {
  const Digest weak = Digest::Of("w"), other = Digest::Of("v"), late = Digest::Of("late");
  far_->disowned = {{weak, "it differs"}, {late, "it differs as well"}};
  Use();
  EXPECT_EQ(*chain_->WhyDisowned(weak), "it differs");
  EXPECT_FALSE(*chain_->WhyDisowned(other));
  far_->error = Unavailable("down");
  EXPECT_EQ(Hits({"x"}), "-");
  EXPECT_EQ(*chain_->WhyDisowned(weak), "it differs");
  EXPECT_FALSE(*chain_->WhyDisowned(late)) << "nobody asks a tier that has failed";
  EXPECT_EQ(local_.store->Disowned()->size(), 1u);
}

TEST_F(ChainTest, WhatWasDroppedIsNotBelievedAgain) {
  near_->Add("a");
  Use();
  EXPECT_EQ(Hits({"a"}), "a");
  ASSERT_TRUE(chain_->Drop(StepKey(Digest::Of("a"))));
  EXPECT_EQ(Hits({"a"}), "-");
}

TEST_F(ChainTest, ARecordIsKeptHereOnlyWithItsLayers) {
  near_->Add("a"), near_->Add("b");
  Use();
  EXPECT_EQ(Hits({"a", "b"}), "ab");
  ASSERT_TRUE(chain_->KeepFound(
      [](const std::vector<cache::Rootfs>& outputs) { return outputs[0].layers[0] == LayerOf("a"); }));
  auto here = local_.store->GetMany({StepKey(Digest::Of("a")), StepKey(Digest::Of("b"))});
  EXPECT_TRUE((*here)[0]);
  EXPECT_FALSE((*here)[1]);
}

TEST_F(ChainTest, ALayerIsFetchedOnceVerifiedAndKept) {
  near_->Add("a");
  Use();
  auto blob = chain_->FetchLayer(LayerOf("a"), nullptr, {});
  ASSERT_TRUE(blob && *blob);
  EXPECT_EQ(*blobs_->Get((*blob)->blob, 100), "blob of a");
  ASSERT_TRUE(*chain_->FetchLayer(LayerOf("a"), nullptr, {}));
  EXPECT_EQ(near_->fetches, 1);
  EXPECT_FALSE(*chain_->FetchLayer(LayerOf("x"), nullptr, {})) << "nobody has it";
}

TEST_F(ChainTest, ACancelledFetchDoesNotSayThatTheLayerIsGone) {
  near_->Add("a");
  Use();
  std::stop_source stop;
  near_->on_fetch = [&] {
    stop.request_stop();
    return Cancelled("stopped");
  };
  auto blob = chain_->FetchLayer(LayerOf("a"), nullptr, stop.get_token());
  ASSERT_FALSE(blob);
  EXPECT_EQ(blob.error().code, Code::kCancelled);
  EXPECT_FALSE(chain_->Reports()[0].failure);
}

TEST_F(ChainTest, ADamagedOrMissingBlobComesFromTheNextTier) {
  near_->Add("a"), near_->Add("b"), far_->Add("a");
  near_->damaged = true;
  Use();
  EXPECT_TRUE(*chain_->FetchLayer(LayerOf("a"), nullptr, {}));
  EXPECT_EQ(far_->fetches, 1);
  near_->damaged = false, near_->gone = true;
  EXPECT_FALSE(*chain_->FetchLayer(LayerOf("b"), nullptr, {}));
  EXPECT_FALSE(chain_->Reports()[0].failure) << "one blob is not the tier";
}

TEST_F(ChainTest, AMountComesFromTheFirstTierThatIsAskedForItAndHasIt) {
  near_->Add("npm");
  far_->Add("npm");
  chain_ = std::make_unique<Chain>(*local_.store, *blobs_, clock_,
                                   std::vector<Member>{{.name = "near", .tier = near_, .mounts = {.ids = {"pip"}}},
                                                       {.name = "far", .tier = far_, .mounts = {.all = true}}},
                                   std::stop_token());
  std::string tar;
  auto take = [&](Reader& in) -> Status {
    TRY_ASSIGN(tar, ReadAll(in, 1 << 20));
    return Ok();
  };
  EXPECT_TRUE(*chain_->FetchMount("npm", "npm", take, nullptr, {}));
  EXPECT_EQ(tar, "blob of npm");
  EXPECT_EQ(near_->fetches, 0) << "it is not asked for this one";
  EXPECT_FALSE(*blobs_->Has(Digest::Of(tar))) << "nobody needs it any more";
  EXPECT_FALSE(*chain_->FetchMount("other", "other", take, nullptr, {}));
}

TEST_F(ChainTest, AMountThatArrivesDamagedIsNotTaken) {
  far_->Add("npm");
  far_->damaged = true;
  chain_ = std::make_unique<Chain>(*local_.store, *blobs_, clock_,
                                   std::vector<Member>{{.name = "far", .tier = far_, .mounts = {.all = true}}},
                                   std::stop_token());
  auto fetched = chain_->FetchMount("npm", "npm", [](Reader&) -> Status { return Internal("taken"); }, nullptr, {});
  ASSERT_TRUE(fetched);
  EXPECT_FALSE(*fetched);
  EXPECT_FALSE(chain_->Reports()[0].failure) << "one blob's misfortune";
}

}  // namespace
}  // namespace varve::tier
