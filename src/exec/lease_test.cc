// A layer that a step makes is under a lease from the moment it has a name (invariant I5), whatever a
// collection does meanwhile.
#include "cache/lease.h"

#include <gtest/gtest.h>

#include "cache/cache_mounts.h"
#include "cache/collect.h"
#include "cache/root.h"
#include "exec/file_step.h"
#include "sys/tempdir.h"

namespace varve::exec {
namespace {

using snapshot::Layer;
using snapshot::LayerDraft;
using snapshot::LayerStore;

// The layers as the collection sees them: all of them as old as the test says.
class CollectedLayers final : public cache::LayerData {
 public:
  CollectedLayers(LayerStore& layers, Timestamp made) : layers_(layers), made_(made) {}
  Result<std::vector<Entry>> List() override {
    std::vector<Entry> out;
    TRY(layers_.ForEach([&](const Layer& layer) -> Status {
      out.push_back({layer.diff_id, layer.tar_size, made_});
      return Ok();
    }));
    return out;
  }
  Status Remove(const DiffId& layer) override { return layers_.Remove(layer); }

 private:
  LayerStore& layers_;
  const Timestamp made_;
};

// A layer store with two sync points in a commit.
class SteppedStore final : public LayerStore {
 public:
  explicit SteppedStore(LayerStore& inner) : inner_(inner) {}
  std::function<void()> after_naming, after_commit;

  Result<Layer> Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known, const OnNamed& on_named,
                       std::stop_token stop) override {
    auto named = [&](const DiffId& layer) -> Status {
      if (on_named) TRY(on_named(layer));
      if (after_naming) after_naming();
      return Ok();
    };
    auto layer = inner_.Commit(std::move(draft), known, named, stop);
    if (after_commit) after_commit();
    return layer;
  }
  Result<Layer> CommitWritten(std::unique_ptr<LayerDraft> draft, snapshot::WrittenLayer written,
                              const OnNamed& on_named) override {
    auto named = [&](const DiffId& layer) -> Status {
      if (on_named) TRY(on_named(layer));
      if (after_naming) after_naming();
      return Ok();
    };
    auto layer = inner_.CommitWritten(std::move(draft), std::move(written), named);
    if (after_commit) after_commit();
    return layer;
  }

  Result<bool> Has(const DiffId& layer) override { return inner_.Has(layer); }
  Result<bool> Verify(const DiffId& layer, bool quick) override { return inner_.Verify(layer, quick); }
  Result<Layer> Stat(const DiffId& layer) override { return inner_.Stat(layer); }
  Result<tree::LayerIndex> Index(const DiffId& layer) override { return inner_.Index(layer); }
  Result<std::string> EncodedIndex(const DiffId& layer) override { return inner_.EncodedIndex(layer); }
  Result<std::string> Directory(const DiffId& layer) override { return inner_.Directory(layer); }
  Result<snapshot::LayerFiles> Files(const DiffId& layer) override { return inner_.Files(layer); }
  Result<std::optional<DiffId>> RestOf(const DiffId& layer) override { return inner_.RestOf(layer); }
  Result<std::vector<DiffId>> UsersOf(const DiffId& rest) override { return inner_.UsersOf(rest); }
  Result<std::optional<Found>> Find(const DiffId& layer, const RelPath& path) override {
    return inner_.Find(layer, path);
  }
  Result<std::unique_ptr<LayerDraft>> NewDraft() override { return inner_.NewDraft(); }
  Result<Layer> Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                       std::stop_token stop) override {
    return inner_.Unpack(expected, below, tar, stop);
  }
  Status WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) override {
    return inner_.WriteTar(layer, out, stop);
  }
  Result<bool> Reproducible(const DiffId& layer) override { return inner_.Reproducible(layer); }
  Status Remove(const DiffId& layer) override { return inner_.Remove(layer); }
  Status RemoveUnused() override { return inner_.RemoveUnused(); }
  Status ForEach(const std::function<Status(const Layer&)>& visit) override { return inner_.ForEach(visit); }
  Status Sync() override { return inner_.Sync(); }

 private:
  LayerStore& inner_;
};

struct NoDirectories final : SourceDirectories {
  std::string DirectoryOf(graph::StepIndex) const override { return ""; }
};

struct QuietSink final : engine::StepSink {
  void Log(int, std::string_view) override {}
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
};

class LeaseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners need root";
    directory_ = *sys::TempDir::Create(testing::TempDir(), "lease-");
    root_ = directory_.path() + "/root";
    ASSERT_TRUE(cache::PrepareRoot(root_));
    store_ = std::move(cache::OpenLocalStore(root_, SystemClock()).value().store);
    layers_ = *snapshot::OpenLayerStore(root_);
    stepped_ = std::make_unique<SteppedStore>(*layers_);
    mounts_ = std::make_unique<cache::CacheMounts>(root_, SystemClock());
  }

  // Everything that nothing refers to, however young: all layers seem to be of last week.
  size_t Collect() {
    Timestamp last_week{SystemClock().Now().nanos - 7 * 24 * 3600 * 1'000'000'000LL};
    CollectedLayers data(*layers_, last_week);
    auto collected = cache::Collect(root_, *store_, *blobs_, data, {}, SystemClock());
    EXPECT_TRUE(collected) << collected.error().message;
    return collected ? collected->removed.size() : 0;
  }

  Result<engine::RunResult> MakeFile(cache::JobLease& lease) {
    graph::Graph graph;
    graph.Add({.op = graph::FileOp{.actions = {graph::MakeFile{.path = "/f", .data = "text"}}}});
    Job job{.layers = *stepped_,
            .trees = *store_,
            .cache_mounts = *mounts_,
            .directories = directories_,
            .secrets = secrets_,
            .ssh = {},
            .scratch = scratch_,
            .step_state = state_,
            .mount_namespace = {},
            .clock = clock_,
            .lease = lease};
    engine::RunRequest request{.graph = graph, .step = 0, .key = {}, .inputs = {}, .similar = {}};
    QuietSink sink;
    return RunFileStep(job, request, sink, {});
  }

  FakeClock clock_;  // of the steps: two that are equal make equal layers, also across a second
  sys::TempDir directory_;
  sys::LazyTempDir scratch_{testing::TempDir(), "job-"};
  StepState state_{scratch_};
  std::string root_;
  std::unique_ptr<cache::LocalStore> store_;
  std::unique_ptr<LayerStore> layers_;
  std::unique_ptr<SteppedStore> stepped_;
  std::unique_ptr<cas::BlobStore> blobs_ = cas::MakeMemoryStore();
  std::unique_ptr<cache::CacheMounts> mounts_;
  NoDirectories directories_;
  Secrets secrets_{{}};
};

TEST_F(LeaseTest, ALayerThatWasThereIsKeptFromTheMomentItIsNamed) {
  DiffId layer;
  {
    auto earlier = *cache::JobLease::Begin(root_, SystemClock());
    auto made = MakeFile(*earlier);
    ASSERT_TRUE(made) << made.error().ToString();
    layer = made->outputs[0].layers[0];
  }
  // Nobody leases it and no record names it. The step makes an equal one, and a collection comes in
  // between its naming and its record.
  auto lease = *cache::JobLease::Begin(root_, SystemClock());
  int collections = 0;
  auto collect = [&] {
    ++collections;
    Collect();
    EXPECT_TRUE(*layers_->Has(layer)) << "at sync point " << collections;
  };
  stepped_->after_naming = collect;
  stepped_->after_commit = collect;
  auto made = MakeFile(*lease);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_EQ(made->outputs[0].layers, std::vector<DiffId>{layer});
  EXPECT_EQ(collections, 2);
  lease.reset();
  Collect();
  EXPECT_FALSE(*layers_->Has(layer)) << "the collection does remove what nobody leases";
}

TEST_F(LeaseTest, ANewLayerIsKeptToo) {
  auto lease = *cache::JobLease::Begin(root_, SystemClock());
  stepped_->after_commit = [&] { Collect(); };
  auto made = MakeFile(*lease);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_TRUE(*layers_->Has(made->outputs[0].layers[0]));
}

TEST_F(LeaseTest, WithoutALeaseThereIsNoLayer) {
  auto draft = layers_->NewDraft();
  ASSERT_TRUE(draft);
  auto refuse = [](const DiffId&) -> Status { return Error{Code::kResource, "disk full", ""}; };
  auto layer = layers_->Commit(std::move(*draft), {}, refuse, {});
  ASSERT_FALSE(layer);
  EXPECT_EQ(layer.error().code, Code::kResource);
  size_t seen = 0;
  ASSERT_TRUE(layers_->ForEach([&](const Layer&) {
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, 0u);
}

}  // namespace
}  // namespace varve::exec
