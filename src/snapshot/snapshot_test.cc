// Layers written, committed, made into tars, unpacked and mounted: the same contract for overlayfs
// and for the copying fallback.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "archive/tar.h"
#include "snapshot/layer_store.h"
#include "snapshot/rootfs_mount.h"
#include "sys/namespace.h"
#include "sys/tempdir.h"

namespace varve::snapshot {
namespace {

namespace fs = std::filesystem;
using archive::EntryType;
using archive::TarEntry;

void Write(const std::string& path, const std::string& text) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << text;
}

std::string Read(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

class SnapshotTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "mounting needs root";
    if (!GetParam()) setenv("VARVE_NO_OVERLAY", "1", 1);
    directory = *sys::TempDir::Create(testing::TempDir(), "snapshot-");
    store = *OpenLayerStore(directory.path());
  }
  void TearDown() override { unsetenv("VARVE_NO_OVERLAY"); }

  // Runs `change` on the merged view of a stack and commits what it did.
  template <class F>
  DiffId Change(const std::vector<DiffId>& stack, F&& change) {
    auto draft = *store->NewDraft();
    std::string point = MountPoint();
    auto mount = *MountRootfs(*store, stack, draft.get(), point);
    change(mount->path());
    EXPECT_TRUE(mount->Finish());
    mount.reset();
    auto layer = store->Commit(std::move(draft), {}, {}, {});
    EXPECT_TRUE(layer) << layer.error().message;
    return layer->diff_id;
  }

  template <class F>
  void Look(const std::vector<DiffId>& stack, F&& look) {
    auto mount = MountRootfs(*store, stack, nullptr, MountPoint());
    ASSERT_TRUE(mount) << mount.error().message;
    look((*mount)->path());
  }

  std::string MountPoint() {
    std::string point = directory.path() + "/mnt-" + std::to_string(points++);
    fs::create_directories(point);
    return point;
  }

  std::string Tar(const std::vector<std::pair<TarEntry, std::string>>& entries) {
    StringWriter out;
    archive::TarWriter writer(out);
    for (auto [entry, content] : entries) {
      entry.size = content.size();
      EXPECT_TRUE(writer.Add(entry));
      EXPECT_TRUE(writer.Content(content));
    }
    EXPECT_TRUE(writer.Finish());
    return out.text;
  }

  Result<Layer> Unpack(const std::string& tar, const std::vector<DiffId>& below = {}) {
    StringReader in(tar);
    return store->Unpack(DiffId(Digest::Of(tar)), below, in, {});
  }

  sys::TempDir directory;
  std::unique_ptr<LayerStore> store;
  int points = 0;
};

TEST_P(SnapshotTest, AStepsChangesAreOneLayer) {
  DiffId base = Change({}, [](const std::string& root) {
    Write(root + "/etc/a", "1");
    Write(root + "/etc/gone", "x");
    Write(root + "/dir/file", "x");
  });
  DiffId top = Change({base}, [](const std::string& root) {
    EXPECT_EQ(Read(root + "/etc/a"), "1");
    Write(root + "/etc/a", "2");
    fs::remove(root + "/etc/gone");
    fs::remove_all(root + "/dir");
    fs::create_directory(root + "/dir");
    Write(root + "/dir/new", "y");
  });
  Look({base, top}, [](const std::string& root) {
    EXPECT_EQ(Read(root + "/etc/a"), "2");
    EXPECT_FALSE(fs::exists(root + "/etc/gone"));
    EXPECT_FALSE(fs::exists(root + "/dir/file"));
    EXPECT_EQ(Read(root + "/dir/new"), "y");
  });
  // And the tar of it says the same to whoever unpacks it.
  StringWriter tar;
  ASSERT_TRUE(store->WriteTar(top, tar, {}));
  EXPECT_EQ(Digest::Of(tar.text), top.value);
  EXPECT_THAT(tar.text, testing::HasSubstr("etc/.wh.gone"));
  ASSERT_TRUE(store->Remove(top));
  EXPECT_FALSE(*store->Has(top));
  ASSERT_TRUE(Unpack(tar.text, {base}));
  Look({base, top}, [](const std::string& root) {
    EXPECT_FALSE(fs::exists(root + "/etc/gone"));
    EXPECT_FALSE(fs::exists(root + "/dir/file"));
    EXPECT_EQ(Read(root + "/dir/new"), "y");
  });
}

