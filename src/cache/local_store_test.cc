#include "cache/local_store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "base/thread_pool.h"
#include "cache/database.h"
#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

namespace fs = std::filesystem;

StepRecord Record(const std::string& name, const std::string& slot, int64_t created = 1) {
  StepRecord record;
  record.preimage = "{\"name\":\"" + name + "\"}";
  record.key = StepKey(Digest::Of(record.preimage));
  record.slot = slot;
  record.op_digest = Digest::Of("op of " + slot);
  record.name = name;
  record.created = Timestamp{created};
  return record;
}

class LocalStoreTest : public testing::Test {
 protected:
  LocalStoreTest() : directory(*sys::TempDir::Create(testing::TempDir(), "root-")) { EXPECT_TRUE(PrepareRoot(root())); }
  std::string root() const { return directory.path(); }
  std::unique_ptr<LocalStore> Open(std::string* notice = nullptr) {
    auto opened = OpenLocalStore(root(), clock);
    EXPECT_TRUE(opened) << opened.error().message;
    if (notice != nullptr) *notice = opened->notice;
    return std::move(opened->store);
  }
  sys::TempDir directory;
  FakeClock clock;
};

TEST_F(LocalStoreTest, RecordsAreFoundByKeyInOrder) {
  auto store = Open();
  StepRecord a = Record("a", "s"), b = Record("b", "s");
  ASSERT_TRUE(store->Put(a));
  auto found = *store->GetMany({b.key, a.key});
  EXPECT_FALSE(found[0]);
  EXPECT_EQ(found[1]->name, "a");
  ASSERT_TRUE(store->Drop(a.key));
  EXPECT_FALSE((*store->GetMany({a.key}))[0]);
}

