// Each write of the store failed in turn, and each file that was not synced lost in turn: a clear
// error or success, never a wrong hit, and fsck --repair leaves a clean root.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "archive/tar.h"
#include "cache/cache_mounts.h"
#include "cache/image_files.h"
#include "cache/lease.h"
#include "snapshot/local_layer_store.h"
#include "snapshot/upper_walk.h"
#include "sys/testing/faulty_calls.h"
#include "upkeep/fsck.h"
#include "upkeep/prune.h"
#include "upkeep/test_root.h"

namespace varve::upkeep {
namespace {

namespace fs = std::filesystem;

// A base image's layer, as it is pulled.
const std::string& PulledTar() {
  static const std::string text = [] {
    const std::string content(5000, 'p');
    StringWriter out;
    archive::TarWriter tar(out);
    CHECK(tar.Add({.name = "etc/", .type = archive::EntryType::kDirectory, .mode = 0755}));
    CHECK(tar.Add({.name = "etc/release", .mode = 0644, .size = content.size()}) && tar.Content(content));
    CHECK(tar.Add({.name = "etc/link", .type = archive::EntryType::kSymlink, .mode = 0777, .link = "release"}));
    CHECK(tar.Add({.name = "etc/same", .type = archive::EntryType::kHardLink, .link = "etc/release"}));
    CHECK(tar.Finish());
    return std::move(out.text);
  }();
  return text;
}

Status Write(const std::string& path, std::string_view text) {
  TRY(WriteFileAtomically(path, text));
  timespec times[2] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
  return utimensat(AT_FDCWD, path.c_str(), times, 0) == 0 ? Status() : Status(Unavailable("no times"));
}

// What CommitWritten is told of a layer that has `file` from another one and `own` for itself.
snapshot::WrittenLayer LikeTheLast(const DiffId& last) {
  static const snapshot::WrittenLayer made = [] {
    sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "model-");
    auto store = snapshot::OpenLayerStore(directory.path()).value();
    auto draft = store->NewDraft().value();
    CHECK(Write(draft->upper() + "/file", "content of the layer") && Write(draft->upper() + "/own", "its own"));
    auto layer = store->Commit(std::move(draft), {}, {}, {}).value();
    auto entries = snapshot::WalkUpper(store->Directory(layer.diff_id).value(), {}).value();
    auto index = store->Index(layer.diff_id).value();
    snapshot::WrittenLayer written{
        .diff_id = layer.diff_id, .tar_size = layer.tar_size, .entries = entries.size(), .index = {""}, .times = {""}};
    for (size_t i = 0; i < entries.size(); ++i) {
      tree::AppendLayerEntry(written.index[0], index[i]);
      int64_t nanos = entries[i].mtime.nanos;
      written.times[0].append(reinterpret_cast<const char*>(&nanos), sizeof(nanos));
    }
    return written;
  }();
  snapshot::WrittenLayer written = made;
  written.rest = last;
  return written;
}

// What builds do to a store, in their order. Stops at the first error, as a build does.
struct Scenario {
  std::string root;
  cache::StepRecord record;
  DiffId layer, pulled, lazy;
  Digest blob;

  Status Run() {
    TRY(cache::PrepareRoot(root));
    TRY_ASSIGN(auto opened, cache::OpenLocalStore(root, SystemClock()));
    TRY_ASSIGN(auto blobs, cas::OpenDiskStore(root));
    TRY_ASSIGN(auto layers, snapshot::OpenLayerStore(root));
    TRY_ASSIGN(auto lease, cache::JobLease::Begin(root, SystemClock()));
    cache::LocalStore& store = *opened.store;
    TRY(Pull(store, *layers, *lease));
    TRY(FillMount());
    TRY(RunStep(store, *layers, *lease));
    TRY(RunStepThatIsLikeIt(*layers, *lease));
    TRY_ASSIGN(blob, blobs->Put("{\"layers\":[]}"));
    TRY(store.PutImage({"docker.io/library/app:1", blob, SystemClock().Now()}));
    store.UsedLayer(layer);
    return store.Flush();
  }

