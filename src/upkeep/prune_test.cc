#include "upkeep/prune.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/metric.h"
#include "cache/lease.h"
#include "sys/flock.h"
#include "upkeep/disk_use.h"
#include "upkeep/test_root.h"

namespace varve::upkeep {
namespace {

namespace fs = std::filesystem;

const std::string kBig(300'000, 'x');

Pruned PruneBy(TestRoot& root, const Policy& policy) {
  auto pruned = Prune(root.stores(), policy, {});
  EXPECT_TRUE(pruned) << pruned.error().ToString();
  return pruned.value_or(Pruned{});
}

Inventory Take(TestRoot& root) { return TakeInventory(root.stores(), {}).value(); }

const UsageRow* RowOf(const Inventory& inventory, const DiffId& layer) {
  for (const UsageRow& row : inventory.rows) {
    if (row.id == layer.Hex()) return &row;
  }
  return nullptr;
}

TEST(Inventory, SumIsWhatTheDiskHolds) {
  TestRoot root;
  DiffId layer = root.Layer(kBig);
  root.Record("a", {layer});
  ASSERT_TRUE(root.blobs->Put(kBig));
  // Linked between two layers, as an unchanged file of a large COPY.
  auto draft = root.layers->NewDraft().value();
  fs::create_hard_link(root.layers->Directory(layer).value() + "/file", draft->upper() + "/file");
  ASSERT_TRUE(WriteFileAtomically(draft->upper() + "/new", "new"));
  DiffId second = root.layers->Commit(std::move(draft), {}, {}, {}).value().diff_id;
  root.Record("b", {second});
  cache::CacheMounts mounts(root.root, root.clock);
  {
    auto use = mounts.Acquire({.key = "k", .id = "k"}, {}).value();
    ASSERT_TRUE(WriteFileAtomically(use.path() + "/file", kBig));
    ASSERT_TRUE(use.MarkInitialised());
  }
  ASSERT_TRUE(WriteFileAtomically(root.root + "/staging/left", kBig));
  ASSERT_TRUE(WriteFileAtomically(root.root + "/foreign", kBig));
  Inventory inventory = Take(root);
  FILE* du = popen(("du -s -B1 " + root.root).c_str(), "r");
  unsigned long long bytes = 0;
  ASSERT_EQ(fscanf(du, "%llu", &bytes), 1);
  pclose(du);
  EXPECT_NEAR(static_cast<double>(inventory.bytes), static_cast<double>(bytes), 0.02 * bytes);
  ASSERT_TRUE(RowOf(inventory, layer) && RowOf(inventory, second));
  EXPECT_LT(RowOf(inventory, layer)->bytes, kBig.size()) << "it bears a part";
}

TEST(Prune, GivesUpTheFilesOfClientsThatNoBuildReads) {
  TestRoot root;
  for (const char* copy : {"/synced/key/0", "/synced/key/1"}) {
    fs::create_directories(root.root + copy);
    ASSERT_TRUE(WriteFileAtomically(root.root + copy + "/file", kBig));
  }
  auto used = sys::FlockGuard::TryLock(root.root + "/synced/key/1.lock", sys::LockMode::kExclusive).value();
  ASSERT_TRUE(used);
  Pruned pruned = PruneBy(root, {.name = "varve prune", .filter = {}, .limits = {}});
  ASSERT_EQ(pruned.rows.size(), 1u);
  EXPECT_EQ(pruned.rows[0].id, "key/0");
  EXPECT_EQ(pruned.rows[0].type, UsageType::kLocalSource);
  EXPECT_FALSE(fs::exists(root.root + "/synced/key/0"));
  EXPECT_TRUE(fs::exists(root.root + "/synced/key/1/file"));
}

TEST(Prune, WithoutLimitsTakesLayersAndKeepsRecords) {
  TestRoot root;
  DiffId layer = root.Layer(kBig);
  auto record = root.Record("a", {layer});
  Pruned pruned = PruneBy(root, {.name = "varve prune", .filter = {}, .limits = {}});
  EXPECT_FALSE(root.Has(layer));
  EXPECT_TRUE(root.HasRecord(record.key));
  ASSERT_EQ(pruned.rows.size(), 1u);
  EXPECT_EQ(pruned.rules[0], "varve prune");
  EXPECT_GE(pruned.bytes, kBig.size());
  EXPECT_EQ(root.local->contents().WhyDropped(record.key).value()->rule, "varve prune");
  // A build that needs the layer finds out, and the reason stays what it was.
  ASSERT_TRUE(root.local->Drop(record.key));
  EXPECT_EQ(root.local->contents().WhyDropped(record.key).value()->rule, "varve prune");
  root.Record("a", {layer});
  EXPECT_FALSE(root.local->contents().WhyDropped(record.key).value()) << "made again";
}

TEST(Prune, AllTakesRecordsToo) {
  TestRoot root;
  auto record = root.Record("a", {root.Layer(kBig)});
  Pruned pruned = PruneBy(root, {.name = "all", .all = true, .filter = {}, .limits = {}});
  EXPECT_EQ(pruned.records, 1u);
  EXPECT_FALSE(root.HasRecord(record.key));
}

TEST(Prune, ToALimitTakesWhatSavesFewestSecondsPerByte) {
  TestRoot root;
  DiffId cheap = root.Layer(kBig + "cheap"), dear = root.Layer(kBig + "dear");
  root.Record("cheap", {cheap}, 1);
  root.Record("dear", {dear}, 500);
  uint64_t used = Take(root).bytes;
  PruneBy(root, {.name = "n", .filter = {}, .limits = {.max_used = used - 1000}});
  EXPECT_FALSE(root.Has(cheap));
  EXPECT_TRUE(root.Has(dear));
  PruneBy(root, {.name = "n", .filter = {}, .limits = {.max_used = used}});
  EXPECT_TRUE(root.Has(dear)) << "small enough";
}

TEST(Prune, FilterAndKeepDurationSpareTheRest) {
  TestRoot root;
  DiffId one = root.Layer(kBig + "1"), two = root.Layer(kBig + "2");
  root.Record("one", {one});
  root.Record("two", {two});
  PruneBy(root, {.name = "n", .filter = {}, .keep_duration = std::chrono::hours(1), .limits = {}});
  EXPECT_TRUE(root.Has(one) && root.Has(two));
  PruneBy(root, {.name = "n", .filter = Filter::Parse({"id=" + one.Hex().substr(0, 12)}).value(), .limits = {}});
  EXPECT_FALSE(root.Has(one));
  EXPECT_TRUE(root.Has(two));
}

TEST(Prune, NamedImagesKeepWhatTheyNeed) {
  TestRoot root;
  DiffId layer = root.Layer(kBig);
  Digest config =
      root.blobs->Put(fmt::format(R"({{"rootfs":{{"type":"layers","diff_ids":["{}"]}}}})", layer.ToString())).value();
  Digest manifest =
      root.blobs->Put(fmt::format(R"({{"config":{{"digest":"{}"}},"layers":[]}})", config.ToString())).value();
  ASSERT_TRUE(root.local->PutImage({"docker.io/library/app:1", manifest, root.clock.Now()}));
  PruneBy(root, {.name = "all", .all = true, .filter = {}, .limits = {}});
  EXPECT_TRUE(root.Has(layer));
  EXPECT_TRUE(root.blobs->Has(config).value());
  ASSERT_TRUE(Clear(root.stores(), {}, {}));
  EXPECT_TRUE(root.Has(layer));
  ASSERT_TRUE(Clear(root.stores(), {.images = true}, {}));
  EXPECT_FALSE(root.Has(layer));
  EXPECT_FALSE(root.blobs->Has(config).value());
}

// A job that leased a layer after the inventory was taken, and one that made a layer meanwhile.
TEST(Prune, WhatARunningBuildHasIsSpared) {
  TestRoot root;
  DiffId leased = root.Layer(kBig + "leased");
  root.Record("leased", {leased});
  auto job = cache::JobLease::Begin(root.root, root.clock).value();
  DiffId made = root.Layer(kBig + "made");  // not recorded yet
  ASSERT_TRUE(job->Add(leased));
  Pruned pruned = PruneBy(root, {.name = "all", .all = true, .filter = {}, .limits = {}});
  EXPECT_TRUE(root.Has(leased));
  EXPECT_TRUE(root.Has(made));
  EXPECT_TRUE(RowOf(Take(root), leased)->in_use);
  job.reset();
  PruneBy(root, {.name = "all", .all = true, .filter = {}, .limits = {}});
  EXPECT_FALSE(root.Has(leased));
  EXPECT_FALSE(root.Has(made));
}

TEST(Prune, BusyCacheMountStaysAndAFreeOneGoes) {
  TestRoot root;
  cache::CacheMounts mounts(root.root, root.clock);
  auto fill = [&](const char* key) {
    auto use = mounts.Acquire({.key = key, .id = key}, {}).value();
    EXPECT_TRUE(use.MarkInitialised());
    return use;
  };
  auto busy = fill("busy");
  { auto free = fill("free"); }
  Policy policy{.name = "n", .filter = Filter::Parse({"type=exec.cachemount"}).value(), .limits = {}};
  Pruned pruned = PruneBy(root, policy);
  ASSERT_EQ(pruned.rows.size(), 1u);
  EXPECT_EQ(pruned.rows[0].description, "cache mount free");
  EXPECT_EQ(mounts.List()->size(), 1u);
}

TEST(Collection, FollowsThePoliciesAndWritesDownWhatWent) {
  TestRoot root;
  DiffId layer = root.Layer(kBig);
  root.Record("a", {layer});
  DiskSpace space = SpaceOf(root.root).value();
  PolicyFile off = ParsePolicies(R"({"gc": false, "maxUsedSpace": 1})", space).value();
  EXPECT_FALSE(MayNeedCollection(root.stores(), off).value());
  EXPECT_TRUE(CollectByPolicy(root.stores(), off, {})->rows.empty());
  PolicyFile roomy = ParsePolicies(R"({"maxUsedSpace": "1GB"})", space).value();
  EXPECT_FALSE(MayNeedCollection(root.stores(), roomy).value());
  PolicyFile tight = ParsePolicies(R"({"maxUsedSpace": 1000})", space).value();
  EXPECT_TRUE(MayNeedCollection(root.stores(), tight).value());
  Pruned pruned = CollectByPolicy(root.stores(), tight, {}).value();
  ASSERT_EQ(pruned.rows.size(), 1u);
  EXPECT_EQ(pruned.rules[0], "gc policy 2 (maxUsedSpace 1.00 kB)");
  EXPECT_FALSE(root.Has(layer));
  EXPECT_THAT(ReadFile(root.root + "/collections.log").value(),
              testing::HasSubstr("\"rule\":\"gc policy 2 (maxUsedSpace 1.00 kB)\""));
}

// Such layers are most of a store whose project has many files: to measure them takes seconds.
TEST(Collection, KnowsAboutWhatLayersTakeThatShareFiles) {
  TestRoot root;
  DiffId first = root.Layer(kBig);
  auto draft = root.layers->NewDraft().value();
  fs::create_hard_link(root.layers->Directory(first).value() + "/file", draft->upper() + "/again");
  DiffId second = root.layers->Commit(std::move(draft), {}, {}, {}).value().diff_id;
  root.Record("a", {first});
  root.Record("b", {second});
  auto limit = [](uint64_t bytes) {
    return ParsePolicies(fmt::format(R"({{"maxUsedSpace": {}}})", bytes), {}).value();
  };
  const uint64_t bytes = Take(root).bytes;
  EXPECT_FALSE(MayNeedCollection(root.stores(), limit(bytes + kBig.size() / 2)).value());
  EXPECT_TRUE(MayNeedCollection(root.stores(), limit(bytes - kBig.size() / 2)).value());
  ASSERT_TRUE(root.layers->Remove(second));
  const Inventory alone = Take(root);
  EXPECT_GT(RowOf(alone, first)->bytes, kBig.size()) << "its part is all of it now";
}

TEST(Collection, CountsOfALazyLayerWhatItHasItself) {
  TestRoot root, elsewhere;
  DiffId rest = root.Layer(kBig);
  root.Record("a", {rest});
  // The same file and a small one.
  auto whole = elsewhere.layers->NewDraft().value();
  ASSERT_TRUE(WriteFileAtomically(whole->upper() + "/file", kBig));
  ASSERT_TRUE(WriteFileAtomically(whole->upper() + "/small", "small"));
  snapshot::Layer layer = elsewhere.layers->Commit(std::move(whole), {}, {}, {}).value();
  snapshot::WrittenLayer written{.diff_id = layer.diff_id, .tar_size = layer.tar_size, .index = {""}, .rest = rest};
  const tree::LayerIndex index = elsewhere.layers->Index(layer.diff_id).value();
  for (const tree::LayerEntry& entry : index) {
    tree::AppendLayerEntry(written.index[0], entry);
    written.times.emplace_back(sizeof(int64_t), '\0');
    ++written.entries;
  }
  auto draft = root.layers->NewDraft().value();
  ASSERT_TRUE(WriteFileAtomically(draft->upper() + "/small", "small"));
  ASSERT_TRUE(root.layers->CommitWritten(std::move(draft), std::move(written), {}));
  root.Record("b", {layer.diff_id});
  PolicyFile one_and_a_half =
      ParsePolicies(fmt::format(R"({{"maxUsedSpace": {}}})", Take(root).bytes + kBig.size() / 2), {}).value();
  EXPECT_FALSE(MayNeedCollection(root.stores(), one_and_a_half).value());
}

TEST(Collection, LooksAtTheRootOnceAsLongAsItRemovesNothing) {
  TestRoot root;
  root.Record("a", {root.Layer(kBig)});
  PolicyFile file = ParsePolicies("{}", SpaceOf(root.root).value()).value();
  ASSERT_GT(file.policies.size(), 2u);
  for (Policy& policy : file.policies) policy.limits = {.max_used = 1 << 30};
  const int64_t before = CounterSnapshot()["upkeep.inventory.calls"];
  EXPECT_TRUE(CollectByPolicy(root.stores(), file, {})->rows.empty());
  EXPECT_EQ(CounterSnapshot()["upkeep.inventory.calls"], before + 1);
}

TEST(Clear, LeavesNothingThatMakesABuildWarm) {
  TestRoot root;
  auto record = root.Record("a", {root.Layer(kBig)});
  Digest body = root.blobs->Put(kBig).value();
  ASSERT_TRUE(root.local->PutMemo("http", "http://h/x", {fmt::format(R"({{"digest":"{}"}})", body.ToString()), {}}));
  tree::TreeEditor edit(*root.local, tree::EmptyTree());
  ASSERT_TRUE(edit.Put(RelPath("dir/file"), {.mode = 0644, .digest = body}));
  ASSERT_TRUE(edit.Commit());
  ASSERT_TRUE(WriteFileAtomically(root.root + "/contexts/c", "x"));
  ASSERT_TRUE(Clear(root.stores(), {}, {}));
  Inventory inventory = Take(root);
  for (const UsageRow& row : inventory.rows) {
    EXPECT_TRUE(row.kind == UsageRow::Kind::kFiles || row.kind == UsageRow::Kind::kRecords) << row.description;
  }
  EXPECT_TRUE(inventory.records.empty());
  EXPECT_FALSE(root.local->GetMemo("http", "http://h/x").value());
  EXPECT_TRUE(root.local->contents().TreesPutBefore({INT64_MAX})->empty());
}

}  // namespace
}  // namespace varve::upkeep