TEST_F(LocalStoreTest, AnotherProcessSeesTheRecords) {
  auto store = Open();
  StepRecord a = Record("a", "s");
  if (fork() == 0) {
    auto theirs = OpenLocalStore(root(), SystemClock());
    bool ok = theirs && theirs->store->Put(a);
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  wait(&status);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE((*store->GetMany({a.key}))[0]);
}

TEST_F(LocalStoreTest, ManyProcessesLoseNothing) {
  constexpr int kProcesses = 16, kRecords = 15;
  Open();
  for (int p = 0; p < kProcesses; ++p) {
    if (fork() == 0) {
      auto opened = OpenLocalStore(root(), SystemClock());
      bool ok = opened.has_value();
      for (int i = 0; ok && i < kRecords; ++i) {
        ok = opened->store->Put(Record(fmt::format("{}-{}", p, i), "s")).has_value();
      }
      _exit(ok ? 0 : 1);
    }
  }
  for (int p = 0; p < kProcesses; ++p) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  auto store = Open();
  for (int p = 0; p < kProcesses; ++p) {
    for (int i = 0; i < kRecords; ++i) {
      EXPECT_TRUE((*store->GetMany({Record(fmt::format("{}-{}", p, i), "s").key}))[0]);
    }
  }
}

TEST_F(LocalStoreTest, EarlierIsNewestFirstBySlotThenByOp) {
  auto store = Open();
  ASSERT_TRUE(store->Put(Record("old", "s", 1)));
  ASSERT_TRUE(store->Put(Record("new", "s", 2)));
  ASSERT_TRUE(store->Put(Record("other", "t", 3)));
  auto by_slot = *store->Earlier("s", Digest::Of("none"), 5);
  ASSERT_EQ(by_slot.size(), 2u);
  EXPECT_EQ(by_slot[0].name, "new");
  auto by_op = *store->Earlier("nothing", Digest::Of("op of t"), 5);
  ASSERT_EQ(by_op.size(), 1u);
  EXPECT_EQ(by_op[0].name, "other");
}

TEST_F(LocalStoreTest, TracedIsOneRecordOfEachRunNewestFirst) {
  auto store = Open();
  auto put = [&](const std::string& name, int64_t created, const std::string& weak, const std::string& reads) {
    StepRecord record = Record(name, "s", created);
    record.trace = StepTrace{.weak_key = Digest::Of(weak), .reads = {reads}};
    ASSERT_TRUE(store->Put(record));
  };
  put("old", 1, "w", "a");
  put("new", 2, "w", "b");
  put("other", 3, "v", "a");
  put("replay of old", 1, "w", "a");
  ASSERT_TRUE(store->Put(Record("untraced", "s", 4)));
  auto names = [&](const std::string& weak, size_t limit) {
    std::string text;
    auto traced = *store->Traced(Digest::Of(weak), limit);
    for (const StepRecord& record : traced) text += record.name + "; ";
    return text;
  };
  EXPECT_EQ(names("w", 9), "new; replay of old; ");
  EXPECT_EQ(names("w", 1), "new; ");
  EXPECT_EQ(names("v", 9), "other; ");
  EXPECT_EQ(names("none", 9), "");
}

TEST_F(LocalStoreTest, ADamagedIndexIsRebuiltFromTheFiles) {
  StepRecord a = Record("a", "s");
  ASSERT_TRUE(Open()->Put(a));
  for (const char* suffix : {"-wal", "-shm"}) fs::remove(root() + "/index.db" + suffix);
  std::ofstream(root() + "/index.db", std::ios::trunc) << std::string(8192, 'x');
  std::string notice;
  auto store = Open(&notice);
  EXPECT_NE(notice, "");
  EXPECT_TRUE((*store->GetMany({a.key}))[0]);
}

TEST_F(LocalStoreTest, ALostIndexIsRebuiltAndDamagedFilesAreDropped) {
  StepRecord a = Record("a", "s"), b = Record("b", "s");
  {
    auto store = Open();
    ASSERT_TRUE(store->Put(a));
    ASSERT_TRUE(store->Put(b));
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(root() + "/index.db" + suffix);
  std::string file = root() + "/records/" + b.key.Hex().substr(0, 2) + "/" + b.key.Hex() + ".json";
  fs::resize_file(file, 20);
  auto store = Open();
  EXPECT_TRUE((*store->GetMany({a.key}))[0]);
  EXPECT_FALSE((*store->GetMany({b.key}))[0]);
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(LocalStoreTest, TreesArePutOnceAndRead) {
  auto store = Open();
  tree::TreeEditor edit(*store, tree::EmptyTree());
  ASSERT_TRUE(edit.Put(RelPath("a/b"), {.mode = 0644, .digest = Digest::Of("x")}));
  Digest root_digest = *edit.Commit();
  EXPECT_EQ((*tree::Lookup(*store, root_digest, RelPath("a/b")))->digest, Digest::Of("x"));
  EXPECT_FALSE(*store->Get(Digest::Of("no such tree")));
  auto again = Open();
  EXPECT_TRUE(*tree::Lookup(*again, root_digest, RelPath("a/b")));
}

TEST_F(LocalStoreTest, ImagesLayersChainsAndMemosAreKept) {
  auto store = Open();
  DiffId layer(Digest::Of("l"));
  LayerBlob blob{Digest::Of("b"), "type", 7, "docker.io/library/x"};
  ASSERT_TRUE(store->PutLayerBlob(layer, blob));
  EXPECT_EQ(*store->FindLayerBlobs(layer), std::vector<LayerBlob>{blob});
  auto of_two = store->FindBlobsOfLayers({DiffId(Digest::Of("unknown")), layer});
  EXPECT_EQ(*of_two, (std::vector<std::vector<LayerBlob>>{{}, {blob}}));
  ChainId chain(Digest::Of("c"));
  EXPECT_FALSE(*store->GetChainTree(chain));
  ASSERT_TRUE(store->PutChainTree(chain, Digest::Of("t")));
  EXPECT_EQ(**store->GetChainTree(chain), Digest::Of("t"));
  ASSERT_TRUE(store->PutImage({"docker.io/library/app:1", Digest::Of("m"), clock.Now()}));
  EXPECT_EQ((*store->GetImage("docker.io/library/app:1"))->manifest, Digest::Of("m"));
  ASSERT_TRUE(store->PutMemo("http", "u", {"etag", clock.Now()}));
  EXPECT_EQ((*store->GetMemo("http", "u"))->value, "etag");
}

TEST_F(LocalStoreTest, ThreadsShareOneStore) {
  auto store = Open();
  ASSERT_TRUE(ParallelFor(8, 8, [&](size_t t) -> Status {
    for (int i = 0; i < 30; ++i) {
      StepRecord mine = Record(fmt::format("{}-{}", t, i), "s");
      TRY(store->Put(mine));
      TRY_ASSIGN(auto found, store->GetMany({mine.key}));
      if (!found[0]) return Internal("a record that was put is absent");
      tree::TreeEditor edit(*store, tree::EmptyTree());
      TRY(edit.Put(RelPath(fmt::format("shared/{}", i)), {.mode = 0644}));
      TRY_ASSIGN(Digest root_digest, edit.Commit());
      TRY_ASSIGN(auto node, tree::Lookup(*store, root_digest, RelPath("shared")));
      if (!node) return Internal("a tree that was put is absent");
      store->UsedLayer(DiffId(root_digest));
      TRY(store->Flush());
    }
    return Ok();
  }));
  EXPECT_EQ(store->contents().Records()->size(), 240u);
}

TEST_F(LocalStoreTest, DroppedRecordIsRememberedWithTheRuleUntilItIsMadeAgain) {
  auto store = Open();
  StepRecord a = Record("a", "s");
  ASSERT_TRUE(store->Put(a));
  ASSERT_TRUE(store->contents().DropRecord(a.key, "keep-storage 10GB"));
  auto dropped = store->contents().WhyDropped(a.key).value();
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->rule, "keep-storage 10GB");
  EXPECT_EQ(dropped->slot, "s");
  EXPECT_EQ(dropped->time, clock.Now());
  EXPECT_EQ(store->contents().DroppedOf("s", 5)->size(), 1u);
  ASSERT_TRUE(store->Put(a));
  EXPECT_FALSE(store->contents().WhyDropped(a.key).value());
  EXPECT_TRUE(store->Drop(Record("never", "s").key));
}

TEST_F(LocalStoreTest, UsesAreWrittenByFlushOnceAnHour) {
  auto store = Open();
  StepRecord a = Record("a", "s", clock.Now().nanos);
  ASSERT_TRUE(store->Put(a));
  auto use = [&] { return store->contents().Records().value().at(0); };
  auto look_up = [&] {
    EXPECT_TRUE((*store->GetMany({a.key}))[0]);
    EXPECT_TRUE(store->Flush());
  };
  clock.Advance(std::chrono::minutes(59));
  look_up();
  EXPECT_EQ(use().uses, 0u);
  clock.Advance(std::chrono::minutes(2));
  EXPECT_TRUE((*store->GetMany({a.key}))[0]);
  EXPECT_EQ(use().uses, 0u) << "a look-up does not write";
  look_up();
  EXPECT_EQ(use().uses, 1u);
  EXPECT_EQ(use().last_used, clock.Now());
  look_up();
  EXPECT_EQ(use().uses, 1u);
}

TEST_F(LocalStoreTest, RecordUseTellsCostBytesAndOrder) {
  auto store = Open();
  StepRecord a = Record("a", "s"), b = Record("b", "t");
  a.wall = Nanos(5);
  a.new_bytes = 6;
  ASSERT_TRUE(store->Put(a));
  ASSERT_TRUE(store->Put(b));
  auto all = store->contents().Records().value();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].key, a.key);
  EXPECT_EQ(all[0].wall, Nanos(5));
  EXPECT_EQ(all[0].new_bytes, 6u);
  EXPECT_GT(all[0].stored_bytes, 100u);
  ASSERT_TRUE(store->Put(a));  // again: it is the newest now
  auto later = store->contents().Records(all[1].sequence).value();
  ASSERT_EQ(later.size(), 1u);
  EXPECT_EQ(later[0].key, a.key);
}

