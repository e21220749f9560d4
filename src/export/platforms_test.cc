// Results for several platforms: the index, what is around it, and files in a directory per
// platform.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "archive/tar.h"
#include "base/fd.h"
#include "cache/root.h"
#include "export/archive_output.h"
#include "export/files_output.h"
#include "sys/tempdir.h"

namespace varve::exporter {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/export/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

class ExportPlatformsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    directory = *sys::TempDir::Create(testing::TempDir(), "export-");
    scratch = directory.path() + "/tmp";
    ASSERT_TRUE(cache::PrepareRoot(directory.path()));
    layers = *snapshot::OpenLayerStore(directory.path());
    local = std::move(cache::OpenLocalStore(directory.path(), clock)->store);
    blobs = cas::MakeMemoryStore();
    stores.emplace(ExportStores{*layers, *local, *blobs, nullptr, clock});
    built.multi_platform = true;
    for (const char* name : {"linux/amd64", "linux/arm64", "linux/arm/v7"}) Add(name, {{"bin", name}});
    output.source_date_epoch = 1'700'000'000;
    output.compression = LayerCompression::kNone;
  }
  // One layer with these files.
  void Add(const std::string& name, const std::map<std::string, std::string>& files) {
    PlatformInput of{.platform = *oci::ParsePlatform(name)};
    of.input.config = oci::ImageConfig::Scratch(of.platform);
    auto draft = *layers->NewDraft();
    for (const auto& [path, text] : files) {
      std::string full = draft->upper() + "/" + path;
      fs::create_directories(fs::path(full).parent_path());
      std::ofstream(full) << text;
      timespec times[2] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
      ASSERT_EQ(utimensat(AT_FDCWD, full.c_str(), times, 0), 0);
    }
    of.input.rootfs.layers.push_back(layers->Commit(std::move(draft), {}, {}, {})->diff_id);
    of.input.config.AddHistory({.created_by = "COPY"});
    built.platforms.push_back(std::move(of));
  }
  Result<ImageSet> Make() { return MakeImages(built, output, *stores, nullptr, {}); }
  std::map<std::string, std::string> Read(const std::string& tar) {
    std::map<std::string, std::string> files;
    StringReader in(tar);
    archive::TarReader reader(in);
    while (auto entry = *reader.Next()) files[entry->name] = *ReadAll(reader.content(), 1 << 20);
    return files;
  }
  std::vector<FilesPart> Parts(bool split) const {
    std::vector<FilesPart> parts;
    for (const PlatformInput& of : built.platforms) {
      parts.push_back({of.input.rootfs, of.platform, split ? PlatformDirectory(of.platform) : ""});
    }
    return parts;
  }

  FakeClock clock;
  sys::TempDir directory;
  std::string scratch;
  std::unique_ptr<snapshot::LayerStore> layers;
  std::unique_ptr<cache::LocalStore> local;
  std::unique_ptr<cas::BlobStore> blobs;
  std::optional<ExportStores> stores;
  BuildResult built;
  Output output;
};

TEST_F(ExportPlatformsTest, TheIndexListsThePlatformsInTheirOrder) {
  ImageSet set = *Make();
  ASSERT_TRUE(set.index);
  ExpectGolden("index.json", set.index_text);
  EXPECT_EQ(set.descriptor.digest, Digest::Of(set.index_text));
  EXPECT_EQ(set.descriptor.media_type, oci::kOciIndex);
  EXPECT_EQ(set.id(), set.descriptor.digest);
  EXPECT_EQ(*blobs->Get(set.descriptor.digest, 1 << 20), set.index_text);
}

TEST_F(ExportPlatformsTest, DockersTypesMakeAManifestList) {
  output.oci_media_types = false;
  ImageSet set = *Make();
  ExpectGolden("manifest-list.json", set.index_text);
  EXPECT_EQ(set.descriptor.media_type, oci::kDockerList);
}

