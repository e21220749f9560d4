#include "job/image_push.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cache/root.h"
#include "registry/testing/fake_registry.h"
#include "sys/tempdir.h"

namespace varve::job {
namespace {

using registry::testing::FakeRegistry;
using ::testing::Contains;
using ::testing::HasSubstr;

struct ListSink final : engine::StepSink {
  void Log(int, std::string_view) override {}
  void Progress(const std::string& id, uint64_t, uint64_t, bool done) override {
    if (done) finished.Lock()->push_back(id);
  }
  Guarded<std::vector<std::string>> finished;
};

class ImagePushTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = *sys::TempDir::Create(::testing::TempDir(), "push-");
    ASSERT_TRUE(cache::PrepareRoot(directory_.path()));
    local_ = std::move(cache::OpenLocalStore(directory_.path(), clock_)->store);
    registry::ClientOptions options{.config = {}, .docker_config = "/nonexistent"};
    options.retry.attempts = 2;
    options.retry.first_delay = Nanos(1'000'000);
    client_ = std::make_unique<registry::Client>(http_, std::move(options));
  }

  exporter::Image MakeImage(const std::vector<std::string>& layers) {
    exporter::Image image;
    oci::ImageConfig config = oci::ImageConfig::Scratch(*oci::ParsePlatform("linux/amd64"));
    std::vector<DiffId> diff_ids;
    for (const std::string& layer : layers) {
      diff_ids.push_back(DiffIdOf(layer));
      image.manifest.layers.push_back(
          {.media_type = std::string(oci::kOciLayerGzip), .digest = *blobs_->Put(layer), .size = layer.size()});
    }
    config.set_diff_ids(diff_ids);
    image.config = config.Serialise();
    image.config_digest = *blobs_->Put(image.config);
    image.manifest.config = {
        .media_type = std::string(oci::kOciConfig), .digest = image.config_digest, .size = image.config.size()};
    image.manifest_text = oci::Serialise(image.manifest);
    image.manifest_digest = *blobs_->Put(image.manifest_text);
    return image;
  }
  static DiffId DiffIdOf(const std::string& layer) { return DiffId(Digest::Of("tar " + layer)); }

  Status Push(const exporter::Image& image, const std::string& name) {
    return Push(exporter::ImageSet{{image}, {}, "", {}}, name);
  }
  Status Push(const exporter::ImageSet& set, const std::string& name) {
    TRY_ASSIGN(auto reference, oci::ParseReference(server_.Address() + "/" + name));
    return pusher_.Push(set, reference, false, false, *blobs_, *local_, sink_, {});
  }

  FakeClock clock_;
  sys::TempDir directory_;
  std::unique_ptr<cache::LocalStore> local_;
  std::unique_ptr<cas::BlobStore> blobs_ = cas::MakeMemoryStore();
  net::HttpClient http_;
  std::unique_ptr<registry::Client> client_;
  FakeRegistry server_;
  ImagePusher pusher_{[this](const std::string&, bool) { return client_.get(); }};
  ListSink sink_;
};

TEST_F(ImagePushTest, EachBlobGoesUpOnceAndTheManifestLast) {
  auto image = MakeImage({"one", "two", "one"});
  Status pushed = Push(image, "team/app:v1");
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/app/blobs"), 3) << "two layers and a config";
  EXPECT_THAT(server_.Requests().back(), HasSubstr("/v2/team/app/manifests/v1"));
  EXPECT_EQ(server_.Manifest("team/app", "v1"), image.manifest_text);
  auto finished = sink_.finished.Lock();
  EXPECT_THAT(*finished, Contains("pushing blob " + Digest::Of("one").Short()).Times(1));
  // All blobs, and then what names them.
  ASSERT_GE(finished->size(), 2u);
  EXPECT_EQ(finished->end()[-2], "pushing layers");
  EXPECT_THAT(finished->back(), HasSubstr("pushing manifest for "));
}

exporter::ImageSet IndexOf(std::vector<exporter::Image> images, cas::BlobStore& blobs) {
  exporter::ImageSet set{.images = std::move(images)};
  oci::Index index;
  for (const exporter::Image& image : set.images) {
    index.manifests.push_back({.media_type = std::string(oci::kOciManifest),
                               .digest = image.manifest_digest,
                               .size = image.manifest_text.size()});
  }
  set.index_text = oci::Serialise(index);
  set.descriptor = {
      .media_type = index.media_type, .digest = *blobs.Put(set.index_text), .size = set.index_text.size()};
  set.index = std::move(index);
  return set;
}

