#include "cache/collect.h"

#include <gmock/gmock.h>

#include <map>
#include <thread>

#include "cache/lease.h"
#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

class FakeLayers final : public LayerData {
 public:
  std::map<DiffId, Timestamp> layers;
  std::function<void(const DiffId&)> before_remove;  // a sync point

  Result<std::vector<Entry>> List() override {
    std::vector<Entry> out;
    for (const auto& [layer, made] : layers) out.push_back({layer, 1000, made});
    return out;
  }
  Status Remove(const DiffId& layer) override {
    if (before_remove) before_remove(layer);
    layers.erase(layer);
    return Ok();
  }
};

// Everything is a week old unless a test makes it now.
class CollectTest : public testing::Test {
 protected:
  CollectTest() {
    EXPECT_TRUE(PrepareRoot(root));
    store = std::move(OpenLocalStore(root, clock).value().store);
  }

  DiffId Layer(const std::string& name) {
    DiffId layer(Digest::Of("layer " + name));
    layers.layers[layer] = clock.Now();
    EXPECT_TRUE(store->NoteLayer(layer, 1));
    return layer;
  }
  Digest Tree(const std::string& file) {
    tree::TreeEditor edit(*store, tree::EmptyTree());
    EXPECT_TRUE(edit.Put(RelPath("dir/" + file), {.mode = 0644, .digest = Digest::Of(file)}));
    return edit.Commit().value();
  }
  StepRecord Record(const std::string& name, const DiffId& layer, const Digest& tree) {
    StepRecord record;
    record.preimage = name;
    record.key = StepKey(Digest::Of(name));
    record.outputs = {{{layer}, tree}};
    record.slot = name;
    record.op_digest = Digest::Of("op");
    record.created = clock.Now();
    EXPECT_TRUE(store->Put(record));
    return record;
  }
  Collected Run(const CollectionPolicy& policy = {}) {
    auto collected = Collect(root, *store, *blobs, layers, policy, clock);
    EXPECT_TRUE(collected) << collected.error().message;
    return collected.value_or(Collected());
  }
  static CollectionPolicy DropAllRecords() {
    return {.drop_record = [](const RecordUse&) { return std::optional<std::string>("all"); }};
  }
  void WeekPasses() { clock.Advance(std::chrono::hours(24 * 7)); }
  // Read by a store that has nothing in memory.
  bool HasTree(const Digest& tree_root, const std::string& file) {
    auto fresh = std::move(OpenLocalStore(root, clock).value().store);
    auto node = tree::Lookup(*fresh, tree_root, RelPath("dir/" + file));
    return node && *node;
  }
  std::vector<Digest> Dropped(const Collected& collected, Removal::Kind kind) {
    std::vector<Digest> out;
    for (const Removal& removal : collected.removed) {
      if (removal.kind == kind) out.push_back(removal.digest);
    }
    return out;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "collect-");
  const std::string root = directory.path();
  FakeClock clock;
  std::unique_ptr<LocalStore> store;
  std::unique_ptr<cas::BlobStore> blobs = cas::MakeMemoryStore(clock);
  FakeLayers layers;
};

TEST_F(CollectTest, WhatRecordsReferToStaysAndTheRestGoes) {
  StepRecord kept = Record("kept", Layer("kept"), Tree("kept"));
  DiffId orphan = Layer("orphan");
  Digest orphan_tree = Tree("orphan");
  Digest orphan_blob = blobs->Put("orphan").value();
  WeekPasses();
  Collected collected = Run();
  EXPECT_THAT(Dropped(collected, Removal::Kind::kRecord), ElementsAre());
  EXPECT_THAT(Dropped(collected, Removal::Kind::kLayer), ElementsAre(orphan.value));
  EXPECT_THAT(Dropped(collected, Removal::Kind::kBlob), ElementsAre(orphan_blob));
  EXPECT_EQ(Dropped(collected, Removal::Kind::kTree).size(), 2u) << "root and dir";
  EXPECT_TRUE(HasTree(kept.outputs[0].tree_root, "kept"));
  EXPECT_FALSE(HasTree(orphan_tree, "orphan"));
  EXPECT_TRUE(layers.layers.contains(kept.outputs[0].layers[0]));
  EXPECT_EQ(store->contents().Layers()->size(), 1u);
  EXPECT_EQ(collected.bytes, 1000 + 6 + collected.removed[0].bytes + collected.removed[1].bytes);
  EXPECT_TRUE(Run().removed.empty()) << "a second one finds nothing";
}

