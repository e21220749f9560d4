#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "archive/tar.h"
#include "cache/root.h"
#include "export/archive_output.h"
#include "export/files_output.h"
#include "sys/tempdir.h"

namespace varve::exporter {
namespace {

namespace fs = std::filesystem;

class ExportTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    directory = *sys::TempDir::Create(testing::TempDir(), "export-");
    ASSERT_TRUE(cache::PrepareRoot(directory.path()));
    layers = *snapshot::OpenLayerStore(directory.path());
    local = std::move(cache::OpenLocalStore(directory.path(), clock)->store);
    blobs = cas::MakeMemoryStore();
    stores.emplace(ExportStores{*layers, *local, *blobs, nullptr, clock});
    input.config = oci::ImageConfig::Scratch(*oci::ParsePlatform("linux/amd64"));
    AddLayer("a", "1");
    AddLayer("b", "2");
  }
  void AddLayer(const std::string& name, const std::string& text) {
    auto draft = *layers->NewDraft();
    std::ofstream(draft->upper() + "/" + name) << text;
    input.rootfs.layers.push_back(layers->Commit(std::move(draft), {}, {}, {})->diff_id);
    input.config.AddHistory({.created_by = "COPY " + name});
  }
  BuildResult Built() const { return {.platforms = {{input.config.platform(), input}}}; }
  Result<Image> Make(const Output& output, const OnProgress& on_progress = nullptr) {
    TRY_ASSIGN(ImageSet set, MakeImages(Built(), output, *stores, on_progress, {}));
    return std::move(set.images[0]);
  }
  static ImageSet Alone(Image image) { return {{image}, {}, "", image.descriptor}; }
  std::string Tar(const ImageSet& set, const std::vector<std::string>& names, bool docker = false) {
    StringWriter out;
    Status written = WriteArchive(set, names, docker, *blobs, out);
    EXPECT_TRUE(written) << written.error().message;
    return out.text;
  }
  std::vector<FilesPart> Files() const { return {{input.rootfs, input.config.platform(), ""}}; }
  static std::map<std::string, std::string> FilesOf(const std::string& tar) {
    std::map<std::string, std::string> files;
    StringReader in(tar);
    archive::TarReader reader(in);
    while (auto entry = *reader.Next()) files[entry->name] = *ReadAll(reader.content(), 1 << 20);
    return files;
  }

  FakeClock clock;
  sys::TempDir directory;
  std::unique_ptr<snapshot::LayerStore> layers;
  std::unique_ptr<cache::LocalStore> local;
  std::unique_ptr<cas::BlobStore> blobs;
  std::optional<ExportStores> stores;
  ImageInput input;
};

TEST_F(ExportTest, ConfigNamesEveryLayerAndDatesItself) {
  Image image = *Make({});
  oci::ImageConfig config = *oci::ImageConfig::Parse(image.config);
  EXPECT_EQ(config.diff_ids(), input.rootfs.layers);
  EXPECT_EQ(config.history().size(), 2u);
  EXPECT_EQ(config.created(), clock.Now());
  EXPECT_EQ(image.manifest.layers.size(), 2u);
  EXPECT_EQ(image.manifest.layers[0].media_type, oci::kOciLayerGzip);
}

TEST_F(ExportTest, HistoryIsCompletedOrMarked) {
  input.config.set_history({});
  EXPECT_EQ(FinishConfig(input, input.rootfs.layers, {}, clock).history().size(), 2u);
  input.config.set_history({{.created_by = "1"}, {.created_by = "2"}, {.created_by = "3"}});
  auto history = FinishConfig(input, input.rootfs.layers, {}, clock).history();
  EXPECT_TRUE(history[0].empty_layer);
  EXPECT_FALSE(history[1].empty_layer);
}

TEST_F(ExportTest, EntriesThatNobodyDatedHaveTheTimesOfTheirLayers) {
  input.layers_made = {Timestamp{1'000'000'000}, Timestamp{2'000'000'000}};
  input.config.set_history({{.created_by = "LABEL", .empty_layer = true}, {.created_by = "one"}});
  auto config = FinishConfig(input, input.rootfs.layers, {}, clock);
  auto history = config.history();
  ASSERT_EQ(history.size(), 3u);
  EXPECT_EQ(history[0].created->seconds(), 1);
  EXPECT_EQ(history[1].created->seconds(), 1);
  EXPECT_EQ(history[2].created->seconds(), 2);
  EXPECT_EQ(config.created()->seconds(), 2);
}

