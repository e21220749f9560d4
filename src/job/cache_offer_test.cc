#include "job/cache_offer.h"

#include <gtest/gtest.h>

#include "base/clock.h"
#include "cache/root.h"
#include "cas/blob_store.h"
#include "sys/tempdir.h"

namespace varve::job {
namespace {

// A step that gives two outputs, of which the build wants the second.
class CacheOfferTest : public ::testing::Test {
 protected:
  CacheOfferTest() {
    EXPECT_TRUE(cache::PrepareRoot(directory_.path()));
    local_ = std::move(cache::OpenLocalStore(directory_.path(), clock_)->store);
    layers_ = *snapshot::OpenLayerStore(directory_.path());
    blobs_ = cas::MakeMemoryStore();
    chain_ = std::make_unique<tier::Chain>(*local_, *blobs_, clock_, std::vector<tier::Member>(), std::stop_token());
    graph_.Add({.op = graph::Exec{.args = {"make"}}});
    cache::StepRecord record{.outputs = {{{kBeside}, tree::EmptyTree()}, {{kWanted}, tree::EmptyTree()}},
                             .preimage = R"({"op":"make"})",
                             .slot = "make"};
    record.key = StepKey(Digest::Of(record.preimage));
    record.op_digest = Digest::Of("make");
    EXPECT_TRUE(local_->Put(record));
    outcome_.steps = {{.status = engine::StepStatus::kRan, .key = record.key}};
  }
  std::set<DiffId> LayersOf(tier::Mode mode) {
    const exporter::ExportStores stores{*layers_, *local_, *blobs_, nullptr, clock_};
    const tier::Spec spec{.kind = tier::Kind::kLocal, .place = "cache", .mode = mode};
    auto offer = MakeOffer({graph_, outcome_, images_}, spec, *chain_, stores, nullptr);
    EXPECT_TRUE(offer) << offer.error().message;
    EXPECT_EQ(offer->records.size(), 1u);
    return offer->layers;
  }

  const DiffId kBeside{Digest::Of("beside")}, kWanted{Digest::Of("wanted")};
  FakeClock clock_;
  sys::TempDir directory_ = *sys::TempDir::Create(testing::TempDir(), "offer-");
  std::unique_ptr<cache::LocalStore> local_;
  std::unique_ptr<snapshot::LayerStore> layers_;
  std::unique_ptr<cas::BlobStore> blobs_;
  std::unique_ptr<tier::Chain> chain_;
  graph::Graph graph_;
  engine::Outcome outcome_;
  std::vector<source::ResolvedImage> images_;
};

TEST_F(CacheOfferTest, AStepOfTheResultGoesWithAllThatItGave) {
  outcome_.wanted = {{{kWanted}, tree::EmptyTree()}};
  EXPECT_EQ(LayersOf(tier::Mode::kMin), (std::set<DiffId>{kBeside, kWanted}));
}

TEST_F(CacheOfferTest, AStepThatIsNoPartOfTheResultGoesWithoutItsLayers) {
  outcome_.wanted = {{{DiffId(Digest::Of("other"))}, tree::EmptyTree()}};
  EXPECT_TRUE(LayersOf(tier::Mode::kMin).empty());
  EXPECT_EQ(LayersOf(tier::Mode::kMax), (std::set<DiffId>{kBeside, kWanted}));
}

// COPY of the same files on a stage of another base: the layer is the result's, the stage is not.
TEST_F(CacheOfferTest, AStageThatEndsInALayerOfTheResultGoesWithoutItsOthers) {
  const DiffId tools(Digest::Of("tools"));
  cache::StepRecord record{
      .outputs = {{{tools, kWanted}, tree::EmptyTree()}}, .preimage = R"({"op":"copy"})", .slot = "copy"};
  record.key = StepKey(Digest::Of(record.preimage));
  record.op_digest = Digest::Of("copy");
  ASSERT_TRUE(local_->Put(record));
  outcome_.steps = {{.status = engine::StepStatus::kRan, .key = record.key}};
  outcome_.wanted = {{{kWanted}, tree::EmptyTree()}};
  EXPECT_EQ(LayersOf(tier::Mode::kMin), std::set<DiffId>{kWanted});
}

}  // namespace
}  // namespace varve::job