TEST_F(ExportPlatformsTest, AnnotationsGoToTheirLevelAndPlatform) {
  output.annotations = {{"manifest", "", "all", "1"},
                        {"manifest", "linux/arm64/v8", "arm", "2"},
                        {"manifest-descriptor", "linux/arm/v7", "descriptor", "3"},
                        {"index", "", "index", "4"},
                        {"index-descriptor", "", "outer", "5"}};
  ImageSet set = *Make();
  EXPECT_THAT(set.images[0].manifest.annotations, ElementsAre(Pair("all", "1")));
  EXPECT_THAT(set.images[1].manifest.annotations, ElementsAre(Pair("all", "1"), Pair("arm", "2")));
  EXPECT_THAT(set.index->manifests[2].annotations, ElementsAre(Pair("descriptor", "3")));
  EXPECT_TRUE(set.index->manifests[1].annotations.empty());
  EXPECT_THAT(set.index->annotations, ElementsAre(Pair("index", "4")));
  EXPECT_THAT(set.descriptor.annotations, ElementsAre(Pair("outer", "5")));
}

TEST_F(ExportPlatformsTest, WhatCannotBeIsSaidBeforeAnythingIsMade) {
  auto refused = [&](Output::Annotation annotation) {
    output.annotations = {std::move(annotation)};
    auto set = Make();
    return set ? "accepted" : set.error().message + " / " + set.error().hint;
  };
  EXPECT_THAT(refused({"manifest", "linux/s390x", "k", "v"}),
              HasSubstr("not in the result / the result is for linux/amd64, linux/arm64, linux/arm/v7"));
  EXPECT_THAT(refused({"index", "linux/amd64", "k", "v"}), HasSubstr("an index is for all platforms"));
  output.oci_media_types = false;
  EXPECT_THAT(refused({"index", "", "k", "v"}), HasSubstr("needs OCI's media types"));
  output.annotations.clear();
  output.type = OutputType::kDocker;
  auto set = Make();
  ASSERT_FALSE(set);
  EXPECT_THAT(set.error().message, HasSubstr("does not currently support exporting manifest lists"));
  EXPECT_THAT(set.error().hint, HasSubstr("type=oci"));
}

TEST_F(ExportPlatformsTest, AnIndexOfOnePlatformCanBeAskedFor) {
  built.platforms.resize(1);
  ImageSet set = *Make();
  ASSERT_TRUE(set.index);
  EXPECT_EQ(set.index->manifests.size(), 1u);
  built.multi_platform = false;
  ImageSet bare = *Make();
  EXPECT_FALSE(bare.index);
  EXPECT_EQ(bare.descriptor.digest, set.images[0].manifest_digest);
  EXPECT_EQ(bare.id(), set.images[0].config_digest);
}

TEST_F(ExportPlatformsTest, AnArchiveHoldsEveryPlatformAndNamesTheIndex) {
  output.annotations = {{"index-descriptor", "", "outer", "5"}};
  ImageSet set = *Make();
  StringWriter out;
  ASSERT_TRUE(WriteArchive(set, {"docker.io/library/app:1"}, false, *blobs, out));
  auto files = Read(out.text);
  ExpectGolden("layout-index.json", files["index.json"]);
  for (const Image& image : set.images) {
    EXPECT_EQ(files["blobs/sha256/" + image.manifest_digest.Hex()], image.manifest_text);
    EXPECT_EQ(files["blobs/sha256/" + image.config_digest.Hex()], image.config);
    for (const auto& layer : image.manifest.layers) {
      EXPECT_TRUE(files.contains("blobs/sha256/" + layer.digest.Hex()));
    }
  }
  EXPECT_EQ(files["blobs/sha256/" + set.descriptor.digest.Hex()], set.index_text);
}

TEST_F(ExportPlatformsTest, TheStoredIndexPointsToTheSameConfigs) {
  ImageSet stored = *MakeStoredImages(built, output, *stores, {}), made = *Make();
  for (size_t i = 0; i < made.images.size(); ++i) {
    EXPECT_EQ(stored.images[i].config_digest, made.images[i].config_digest);
  }
}