 private:
  Status Pull(cache::LocalStore& store, snapshot::LayerStore& layers, cache::JobLease& lease) {
    pulled = DiffId(Digest::Of(PulledTar()));
    TRY(lease.Add(pulled));
    StringReader tar(PulledTar());
    TRY(layers.Unpack(pulled, {}, tar, {}));
    TRY(store.NoteLayer(pulled, PulledTar().size()));
    TRY(store.PutLayerBlob(pulled, {.blob = Digest::Of("gz"), .media_type = "tar", .size = 2, .repository = "r"}));
    TRY_ASSIGN(auto index, layers.Index(pulled));
    TRY_ASSIGN(Digest tree, tree::ApplyLayer(store, tree::EmptyTree(), index));
    TRY(store.PutChainTree(ChainId(pulled.value), tree));
    return store.PutMemo("tag", "app", {.value = pulled.ToString(), .time = SystemClock().Now()});
  }
  Status FillMount() {
    cache::CacheMounts mounts(root, SystemClock());
    TRY_ASSIGN(auto use, mounts.Acquire({.key = "npm", .id = "npm"}, {}));
    if (!use.is_new()) return {};
    TRY(WriteFileAtomically(use.path() + "/seed", "of the image"));
    return use.MarkInitialised();
  }
  Status RunStep(cache::LocalStore& store, snapshot::LayerStore& layers, cache::JobLease& lease) {
    TRY_ASSIGN(auto draft, layers.NewDraft());
    TRY(Write(draft->upper() + "/file", "content of the layer"));
    auto lease_it = [&](const DiffId& diff_id) { return lease.Add(diff_id); };
    TRY_ASSIGN(auto committed, layers.Commit(std::move(draft), {}, lease_it, {}));
    layer = committed.diff_id;
    TRY_ASSIGN(auto index, layers.Index(layer));
    TRY_ASSIGN(Digest tree, tree::ApplyLayer(store, tree::EmptyTree(), index));
    record.preimage = "{\"n\":1}";
    record.key = StepKey(Digest::Of(record.preimage));
    record.outputs = {{{layer}, tree}};
    record.slot = "slot";
    record.op_digest = Digest::Of("op");
    record.log = std::string(3000, 'l');
    return store.Put(record);
  }
  Status RunStepThatIsLikeIt(snapshot::LayerStore& layers, cache::JobLease& lease) {
    TRY_ASSIGN(auto draft, layers.NewDraft());
    TRY(Write(draft->upper() + "/own", "its own"));
    TRY_ASSIGN(auto files, layers.Files(layer));
    auto lease_it = [&](const DiffId& diff_id) { return lease.Add(diff_id); };
    TRY_ASSIGN(auto committed, layers.CommitWritten(std::move(draft), LikeTheLast(layer), lease_it));
    lazy = committed.diff_id;
    return layers.Directory(lazy) ? Status() : Status(Unavailable("its files"));
  }
};

// Whatever happened before: what a build would find now is right, and fsck makes the root clean.
void ExpectNoWrongHit(const Scenario& scenario, const std::string& boot, const std::string& what) {
  SCOPED_TRACE(what);
  ASSERT_TRUE(cache::PrepareRoot(scenario.root));
  auto opened = cache::OpenLocalStore(scenario.root, SystemClock());
  ASSERT_TRUE(opened) << opened.error().ToString();
  auto blobs = cas::OpenDiskStore(scenario.root).value();
  auto layers = snapshot::LocalLayerStore::Open(scenario.root, boot).value();
  auto found = opened->store->GetMany({StepKey(Digest::Of("{\"n\":1}"))});
  ASSERT_TRUE(found) << found.error().ToString();
  if ((*found)[0]) {
    const cache::StepRecord& record = *(*found)[0];
    EXPECT_EQ(record.outputs, scenario.record.outputs);
    EXPECT_EQ(record.log, scenario.record.log);
  }
  auto expect_layer = [&](const DiffId& layer, const std::string& file, const std::string& content) {
    if (layer == DiffId() || !layers->Has(layer).value()) return;
    auto path = layers->Directory(layer);
    if (!path && path.error().code == Code::kCorrupt) return;  // it is dropped and made again
    EXPECT_TRUE(layers->Verify(layer, false).value()) << layer.ToString();
    EXPECT_EQ(ReadFile(path.value() + file).value_or("nothing"), content);
  };
  expect_layer(scenario.layer, "/file", "content of the layer");
  expect_layer(scenario.pulled, "/etc/same", std::string(5000, 'p'));
  expect_layer(scenario.lazy, "/own", "its own");
  expect_layer(scenario.lazy, "/file", "content of the layer");
  if (auto memo = opened->store->GetMemo("tag", "app").value()) {
    EXPECT_EQ(memo->value, scenario.pulled.ToString());
  }
  if (auto image = opened->store->GetImage("docker.io/library/app:1").value()) {
    EXPECT_EQ(image->manifest, scenario.blob);
  }
  {
    cache::CacheMounts mounts(scenario.root, SystemClock());
    auto use = mounts.Acquire({.key = "npm", .id = "npm"}, {});
    ASSERT_TRUE(use) << use.error().ToString();
    if (!use->is_new()) {
      EXPECT_EQ(ReadFile(use->path() + "/seed").value_or("nothing"), "of the image");
    }
  }
  Stores stores{scenario.root, *opened->store, *blobs, *layers, SystemClock()};
  ASSERT_TRUE(Fsck(stores, {.repair = true}, {}));
  auto again = Fsck(stores, {}, {});
  ASSERT_TRUE(again) << again.error().ToString();
  for (const Finding& f : again->findings) ADD_FAILURE() << f.object << ": " << f.problem;
}

class FaultsTest : public testing::TestWithParam<int> {
 protected:
  Scenario New() {
    // As the kernel spells it, to compare with.
    std::string base = fs::canonical(directory.path()).string();
    return {.root = fmt::format("{}/{}", base, number_++)};
  }
  // In memory where that is: hundreds of stores are made, and each waits for the disk some times.
  sys::TempDir directory =
      *sys::TempDir::Create(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir(), "faults-");