TEST_F(CollectTest, DroppedRecordTakesItsLayersAndTreesAndSaysWhy) {
  StepRecord record = Record("r", Layer("r"), Tree("r"));
  DiffId shared = Layer("shared");
  StepRecord other = Record("other", shared, Tree("other"));
  WeekPasses();
  CollectionPolicy policy;
  policy.drop_record = [&](const RecordUse& use) {
    return use.key == record.key ? std::optional<std::string>("max-age 3d") : std::nullopt;
  };
  Collected collected = Run(policy);
  EXPECT_FALSE((*store->GetMany({record.key}))[0]);
  EXPECT_EQ(store->contents().WhyDropped(record.key).value()->rule, "max-age 3d");
  EXPECT_FALSE(layers.layers.contains(record.outputs[0].layers[0]));
  EXPECT_FALSE(HasTree(record.outputs[0].tree_root, "r"));
  EXPECT_TRUE(layers.layers.contains(shared));
  EXPECT_TRUE(HasTree(other.outputs[0].tree_root, "other"));
}

TEST_F(CollectTest, LeasedRecordStaysWithItsData) {
  StepRecord record = Record("r", Layer("r"), Tree("r"));
  WeekPasses();
  auto job = JobLease::Begin(root, clock).value();
  ASSERT_TRUE(job->Add(record.key));
  Collected collected = Run(DropAllRecords());
  EXPECT_TRUE(collected.removed.empty());
  EXPECT_EQ(collected.spared, 1u);
  EXPECT_TRUE((*store->GetMany({record.key}))[0]);
  job.reset();
  EXPECT_EQ(Dropped(Run(DropAllRecords()), Removal::Kind::kRecord).size(), 1u);
  EXPECT_TRUE(layers.layers.empty());
}

TEST_F(CollectTest, LeasedLayersTreesAndBlobsStay) {
  DiffId layer = Layer("l");
  Digest tree = Tree("t"), blob = blobs->Put("b").value();
  WeekPasses();
  auto job = JobLease::Begin(root, clock).value();
  ASSERT_TRUE(job->Add(layer));
  ASSERT_TRUE(job->Add(LeaseKind::kTree, tree));
  ASSERT_TRUE(job->Add(LeaseKind::kBlob, blob));
  EXPECT_TRUE(Run().removed.empty());
  EXPECT_TRUE(HasTree(tree, "t"));
  job.reset();
  EXPECT_EQ(Run().removed.size(), 4u);
}

TEST_F(CollectTest, WhatALiveJobMadeAndHasNotRecordedStays) {
  WeekPasses();
  auto job = JobLease::Begin(root, clock).value();
  clock.Advance(std::chrono::seconds(1));
  DiffId layer = Layer("new");
  Digest tree = Tree("new"), blob = blobs->Put("new").value();
  clock.Advance(std::chrono::hours(30));  // a long build
  Collected collected = Run();
  EXPECT_TRUE(collected.removed.empty());
  EXPECT_TRUE(layers.layers.contains(layer));
  EXPECT_TRUE(HasTree(tree, "new"));
  EXPECT_TRUE(blobs->Has(blob).value());
  EXPECT_EQ(collected.spared, 2u);
}

TEST_F(CollectTest, OldTreeThatALiveJobPutAgainStays) {
  Digest tree = Tree("same");
  WeekPasses();
  auto job = JobLease::Begin(root, clock).value();
  EXPECT_EQ(Tree("same"), tree);
  EXPECT_TRUE(Run().removed.empty());
  EXPECT_TRUE(HasTree(tree, "same"));
}

// The sync point stands between two batches' removals: while the first layer goes, a job leases the
// next one. It must wait for the lock, so that it is leased by a thread and looked at afterwards.
TEST_F(CollectTest, RecordPutBetweenMarkingAndSweepingSavesItsLayers) {
  for (int i = 0; i < 100; ++i) Layer(std::to_string(i));  // more than a batch
  WeekPasses();
  std::optional<StepRecord> late;
  layers.before_remove = [&](const DiffId&) {
    if (late) return;
    // Any of those that are left: the last in order is in the second batch.
    late = Record("late", layers.layers.rbegin()->first, tree::EmptyTree());
  };
  Collected collected = Run();
  ASSERT_TRUE(late);
  EXPECT_EQ(layers.layers.size(), 1u);
  EXPECT_TRUE(layers.layers.contains(late->outputs[0].layers[0]));
  EXPECT_EQ(collected.spared, 1u);
}