TEST_F(LocalStoreTest, WholeRecordsComeBack) {
  auto store = Open();
  StepRecord a = Record("a", "s");
  a.outputs = {{{DiffId(Digest::Of("l"))}, Digest::Of("t")}};
  a.inputs = {{"context", Digest::Of("r"), Digest::Of("sel")}};
  a.log = std::string("line\n\xff\0end", 10);
  a.unknown = R"({"later":1})";
  ASSERT_TRUE(store->Put(a));
  StepRecord back = *(*store->GetMany({a.key}))[0];
  EXPECT_EQ(back.outputs, a.outputs);
  EXPECT_EQ(back.inputs.size(), 1u);
  EXPECT_EQ(back.log, a.log);
  EXPECT_EQ(back.unknown, a.unknown);
  EXPECT_EQ(back.preimage, a.preimage);
}

TEST_F(LocalStoreTest, ImagesAndLayersOutliveTheIndex) {
  StoredImage image{"docker.io/library/app:1", Digest::Of("m"), clock.Now()};
  DiffId layer(Digest::Of("l"));
  {
    auto store = Open();
    ASSERT_TRUE(store->PutImage(image));
    ASSERT_TRUE(store->PutImage({"gone", Digest::Of("m"), clock.Now()}));
    ASSERT_TRUE(store->RemoveImage("gone"));
  }
  std::string directory_of_layer = root() + "/layers/" + layer.Hex();
  fs::create_directories(directory_of_layer);
  ASSERT_TRUE(WriteFileAtomically(directory_of_layer + "/size", "10240\n"));
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(root() + "/index.db" + suffix);
  auto store = Open();
  auto images = store->ListImages().value();
  ASSERT_EQ(images.size(), 1u);
  EXPECT_EQ(images[0].name, image.name);
  EXPECT_EQ(images[0].manifest, image.manifest);
  EXPECT_EQ(images[0].updated, image.updated);
  auto layers = store->contents().Layers().value();
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].layer, layer);
  EXPECT_EQ(layers[0].tar_size, 10240u);
}