TEST_F(ExportPlatformsTest, FilesHaveADirectoryPerPlatform) {
  StringWriter out;
  ASSERT_TRUE(WriteFilesTar(*layers, Parts(true), {.scratch = scratch}, out, {}));
  EXPECT_THAT(Read(out.text), ElementsAre(Pair("linux_amd64/", ""), Pair("linux_amd64/bin", "linux/amd64"),
                                          Pair("linux_arm64/", ""), Pair("linux_arm64/bin", "linux/arm64"),
                                          Pair("linux_arm_v7/", ""), Pair("linux_arm_v7/bin", "linux/arm/v7")));
  std::string to = directory.path() + "/out";
  fs::create_directories(to + "/linux_amd64");
  std::ofstream(to + "/linux_amd64/old") << "x";
  std::ofstream(to + "/other") << "x";
  ASSERT_TRUE(CopyFiles(*layers, Parts(true), {.scratch = scratch}, to, {}));
  EXPECT_EQ(*ReadFile(to + "/linux_arm_v7/bin"), "linux/arm/v7");
  EXPECT_TRUE(fs::exists(to + "/other"));
  ASSERT_TRUE(CopyFiles(*layers, Parts(true), {.epoch = 5, .scratch = scratch, .delete_extra = true}, to, {}));
  EXPECT_FALSE(fs::exists(to + "/other"));
  EXPECT_FALSE(fs::exists(to + "/linux_amd64/old"));
  EXPECT_TRUE(fs::exists(to + "/linux_amd64/bin"));
  struct stat st;
  ASSERT_EQ(stat((to + "/linux_amd64").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtime, 5);
}

TEST_F(ExportPlatformsTest, HardLinksOfAPlatformStayInItsDirectory) {
  auto draft = *layers->NewDraft();
  std::ofstream(draft->upper() + "/a") << "x";
  fs::create_hard_link(draft->upper() + "/a", draft->upper() + "/b");
  built.platforms[0].input.rootfs.layers = {layers->Commit(std::move(draft), {}, {}, {})->diff_id};
  StringWriter out;
  ASSERT_TRUE(WriteFilesTar(*layers, Parts(true), {.scratch = scratch}, out, {}));
  StringReader in(out.text);
  archive::TarReader reader(in);
  std::string link;
  while (auto entry = *reader.Next()) {
    if (entry->type == archive::EntryType::kHardLink) link = entry->name + " " + entry->link;
  }
  EXPECT_EQ(link, "linux_amd64/b linux_amd64/a");
}

TEST_F(ExportPlatformsTest, UnsplitFilesMayShareDirectoriesButNoFile) {
  built.platforms.clear();
  Add("linux/amd64", {{"bin/app-amd64", "a"}});
  Add("linux/arm64", {{"bin/app-arm64", "b"}});
  StringWriter out;
  ASSERT_TRUE(WriteFilesTar(*layers, Parts(false), {.scratch = scratch}, out, {}));
  EXPECT_THAT(Read(out.text), ElementsAre(Pair("bin/", ""), Pair("bin/app-amd64", "a"), Pair("bin/app-arm64", "b")));
  std::string to = directory.path() + "/out";
  ASSERT_TRUE(CopyFiles(*layers, Parts(false), {.scratch = scratch, .delete_extra = true}, to, {}));
  EXPECT_EQ(*ReadFile(to + "/bin/app-arm64"), "b");
  Add("linux/s390x", {{"bin/app-arm64", "c"}});
  Status refused = CopyFiles(*layers, Parts(false), {.scratch = scratch}, to, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("cannot overwrite bin/app-arm64 from linux/arm64 with bin/app-arm64 from linux/s390x"));
}

attest::Attestation Provenance() {
  return {.predicate_type = std::string(attest::kProvenanceV1),
          .predicate = Json().Set("buildDefinition", Json::EmptyObject()),
          .file = "provenance.json"};
}

TEST_F(ExportPlatformsTest, EachPlatformHasAManifestOfWhatIsAttested) {
  for (PlatformInput& of : built.platforms) of.attestations = {Provenance()};
  output.names = {"docker.io/library/app:1"};
  auto set = Make();
  ASSERT_TRUE(set) << set.error().ToString();
  ASSERT_EQ(set->attestations.size(), 3u);
  ExpectGolden("attested-index.json", set->index_text);
  ExpectGolden("attestation.json", set->attestations[0].manifest_text);
  ExpectGolden("attestation-statement.json", *blobs->Get(set->attestations[0].manifest.layers[0].digest, 1 << 20));
  output.oci_artifact = false;
  set = Make();
  ASSERT_TRUE(set) << set.error().ToString();
  ExpectGolden("attestation-as-image.json", set->attestations[0].manifest_text);
  ExpectGolden("attestation-config.json", set->attestations[0].config);
}

TEST_F(ExportPlatformsTest, AnSbomOfTheResultNamesTheLayersOfItsFiles) {
  built.platforms.resize(1);
  const Json document =
      *Json::Parse(R"({"files":[{"fileName":"./bin"},{"fileName":"/nowhere"},{"fileName":"bin","comment":"mine"}]})");
  attest::Attestation sbom{
      .predicate_type = std::string(attest::kSpdx), .predicate = document, .file = "sbom.spdx.json"};
  attest::Attestation other = sbom;
  other.file = "sbom-tools.spdx.json";
  attest::Attestation named = sbom;  // by who made it
  named.file = "result.spdx";
  named.core = "result";
  built.platforms[0].attestations = {sbom, other, named};
  auto set = Make();
  ASSERT_TRUE(set) << set.error().message;
  const auto& statements = set->attestations[0].manifest.layers;
  auto files_of = [&](size_t n) {
    Json statement = *Json::Parse(*blobs->Get(statements[n].digest, 1 << 20));
    return statement.Find("predicate")->Find("files")->Dump();
  };
  const std::string layer = set->images[0].manifest.layers[0].digest.ToString();
  EXPECT_EQ(files_of(0), R"([{"fileName":"./bin","comment":"layerID: )" + layer +
                             R"("},{"fileName":"/nowhere"},{"fileName":"bin","comment":"mine"}])");
  EXPECT_EQ(files_of(1), document.Find("files")->Dump());
  EXPECT_EQ(files_of(2), files_of(0));
}