TEST_P(SnapshotTest, AStepThatChangesNothingIsTheEmptyLayer) {
  DiffId base = Change({}, [](const std::string& root) { Write(root + "/a", "1"); });
  DiffId top = Change({base}, [](const std::string&) {});
  EXPECT_EQ(top.ToString(), "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
}

TEST_P(SnapshotTest, EveryKindOfFileSurvives) {
  DiffId layer = Change({}, [](const std::string& root) {
    Write(root + "/file", "text");
    chmod((root + "/file").c_str(), 04755);
    chown((root + "/file").c_str(), 7, 8);
    chmod((root + "/file").c_str(), 04755);
    link((root + "/file").c_str(), (root + "/hard").c_str());
    symlink("/etc/x", (root + "/link").c_str());
    mkfifo((root + "/fifo").c_str(), 0600);
    mknod((root + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3));
    Write(root + "/cap", "program");
    chmod((root + "/cap").c_str(), 0755);
    const char capability[] = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    setxattr((root + "/cap").c_str(), "security.capability", capability, 20, 0);
  });
  StringWriter tar;
  ASSERT_TRUE(store->WriteTar(layer, tar, {}));
  ASSERT_TRUE(store->Remove(layer));
  auto unpacked = Unpack(tar.text);
  ASSERT_TRUE(unpacked) << unpacked.error().message;
  StringWriter again;
  ASSERT_TRUE(store->WriteTar(layer, again, {}));
  EXPECT_EQ(again.text, tar.text);
  Look({layer}, [](const std::string& root) {
    struct stat st;
    ASSERT_EQ(lstat((root + "/file").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 04755u);
    EXPECT_EQ(st.st_uid, 7u);
    EXPECT_EQ(st.st_nlink, 2u);
    ASSERT_EQ(lstat((root + "/null").c_str(), &st), 0);
    EXPECT_EQ(st.st_rdev, makedev(1, 3));
    char value[64];
    EXPECT_EQ(getxattr((root + "/cap").c_str(), "security.capability", value, 64), 20);
  });
}

TEST_P(SnapshotTest, ManyLayersMount) {
  std::vector<DiffId> stack;
  for (int i = 0; i < 160; ++i) {
    auto draft = *store->NewDraft();
    Write(draft->upper() + "/f" + std::to_string(i), std::to_string(i));
    stack.push_back(store->Commit(std::move(draft), {}, {}, {})->diff_id);
  }
  Look(stack, [](const std::string& root) {
    EXPECT_EQ(Read(root + "/f0"), "0");
    EXPECT_EQ(Read(root + "/f159"), "159");
  });
}

TEST_P(SnapshotTest, ImplicitParentsKeepWhatTheBaseHas) {
  DiffId base = Change({}, [](const std::string& root) {
    fs::create_directories(root + "/private");
    chmod((root + "/private").c_str(), 0700);
    fs::create_directories(root + "/usr/lib");
    symlink("usr/lib", (root + "/lib").c_str());
  });
  std::string tar = Tar({{{.name = "private/x", .mode = 0644}, "x"}, {{.name = "lib/y", .mode = 0644}, "y"}});
  auto layer = Unpack(tar, {base});
  ASSERT_TRUE(layer) << layer.error().message;
  Look({base, layer->diff_id}, [](const std::string& root) {
    struct stat st;
    stat((root + "/private").c_str(), &st);
    EXPECT_EQ(st.st_mode & 07777, 0700u);
    EXPECT_TRUE(fs::is_symlink(root + "/lib"));
    EXPECT_EQ(Read(root + "/usr/lib/y"), "y");
  });
}

TEST_P(SnapshotTest, HostileTarsStayInside) {
  std::string outside = directory.path() + "/outside";
  fs::create_directories(outside);
  std::string escape = Tar({{{.name = "../outside/a", .mode = 0644}, "x"}});
  EXPECT_EQ(Unpack(escape).error().code, Code::kInvalid);
  ASSERT_TRUE(Unpack(Tar({{{.name = "/abs", .mode = 0644}, "x"}})));
  // A link out, then a file through it: lands below the root.
  std::string through =
      Tar({{{.name = "l", .type = EntryType::kSymlink, .link = outside}, ""}, {{.name = "l/b", .mode = 0644}, "x"}});
  auto layer = Unpack(through);
  ASSERT_TRUE(layer) << layer.error().message;
  EXPECT_TRUE(fs::is_empty(outside));
  std::string link_out = Tar({{{.name = "h", .type = EntryType::kHardLink, .link = "../../etc/passwd"}, ""}});
  EXPECT_FALSE(Unpack(link_out));
  std::string dangling = Tar({{{.name = "h", .type = EntryType::kHardLink, .link = "none"}, ""}});
  EXPECT_EQ(Unpack(dangling).error().code, Code::kCorrupt);
}

TEST_P(SnapshotTest, ALaterEntryOfOneNameWins) {
  std::string tar = Tar({{{.name = "a", .mode = 0644}, "1"},
                         {{.name = "a/", .type = EntryType::kDirectory, .mode = 0755}, ""},
                         {{.name = "a/b", .mode = 0644}, "2"},
                         {{.name = "c/", .type = EntryType::kDirectory, .mode = 0755}, ""},
                         {{.name = "c/d", .mode = 0644}, "3"},
                         {{.name = "c", .mode = 0644}, "4"}});
  auto layer = Unpack(tar);
  ASSERT_TRUE(layer) << layer.error().message;
  Look({layer->diff_id}, [](const std::string& root) {
    EXPECT_EQ(Read(root + "/a/b"), "2");
    EXPECT_EQ(Read(root + "/c"), "4");
  });
  tree::LayerIndex index = *store->Index(layer->diff_id);
  EXPECT_EQ(index.size(), 3u);
}

TEST_P(SnapshotTest, WrongBytesAreNotALayer) {
  std::string tar = Tar({{{.name = "a"}, "1"}});
  StringReader in(tar);
  DiffId other(Digest::Of("other"));
  EXPECT_EQ(store->Unpack(other, {}, in, {}).error().code, Code::kCorrupt);
  EXPECT_FALSE(*store->Has(other));
}

TEST_P(SnapshotTest, AChangedLayerOnDiskIsFound) {
  DiffId layer = Change({}, [](const std::string& root) { Write(root + "/a", "1"); });
  Write(store->Directory(layer).value() + "/a", "2");
  StringWriter tar;
  EXPECT_EQ(store->WriteTar(layer, tar, {}).error().code, Code::kCorrupt);
}

TEST_P(SnapshotTest, WhatAKilledProcessLeftIsRemoved) {
  std::string root = directory.path();
  pid_t child = fork();
  if (child == 0) {
    auto theirs = OpenLayerStore(root);
    auto draft = (*theirs)->NewDraft();
    Write((*draft)->upper() + "/file", "x");
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  auto count = [&] { return std::distance(fs::directory_iterator(root + "/staging"), fs::directory_iterator()); };
  auto mine = *store->NewDraft();
  EXPECT_EQ(count(), 4);
  auto reopened = OpenLayerStore(root);
  EXPECT_EQ(count(), 2);
  EXPECT_TRUE(fs::exists(mine->upper()));
}

INSTANTIATE_TEST_SUITE_P(Modes, SnapshotTest, testing::Values(true, false),
                         [](const auto& mode) { return mode.param ? "Overlay" : "Copy"; });

}  // namespace
}  // namespace varve::snapshot