TEST_F(LocalStoreTest, LayersAreNotedUsedAndForgotten) {
  auto store = Open();
  DiffId layer(Digest::Of("l"));
  LayerBlob made{Digest::Of("b"), "type", 7, ""}, pulled{Digest::Of("c"), "type", 8, "r"};
  ASSERT_TRUE(store->NoteLayer(layer, 100));
  ASSERT_TRUE(store->PutLayerBlob(layer, made));
  ASSERT_TRUE(store->PutLayerBlob(layer, pulled));
  Timestamp noted = clock.Now();
  clock.Advance(std::chrono::hours(3));
  store->UsedLayer(layer);
  EXPECT_EQ(store->contents().Layers()->at(0).last_used, noted);
  ASSERT_TRUE(store->Flush());
  EXPECT_EQ(store->contents().Layers()->at(0).last_used, clock.Now());
  EXPECT_EQ(store->contents().Layers()->at(0).created, noted);
  ASSERT_TRUE(store->contents().ForgetLayer(layer));
  EXPECT_TRUE(store->contents().Layers()->empty());
  EXPECT_EQ(store->FindLayerBlobs(layer).value(), std::vector{pulled});
}

TEST_F(LocalStoreTest, DamagedRowIsMendedFromItsFileElseDropped) {
  StepRecord a = Record("a", "s"), b = Record("b", "s");
  auto store = Open();
  ASSERT_TRUE(store->Put(a));
  ASSERT_TRUE(store->Put(b));
  {
    auto raw = Database::Open(root() + "/index.db").value();
    ASSERT_TRUE(raw->Run("UPDATE records SET preimage=preimage||'x'"));
  }
  fs::remove(root() + "/records/" + b.key.Hex().substr(0, 2) + "/" + b.key.Hex() + ".json");
  auto found = store->GetMany({a.key, b.key}).value();
  EXPECT_TRUE(found[0]);
  EXPECT_FALSE(found[1]);
  EXPECT_EQ(store->contents().Records()->size(), 1u);
  EXPECT_EQ(store->contents().WhyDropped(b.key).value()->rule, "its record was damaged");
}

TEST_F(LocalStoreTest, TreesPutLaterAreStoredBeforeWhatMayNameThem) {
  std::string object = tree::Encode({{{.name = "f", .digest = Digest::Of("f")}}});
  Digest digest = Digest::Of(object);
  {
    auto store = Open();
    ASSERT_TRUE(store->PutLater({{digest, object}}));
    EXPECT_TRUE(*store->Get(digest));
    EXPECT_FALSE(fs::exists(root() + "/trees.db"));
  }
  auto is_stored = [&] { return *Open()->Get(digest) != nullptr; };
  EXPECT_FALSE(is_stored());
  for (auto& write : std::vector<std::function<Status(LocalStore&)>>{
           [](LocalStore& store) { return store.Put(Record("a", "s")); },
           [](LocalStore& store) { return store.PutChainTree(ChainId(Digest::Of("c")), Digest::Of("t")); },
           [](LocalStore& store) {
             return store.Put({{tree::EmptyTree(), tree::Encode({})}});
           }}) {
    fs::remove(root() + "/trees.db");
    auto store = Open();
    ASSERT_TRUE(store->PutLater({{digest, object}}));
    ASSERT_TRUE(write(*store));
    EXPECT_TRUE(is_stored());
  }
}