 private:
  int number_ = 0;
};

std::string NameOfError(const testing::TestParamInfo<int>& error) {
  return error.param == ENOSPC ? "NoSpace" : "InputOutput";
}

TEST_P(FaultsTest, EachWriteThatFailsIsAnErrorOrNoMatter) {
  const std::string boot = snapshot::CurrentBoot().value();
  (void)LikeTheLast({});
  size_t failed = 0;
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 2000);
    Scenario scenario = New();
    sys::FaultyCalls faults(scenario.root, n, GetParam());
    Status ran = scenario.Run();
    faults.Stop();
    if (!ran) {
      ++failed;
      EXPECT_NE(ran.error().code, Code::kInternal) << ran.error().ToString();
      EXPECT_FALSE(ran.error().message.empty());
    }
    ExpectNoWrongHit(scenario, boot, fmt::format("call {}: {} failed", n, faults.failed()));
    // A build that comes after it is as if nothing had been.
    Scenario next{.root = scenario.root};
    Status redone = next.Run();
    EXPECT_TRUE(redone) << faults.failed() << ": " << redone.error().ToString();
    fs::remove_all(scenario.root);
    if (faults.calls() < n) {
      EXPECT_TRUE(ran);
      RecordProperty("calls", faults.calls());
      EXPECT_GT(n, 200) << "the interposed calls were not used";
      break;
    }
  }
  EXPECT_GT(failed, 100u);
}

