// What `docker save` and `podman save` write, in the forms that they had over the years.
#include "job/local_images.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "archive/tar.h"
#include "base/fd.h"
#include "sys/tempdir.h"

namespace varve::job {
namespace {

using ::testing::HasSubstr;

class SavedImageTest : public ::testing::Test {
 protected:
  struct File {
    std::string name, content;
    std::string link = {};
  };

  Result<SavedImage> Open(const std::vector<File>& files) {
    path = dir.path() + "/saved.tar";
    TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    FdWriter out(fd.get());
    archive::TarWriter tar(out);
    for (const File& file : files) {
      archive::TarEntry entry{.name = file.name, .mode = 0644, .size = file.content.size()};
      if (!file.link.empty()) entry.type = archive::EntryType::kSymlink;
      entry.link = file.link;
      TRY(tar.Add(entry));
      TRY(tar.Content(file.content));
    }
    TRY(tar.Finish());
    return SavedImage::Open(path);
  }

  std::string ConfigOf(const std::vector<std::string>& layers) {
    oci::ImageConfig config = oci::ImageConfig::Scratch({.os = "linux", .architecture = "amd64"});
    std::vector<DiffId> ids;
    for (const std::string& layer : layers) ids.push_back(DiffId(Digest::Of(layer)));
    config.set_diff_ids(ids);
    return config.Serialise();
  }

  std::string Fetched(const SavedImage& saved, size_t layer) {
    StringWriter out;
    Status fetched = saved.Fetch(saved.image().layers[layer], out);
    return fetched ? out.text : fetched.error().message;
  }

  sys::TempDir dir = *sys::TempDir::Create(testing::TempDir(), "saved-");
  std::string path;
};

const std::string kOne(10000, '1'), kTwo(700, '2');

// docker up to 24: a folder a layer, symlinks for layers that come twice, manifest.json last
TEST_F(SavedImageTest, OldDocker) {
  auto saved = Open({{"x/VERSION", "1.0"},
                     {"x/json", "{}"},
                     {"x/layer.tar", kOne},
                     {"y/layer.tar", kTwo},
                     {"z/layer.tar", "", "../x/layer.tar"},
                     {"c.json", ConfigOf({kOne, kTwo, kOne})},
                     {"manifest.json", R"([{"Config":"c.json","RepoTags":["a:b"],"Layers":)"
                                       R"(["x/layer.tar","y/layer.tar","z/layer.tar"]}])"}});
  ASSERT_TRUE(saved) << saved.error().message;
  ASSERT_EQ(saved->image().layers.size(), 3u);
  EXPECT_EQ(saved->image().layers[0].digest, Digest::Of(kOne));
  EXPECT_EQ(saved->image().layers[0].media_type, oci::kOciLayer);
  EXPECT_EQ(saved->image().layers[1].size, kTwo.size());
  EXPECT_EQ(Fetched(*saved, 0), kOne);
  EXPECT_EQ(Fetched(*saved, 1), kTwo);
  EXPECT_EQ(Fetched(*saved, 2), kOne);
}

// docker since 25: an OCI layout too; with containerd's store the blobs are compressed
TEST_F(SavedImageTest, NewDocker) {
  std::string packed = "\x1f\x8b packed " + kOne;
  std::string blob = "blobs/sha256/" + Digest::Of(packed).Hex();
  std::string config = ConfigOf({kOne});
  std::string config_blob = "blobs/sha256/" + Digest::Of(config).Hex();
  auto saved = Open({{blob, packed},
                     {config_blob, config},
                     {"oci-layout", "{}"},
                     {"index.json", "{}"},
                     {"manifest.json", R"([{"Config":")" + config_blob + R"(","Layers":[")" + blob + "\"]}]"}});
  ASSERT_TRUE(saved) << saved.error().message;
  EXPECT_EQ(saved->image().layers[0].digest, Digest::Of(packed));
  EXPECT_EQ(saved->image().layers[0].media_type, oci::kOciLayerGzip);
  EXPECT_EQ(Fetched(*saved, 0), packed);
}

TEST_F(SavedImageTest, WhatIsNoArchiveIsRefused) {
  const std::string manifest = R"([{"Config":"c.json","Layers":["l.tar"]}])";
  EXPECT_FALSE(Open({}));
  EXPECT_FALSE(Open({{"manifest.json", "no json"}}));
  EXPECT_FALSE(Open({{"manifest.json", "[]"}}));
  EXPECT_FALSE(Open({{"manifest.json", manifest}}));
  EXPECT_FALSE(Open({{"manifest.json", manifest}, {"c.json", ConfigOf({kOne})}}));
  EXPECT_FALSE(Open({{"manifest.json", manifest}, {"c.json", ConfigOf({})}, {"l.tar", kOne}}));
  EXPECT_TRUE(Open({{"manifest.json", manifest}, {"c.json", ConfigOf({kOne})}, {"l.tar", kOne}}));
}

}  // namespace
}  // namespace varve::job