TEST_F(ExportPlatformsTest, AttestationsMakeAnIndexOfOneImage) {
  built.multi_platform = false;
  built.platforms.resize(1);
  built.platforms[0].attestations = {Provenance()};
  auto set = Make();
  ASSERT_TRUE(set) << set.error().ToString();
  ASSERT_TRUE(set->index);
  EXPECT_EQ(set->index->manifests.size(), 2u);
  EXPECT_EQ(set->index->Find({"linux", "amd64"})->digest, set->images[0].manifest_digest);
}

TEST_F(ExportPlatformsTest, InlineOnlyAttestationsAreForImages) {
  built.multi_platform = false;
  built.platforms.resize(1);
  built.platforms[0].attestations = {Provenance()};
  built.platforms[0].attestations[0].inline_only = true;
  output.type = OutputType::kImage;
  EXPECT_EQ(Make()->attestations.size(), 1u);
  output.type = OutputType::kDocker;
  EXPECT_FALSE(Make()->index);
  output.type = OutputType::kOci;
  EXPECT_FALSE(Make()->index);
  output.attestation_inline = true;
  EXPECT_TRUE(Make()->index);
}

TEST_F(ExportPlatformsTest, FormatsThatHoldNoIndexRefuseAttestations) {
  built.platforms[0].attestations = {Provenance()};
  output.oci_media_types = false;
  EXPECT_THAT(Make().error().message, HasSubstr("oci-mediatypes=false"));
  output.oci_media_types = true;
  output.type = OutputType::kDocker;
  built.multi_platform = false;
  built.platforms.resize(1);
  EXPECT_THAT(Make().error().message, HasSubstr("which attestations need"));
}

TEST_F(ExportPlatformsTest, FilesBesideTheResultAreInItsDirectory) {
  auto parts = Parts(true);
  parts[0].more = {{"provenance.json", "{}"}};
  StringWriter out;
  ASSERT_TRUE(WriteFilesTar(*layers, parts, {.epoch = 1, .scratch = scratch}, out, {}));
  auto files = Read(out.text);
  EXPECT_EQ(files.count("linux_amd64/provenance.json"), 1u);
  EXPECT_EQ(files["linux_amd64/provenance.json"], "{}");
  parts[0].more = {{"bin", "{}"}};
  EXPECT_THAT(WriteFilesTar(*layers, parts, {.scratch = scratch}, out, {}).error().message,
              HasSubstr("the result has a file bin"));
}

}  // namespace
}  // namespace varve::exporter