// The index is lost: the next process makes it again from the files, and may fail in that as well.
TEST_P(FaultsTest, ARebuildOfTheIndexThatFailsLosesNoRecord) {
  Scenario sample = New();
  ASSERT_TRUE(sample.Run());
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 2000);
    Scenario scenario = New();
    fs::copy(sample.root, scenario.root, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(scenario.root + "/index.db" + suffix);
    sys::FaultyCalls faults(scenario.root, n, GetParam());
    {
      auto opened = cache::OpenLocalStore(scenario.root, SystemClock());
      if (opened) (void)opened->store->GetMany({sample.record.key}).has_value();
    }
    faults.Stop();
    auto opened = cache::OpenLocalStore(scenario.root, SystemClock());
    ASSERT_TRUE(opened) << faults.failed() << ": " << opened.error().ToString();
    auto found = opened->store->GetMany({sample.record.key});
    ASSERT_TRUE(found && (*found)[0]) << faults.failed();
    EXPECT_EQ((*found)[0]->outputs, sample.record.outputs);
    auto image = opened->store->GetImage("docker.io/library/app:1");
    EXPECT_TRUE(image && *image && (*image)->manifest == sample.blob) << faults.failed();
    opened->store.reset();
    fs::remove_all(scenario.root);
    if (faults.calls() < n) {
      EXPECT_GT(n, 10);
      break;
    }
  }
}

// Removal fails halfway: what is left is whole or absent, and the next collection goes on.
TEST_P(FaultsTest, ACollectionThatFailsLeavesNothingHalf) {
  const std::string boot = snapshot::CurrentBoot().value();
  const Policy everything{.name = "prune", .all = true, .filter = {}, .limits = {}};
  auto prune = [&](const std::string& root) -> Result<Pruned> {
    TRY_ASSIGN(auto opened, cache::OpenLocalStore(root, SystemClock()));
    TRY_ASSIGN(auto blobs, cas::OpenDiskStore(root));
    TRY_ASSIGN(auto layers, snapshot::OpenLayerStore(root));
    return Prune({root, *opened.store, *blobs, *layers, SystemClock()}, everything, {});
  };
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 2000);
    Scenario scenario = New();
    ASSERT_TRUE(scenario.Run());
    sys::FaultyCalls faults(scenario.root, n, GetParam(), {.removals = true});
    auto pruned = prune(scenario.root);
    faults.Stop();
    if (!pruned) {
      EXPECT_NE(pruned.error().code, Code::kInternal) << pruned.error().ToString();
    }
    ExpectNoWrongHit(scenario, boot, fmt::format("call {}: {} failed", n, faults.failed()));
    auto again = prune(scenario.root);
    EXPECT_TRUE(again) << faults.failed() << ": " << again.error().ToString();
    EXPECT_TRUE(fs::is_empty(scenario.root + "/layers")) << faults.failed();
    fs::remove_all(scenario.root);
    if (faults.calls() < n) {
      EXPECT_GT(n, 20);
      break;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Errors, FaultsTest, testing::Values(ENOSPC, EIO), NameOfError);

// A power failure may take the content of any file that was not synced, and nothing in the store
// waits for a sync: each file in turn comes back empty, halved, or zeroed.
TEST_F(FaultsTest, EachFileThatAPowerFailureTookIsNoticed) {
  Scenario sample = New();
  ASSERT_TRUE(sample.Run());
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(sample.root)) {
    if (entry.is_regular_file() && entry.file_size() > 0) {
      files.push_back(entry.path().string().substr(sample.root.size()));
    }
  }
  ASSERT_GT(files.size(), 8u);
  for (const std::string& file : files) {
    if (file == "/version" || file.ends_with("-shm")) continue;
    // The content of a cache mount is in no result: steps must do with any.
    if (file.starts_with("/mounts/") && file.contains("/data/")) continue;
    for (int kind = 0; kind < 3; ++kind) {
      Scenario scenario = New();
      ASSERT_TRUE(scenario.Run());
      std::string path = scenario.root + file;
      if (!fs::exists(path)) continue;  // named by time
      ASSERT_EQ(chmod(path.c_str(), 0600), 0);
      auto size = fs::file_size(path);
      if (kind < 2) fs::resize_file(path, kind == 0 ? 0 : size / 2);
      if (kind == 2) {
        ASSERT_TRUE(WriteFileAtomically(path, std::string(size, '\0')));
      }
      ExpectNoWrongHit(scenario, "another boot", fmt::format("{} lost, kind {}", file, kind));
    }
  }
}

}  // namespace
}  // namespace varve::upkeep
