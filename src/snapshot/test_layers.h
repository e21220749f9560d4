// For the tests of this module: a root on the disk, files in drafts, tars in memory.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "archive/tar.h"
#include "base/fd.h"
#include "snapshot/local_layer_store.h"
#include "sys/tempdir.h"

namespace varve::snapshot {

class LayersTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = sys::TempDir::Create(testing::TempDir(), "varve-layers-");
    ASSERT_TRUE(made) << made.error().ToString();
    dir_ = std::move(*made);
    store_ = OpenStore();
    ASSERT_TRUE(store_);
  }

  std::unique_ptr<LocalLayerStore> OpenStore(const std::string& boot = "boot-1") {
    auto store = LocalLayerStore::Open(root(), boot);
    EXPECT_TRUE(store) << store.error().ToString();
    return store ? std::move(*store) : nullptr;
  }

  std::string root() const { return dir_.path() + "/root"; }

  static void Put(const std::string& path, std::string_view text, mode_t mode = 0644) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << text;
    ASSERT_EQ(chmod(path.c_str(), mode), 0) << path;
  }

  static std::string Get(const std::string& path) {
    auto text = ReadFile(path);
    return text ? *text : "<" + text.error().message + ">";
  }

  // A layer with these files ("name" → content; a name with '/' at the end is a directory).
  Layer CommitFiles(const std::vector<std::pair<std::string, std::string>>& files) {
    auto draft = store_->NewDraft();
    EXPECT_TRUE(draft);
    for (const auto& [name, text] : files) {
      std::string path = (*draft)->upper() + "/" + name;
      if (name.ends_with('/')) {
        std::filesystem::create_directories(path);
      } else if (text == "<whiteout>") {
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        EXPECT_EQ(mknod(path.c_str(), S_IFCHR, 0), 0);
      } else {
        Put(path, text);
      }
    }
    return Commit(std::move(*draft));
  }

  Layer Commit(std::unique_ptr<LayerDraft> draft, const LayerStore::KnownDigests& known = {}) {
    auto layer = store_->Commit(std::move(draft), known, {}, {});
    EXPECT_TRUE(layer) << layer.error().ToString();
    return layer ? *layer : Layer();
  }

  std::string TarOf(LayerStore& store, const DiffId& layer) {
    StringWriter out;
    Status written = store.WriteTar(layer, out, {});
    EXPECT_TRUE(written) << written.error().ToString();
    return out.text;
  }

  struct Member {
    archive::TarEntry entry;
    std::string content = {};
  };
  static std::string MakeTar(const std::vector<Member>& members) {
    StringWriter out;
    archive::TarWriter writer(out);
    for (const Member& member : members) {
      archive::TarEntry entry = member.entry;
      if (entry.type == archive::EntryType::kFile) entry.size = member.content.size();
      if (entry.mode == 0) entry.mode = entry.type == archive::EntryType::kDirectory ? 0755 : 0644;
      EXPECT_TRUE(writer.Add(entry));
      EXPECT_TRUE(writer.Content(member.content));
    }
    EXPECT_TRUE(writer.Finish());
    return out.text;
  }

  Result<Layer> UnpackTar(const std::string& tar, const std::vector<DiffId>& below = {}) {
    StringReader in(tar);
    return store_->Unpack(DiffId(Digest::Of(tar)), below, in, {});
  }

  const tree::LayerEntry* Find(const tree::LayerIndex& index, const std::string& path) {
    for (const tree::LayerEntry& entry : index) {
      if (entry.path.str() == path) return &entry;
    }
    return nullptr;
  }

  sys::TempDir dir_;
  std::unique_ptr<LocalLayerStore> store_;
};

inline std::string Capability() {
  // VFS_CAP_REVISION_2, effective, cap_net_raw.
  return std::string("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
}

}  // namespace varve::snapshot