TEST_F(CollectTest, LeaseWaitsForTheBatchAndThenTellsTheTruth) {
  for (int i = 0; i < 100; ++i) Layer(std::to_string(i));
  WeekPasses();
  auto job = JobLease::Begin(root, clock).value();
  std::vector<DiffId> all;
  for (const auto& [layer, made] : layers.layers) all.push_back(layer);
  std::jthread user;
  layers.before_remove = [&](const DiffId&) {
    if (user.joinable()) return;
    user = std::jthread([&] { EXPECT_TRUE(job->Add(all)); });
  };
  Collected collected = Run();
  user.join();
  layers.before_remove = nullptr;
  size_t left = layers.layers.size();
  EXPECT_LE(left, 100u - 64u) << "the batch that ran went to its end";
  Run();
  EXPECT_EQ(layers.layers.size(), left) << "what was there after Add stays";
}

TEST_F(CollectTest, ImagesKeepTheirManifestsBlobsAndLayers) {
  DiffId layer = Layer("of image");
  Digest config =
      blobs->Put(fmt::format(R"({{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}})", layer.ToString())).value();
  Digest compressed = blobs->Put("gzip").value();
  Digest manifest = blobs
                        ->Put(fmt::format(R"({{"config":{{"digest":"{}"}},"layers":[{{"digest":"{}"}}]}})",
                                          config.ToString(), compressed.ToString()))
                        .value();
  Digest index = blobs->Put(fmt::format(R"({{"manifests":[{{"digest":"{}"}}]}})", manifest.ToString())).value();
  ASSERT_TRUE(store->PutImage({"docker.io/library/app:1", index, clock.Now()}));
  WeekPasses();
  EXPECT_TRUE(Run().removed.empty());
  ASSERT_TRUE(store->RemoveImage("docker.io/library/app:1"));
  EXPECT_THAT(Dropped(Run(), Removal::Kind::kBlob), UnorderedElementsAre(config, compressed, manifest, index));
  EXPECT_TRUE(layers.layers.empty());
}

TEST_F(CollectTest, CompressedFormsLiveAsLongAsTheirLayer) {
  StepRecord record = Record("r", Layer("r"), Tree("r"));
  DiffId layer = record.outputs[0].layers[0];
  Digest blob = blobs->Put("gzip").value();
  ASSERT_TRUE(store->PutLayerBlob(layer, {blob, "type", 4, ""}));
  WeekPasses();
  EXPECT_TRUE(Run().removed.empty());
  EXPECT_THAT(Dropped(Run(DropAllRecords()), Removal::Kind::kBlob), ElementsAre(blob));
}

TEST_F(CollectTest, PolicyMayDropALayerAndKeepItsRecord) {
  StepRecord record = Record("r", Layer("r"), Tree("r"));
  WeekPasses();
  CollectionPolicy policy;
  policy.drop_layer = [](const LayerData::Entry& entry) {
    return entry.disk_bytes > 500 ? std::optional<std::string>("keep-storage") : std::nullopt;
  };
  Collected collected = Run(policy);
  ASSERT_EQ(collected.removed.size(), 1u);
  EXPECT_EQ(collected.removed[0].rule, "keep-storage");
  EXPECT_TRUE((*store->GetMany({record.key}))[0]) << "metadata outlives data";
  EXPECT_TRUE(HasTree(record.outputs[0].tree_root, "r"));
}

TEST_F(CollectTest, StacksKeepTheirTreesUntilThePolicyDropsThem) {
  Digest tree = Tree("base");
  ChainId chain(Digest::Of("chain"));
  ASSERT_TRUE(store->PutChainTree(chain, tree));
  WeekPasses();
  EXPECT_TRUE(Run().removed.empty());
  Collected collected = Run({.drop_chain = [](const ChainId&) { return std::optional<std::string>("x"); }});
  EXPECT_THAT(Dropped(collected, Removal::Kind::kChain), ElementsAre(chain.value));
  EXPECT_FALSE(HasTree(tree, "base"));
}

TEST_F(CollectTest, WantedBlobsStay) {
  Digest wanted = blobs->Put("wanted").value();
  WeekPasses();
  EXPECT_TRUE(Run({.keep_blobs = {wanted}}).removed.empty());
}

TEST_F(CollectTest, StopEndsItBetweenBatches) {
  for (int i = 0; i < 200; ++i) Layer(std::to_string(i));
  WeekPasses();
  std::stop_source stop;
  layers.before_remove = [&](const DiffId&) { stop.request_stop(); };
  auto collected = Collect(root, *store, *blobs, layers, {}, clock, stop.get_token());
  ASSERT_FALSE(collected);
  EXPECT_EQ(collected.error().code, Code::kCancelled);
  EXPECT_EQ(layers.layers.size(), 200u - 64u);
}

}  // namespace
}  // namespace varve::cache