TEST_F(ImagePushTest, AnIndexGoesUpAfterAllThatItLists) {
  auto set = IndexOf({MakeImage({"shared", "amd64"}), MakeImage({"shared", "arm64"})}, *blobs_);
  Status pushed = Push(set, "team/app:v1");
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/app/blobs"), 5) << "three layers, two configs";
  EXPECT_EQ(server_.Manifest("team/app", "v1"), set.index_text);
  for (const exporter::Image& image : set.images) {
    EXPECT_EQ(server_.Manifest("team/app", image.manifest_digest.ToString()), image.manifest_text);
  }
  EXPECT_THAT(server_.Requests().back(), HasSubstr("/v2/team/app/manifests/v1"));
}

TEST_F(ImagePushTest, BlobsOfAStoredIndexAreMounted) {
  server_.AddBlob("team/earlier", "arm64");
  auto earlier = IndexOf({MakeImage({"amd64"}), MakeImage({"arm64"})}, *blobs_);
  ASSERT_TRUE(local_->PutImage({server_.Address() + "/team/earlier:v1", earlier.descriptor.digest, clock_.Now()}));
  Status pushed = Push(MakeImage({"arm64"}), "team/app:v1");
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/app/blobs"), 1) << "the config";
}

TEST_F(ImagePushTest, BlobsGoUpAtTheSameTimeButNotAllOfThem) {
  std::vector<std::string> layers;
  for (int i = 0; i < 12; ++i) layers.push_back("layer " + std::to_string(i));
  server_.Fail({.pattern = "^POST", .status = 0, .delay = std::chrono::milliseconds(50)});
  ASSERT_TRUE(Push(MakeImage(layers), "team/app:v1"));
  // All of the first five are asked for before the first session is open.
  auto requests = server_.Requests();
  auto first_put = std::ranges::find_if(requests, [](const auto& r) { return r.starts_with("PUT"); });
  auto heads = std::count_if(requests.begin(), first_put, [](const auto& r) { return r.starts_with("HEAD"); });
  EXPECT_GT(heads, 1);
  EXPECT_LE(heads, 5);
}

TEST_F(ImagePushTest, WhatIsThereIsNotSent) {
  server_.AddBlob("team/app", "one");
  ASSERT_TRUE(Push(MakeImage({"one", "two"}), "team/app:v1"));
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/app/blobs"), 2);
  EXPECT_THAT(*sink_.finished.Lock(), Contains("blob " + Digest::Of("one").Short() + " is there already"));
}

TEST_F(ImagePushTest, BlobsOfOtherRepositoriesAreMounted) {
  // The base layer was pulled from there; the other layer is one of an image that is there.
  server_.AddBlob("library/base", "base");
  ASSERT_TRUE(local_->PutLayerBlob(
      DiffIdOf("base"),
      {.blob = Digest::Of("base"), .media_type = "x", .size = 4, .repository = server_.Address() + "/library/base"}));
  server_.AddBlob("team/earlier", "two");
  auto earlier = MakeImage({"two"});
  ASSERT_TRUE(local_->PutImage({server_.Address() + "/team/earlier:v1", earlier.manifest_digest, clock_.Now()}));
  Status pushed = Push(MakeImage({"base", "two", "own"}), "team/app:v1");
  ASSERT_TRUE(pushed) << pushed.error().ToString();
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/app/blobs"), 2) << "the own layer and the config";
  EXPECT_EQ(server_.Blob("team/app", Digest::Of("base")), "base");
  // And to the next repository from the one before.
  ASSERT_TRUE(Push(MakeImage({"base", "two", "own"}), "team/copy:v1"));
  EXPECT_EQ(server_.CountRequests("^PUT /v2/team/copy/blobs"), 0);
}

TEST_F(ImagePushTest, AConfigThatIsNoConfigIsAnError) {
  auto image = MakeImage({"one"});
  image.config = "not json";
  Status pushed = Push(image, "team/app:v1");
  ASSERT_FALSE(pushed);
  EXPECT_EQ(server_.Requests().size(), 0u);
}

TEST_F(ImagePushTest, OneRefusedBlobEndsThePush) {
  server_.Fail({.pattern = "^POST", .status = 403});
  Status pushed = Push(MakeImage({"one", "two", "three", "four", "five", "six", "seven", "eight"}), "team/app:v1");
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, Code::kInvalid) << pushed.error().ToString();
  EXPECT_EQ(server_.CountRequests("manifests"), 0);
  EXPECT_LE(server_.CountRequests("^POST"), 5);
}

TEST_F(ImagePushTest, ABlobThatIsGoneIsAnError) {
  auto image = MakeImage({"one"});
  ASSERT_TRUE(blobs_->Remove(Digest::Of("one")));
  Status pushed = Push(image, "team/app:v1");
  ASSERT_FALSE(pushed);
  EXPECT_EQ(server_.CountRequests("manifests"), 0);
}

}  // namespace
}  // namespace varve::job