TEST_F(ExportTest, AnEpochDatesOnlyWhatThisBuildAdded) {
  input.base_history = 1;
  auto history = input.config.history();
  history[0].created = Timestamp{999'000'000'000};
  history[1].created = clock.Now();
  input.config.set_history(history);
  auto dated = FinishConfig(input, input.rootfs.layers, {.source_date_epoch = 100}, clock);
  EXPECT_EQ(dated.history()[0].created->seconds(), 999);
  EXPECT_EQ(dated.history()[1].created->seconds(), 100);
}

TEST_F(ExportTest, ASecondExportCompressesNothing) {
  Image first = *Make({});
  int compressed = 0;
  auto count = [&](const std::string&, uint64_t, uint64_t, bool done) { compressed += done; };
  Image second = *Make({}, count);
  EXPECT_EQ(first.manifest_digest, second.manifest_digest);
  EXPECT_EQ(compressed, 0);
  Output zstd{.compression = LayerCompression::kZstd};
  Image other = *Make(zstd, count);
  EXPECT_EQ(compressed, 2);
  EXPECT_EQ(other.manifest.layers[0].media_type, oci::kOciLayerZstd);
  EXPECT_EQ(other.config_digest, first.config_digest);
}

TEST_F(ExportTest, TheStoredImageHasTheSameIdAndNoBlobs) {
  Image stored = MakeStoredImages(Built(), {}, *stores, {})->images[0];
  Image image = *Make({});
  EXPECT_EQ(stored.config_digest, image.config_digest);
  EXPECT_FALSE(*blobs->Size(stored.manifest.layers[0].digest));
}

TEST_F(ExportTest, RewrittenTimestampsMakeLayersIndependentOfTheClock) {
  Output output{.source_date_epoch = 100, .timestamps = Timestamps::kClamp};
  Image one = *Make(output);
  input.rootfs.layers.clear();
  input.config.set_history({});
  AddLayer("a", "1");
  AddLayer("b", "2");
  Image two = *Make(output);
  EXPECT_EQ(one.manifest_digest, two.manifest_digest);
  for (const oci::Descriptor& layer : two.manifest.layers) {
    EXPECT_EQ(layer.annotations, (oci::Annotations{{"buildkit/rewritten-timestamp", "100"}}));
  }
  EXPECT_TRUE(Make(Output{})->manifest.layers[0].annotations.empty());
}

TEST_F(ExportTest, SetTimestampsForgetThoseOfTheFilesToo) {
  Output output{.source_date_epoch = 2'000'000'000, .timestamps = Timestamps::kSet};
  Image one = *Make(output);
  oci::ImageConfig config = *oci::ImageConfig::Parse(one.config);
  EXPECT_EQ(config.created()->seconds(), 2'000'000'000);
  for (const auto& entry : config.history()) EXPECT_EQ(entry.created->seconds(), 2'000'000'000);
  input.rootfs.layers.clear();
  input.config.set_history({});
  clock.Advance(Nanos(60'000'000'000));
  AddLayer("a", "1");
  AddLayer("b", "2");
  Image two = *Make(output);
  EXPECT_EQ(one.manifest_digest, two.manifest_digest);
  // Clamping keeps what is older than the epoch, which these files are.
  output.timestamps = Timestamps::kClamp;
  EXPECT_NE(Make(output)->manifest_digest, two.manifest_digest);
}

TEST_F(ExportTest, RewrittenLayersAreMadeOnce) {
  Output output{.source_date_epoch = 100, .timestamps = Timestamps::kSet};
  Image first = *Make(output);
  int compressed = 0;
  auto count = [&](const std::string&, uint64_t, uint64_t, bool done) { compressed += done; };
  EXPECT_EQ(Make(output, count)->manifest_digest, first.manifest_digest);
  EXPECT_EQ(compressed, 0);
  EXPECT_EQ(MakeStoredImages(Built(), output, *stores, {})->images[0].config_digest, first.config_digest);
}

TEST_F(ExportTest, TheConfigAloneIsTheSame) {
  Output output{.source_date_epoch = 100, .timestamps = Timestamps::kSet};
  std::string alone = MakeConfig(input, output, *stores, {})->Serialise();
  EXPECT_EQ(alone, Make(output)->config);
  EXPECT_EQ(MakeConfig(input, {}, *stores, {})->diff_ids(), input.rootfs.layers);
}

TEST_F(ExportTest, AnOciArchiveIsALayout) {
  Image image = *Make({});
  auto files = FilesOf(Tar(Alone(image), {"docker.io/library/app:1"}));
  EXPECT_EQ(files["oci-layout"], R"({"imageLayoutVersion":"1.0.0"})");
  Json index = *Json::Parse(files["index.json"]);
  const Json& entry = index.GetArray("manifests")[0];
  EXPECT_EQ(entry.GetString("digest"), image.manifest_digest.ToString());
  EXPECT_EQ(entry.Find("annotations")->GetString("org.opencontainers.image.ref.name"), "1");
  EXPECT_TRUE(files.contains("blobs/sha256/" + image.config_digest.Hex()));
  EXPECT_FALSE(files.contains("manifest.json"));
}

TEST_F(ExportTest, ADockerArchiveNamesFamiliarTags) {
  Image image = *Make({.oci_media_types = false});
  EXPECT_EQ(image.manifest.media_type, oci::kDockerManifest);
  auto files = FilesOf(Tar(Alone(image), {"docker.io/library/app:1"}, true));
  Json manifest = *Json::Parse(files["manifest.json"]);
  EXPECT_EQ(manifest.as_array()[0].GetStrings("RepoTags"), std::vector<std::string>{"app:1"});
}

TEST_F(ExportTest, ALayoutDirectoryKeepsOtherNames) {
  Image image = *Make({});
  std::string out = directory.path() + "/layout";
  ASSERT_TRUE(WriteLayoutDirectory(Alone(image), {"docker.io/library/a:1"}, false, *blobs, out));
  ASSERT_TRUE(WriteLayoutDirectory(Alone(image), {"docker.io/library/b:1"}, false, *blobs, out));
  ASSERT_TRUE(WriteLayoutDirectory(Alone(image), {"docker.io/library/b:1"}, false, *blobs, out));
  std::ifstream in(out + "/index.json");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(Json::Parse(text)->GetArray("manifests").size(), 2u);
}

TEST_F(ExportTest, FilesGoToADirectoryAndExtraOnesOnlyWhenAsked) {
  std::string out = directory.path() + "/out", scratch = directory.path() + "/tmp";
  fs::create_directories(out);
  std::ofstream(out + "/old") << "x";
  ASSERT_TRUE(CopyFiles(*layers, Files(), {.scratch = scratch}, out, {}));
  EXPECT_TRUE(fs::exists(out + "/a"));
  EXPECT_TRUE(fs::exists(out + "/old"));
  ASSERT_TRUE(CopyFiles(*layers, Files(), {.epoch = 100, .scratch = scratch, .delete_extra = true}, out, {}));
  EXPECT_FALSE(fs::exists(out + "/old"));
  struct stat st;
  ASSERT_EQ(stat((out + "/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 100);
}

TEST_F(ExportTest, FilesGoToATar) {
  StringWriter out;
  ASSERT_TRUE(WriteFilesTar(*layers, Files(), {.scratch = directory.path() + "/tmp"}, out, {}));
  auto files = FilesOf(out.text);
  EXPECT_EQ(files["a"], "1");
  EXPECT_EQ(files["b"], "2");
}

TEST_F(ExportTest, AnIndexAnnotationNeedsAnIndex) {
  Output output;
  output.annotations = {{.type = "index", .key = "k", .value = "v"}};
  EXPECT_EQ(Make(output).error().code, Code::kInvalid);
  output.annotations[0].type = "manifest";
  Image image = *Make(output);
  EXPECT_EQ(image.manifest.annotations[0].first, "k");
}

}  // namespace
}  // namespace varve::exporter