TEST_F(LocalStoreTest, DamagedTreeIsAbsentAndCanBePutAgain) {
  auto store = Open();
  std::string object = tree::Encode({{{.name = "a", .digest = Digest::Of("x")}}});
  Digest digest = Digest::Of(object);
  ASSERT_TRUE(store->Put({{digest, object}}));
  {
    auto raw = Database::Open(root() + "/trees.db").value();
    std::string other = object;
    other.back() = static_cast<char>(other.back() ^ 1);
    ASSERT_TRUE(raw->Run("UPDATE tree_objects SET object=?", {Database::Value::Blob(other)}));
  }
  EXPECT_EQ(store->Get(digest).value(), nullptr);
  ASSERT_TRUE(store->Put({{digest, object}}));
  EXPECT_NE(store->Get(digest).value(), nullptr);
}

TEST_F(LocalStoreTest, TreesArePutAgainOnlyWhenOld) {
  auto store = Open();
  std::string object = tree::Encode({{{.name = "a", .digest = Digest::Of("x")}}});
  Digest digest = Digest::Of(object);
  ASSERT_TRUE(store->Put({{digest, object}}));
  Timestamp first = clock.Now();
  auto put_before = [&](Timestamp time) { return store->contents().TreesPutBefore(time)->size(); };
  clock.Advance(std::chrono::hours(23));
  ASSERT_TRUE(store->Put({{digest, object}}));
  EXPECT_EQ(put_before({first.nanos + 1}), 1u);
  clock.Advance(std::chrono::hours(2));
  ASSERT_TRUE(store->Put({{digest, object}}));
  EXPECT_EQ(put_before({first.nanos + 1}), 0u);
  ASSERT_TRUE(store->contents().RemoveTrees(std::span(&digest, 1), first));
  EXPECT_NE(store->Get(digest).value(), nullptr) << "put since";
  ASSERT_TRUE(store->contents().RemoveTrees(std::span(&digest, 1), {clock.Now().nanos + 1}));
  EXPECT_EQ(store->Get(digest).value(), nullptr);
}

TEST_F(LocalStoreTest, RecordsNoteTheLayersThatTheirStepsMade) {
  auto store = Open();
  StepRecord record = Record("a", "s");
  DiffId base(Digest::Of("base")), made(Digest::Of("made"));
  record.outputs = {{{base, made}, Digest()}};
  record.new_bytes = 70;
  ASSERT_TRUE(store->Put(record));
  auto layers = store->contents().Layers().value();
  ASSERT_EQ(layers.size(), 1u);
  EXPECT_EQ(layers[0].layer, made);
  EXPECT_EQ(layers[0].tar_size, 70u);
  EXPECT_EQ(layers[0].uses, 0u);
  EXPECT_FALSE(layers[0].disk_bytes);
  clock.Advance(std::chrono::minutes(10));
  store->UsedLayer(made);
  ASSERT_TRUE(store->Flush());
  EXPECT_EQ(store->contents().Layers()->at(0).uses, 0u) << "uses within an hour are one";
  clock.Advance(std::chrono::hours(2));
  store->UsedLayer(made);
  ASSERT_TRUE(store->Flush());
  EXPECT_EQ(store->contents().Layers()->at(0).uses, 1u);
  MeasuredLayer measured{made, 4096, true};
  ASSERT_TRUE(store->contents().NoteDiskBytes(std::span(&measured, 1)));
  EXPECT_EQ(store->contents().Layers()->at(0).disk_bytes, 4096u);
  EXPECT_TRUE(store->contents().Layers()->at(0).has_parts);
}

TEST_F(LocalStoreTest, WhyLayersWereEvictedOutlivesTheRecordUntilItIsMadeAgain) {
  auto store = Open();
  StepRecord record = Record("a", "s");
  ASSERT_TRUE(store->Put(record));
  ASSERT_TRUE(store->contents().NoteEvicted(std::span(&record.key, 1), "gc policy 1"));
  Timestamp evicted = clock.Now();
  EXPECT_TRUE((*store->GetMany({record.key}))[0]) << "the record itself stays";
  clock.Advance(std::chrono::hours(1));
  ASSERT_TRUE(store->Drop(record.key));
  auto dropped = store->contents().WhyDropped(record.key).value();
  ASSERT_TRUE(dropped);
  EXPECT_EQ(dropped->rule, "gc policy 1");
  EXPECT_EQ(dropped->time, evicted);
  ASSERT_TRUE(store->Put(record));
  EXPECT_FALSE(store->contents().WhyDropped(record.key).value());
}

}  // namespace
}  // namespace varve::cache
