// One suite for both ways to make a rootfs: overlay and copy.
#include "snapshot/rootfs_mount.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <functional>
#include <map>

#include "base/strings.h"
#include "snapshot/test_layers.h"
#include "snapshot/upper_walk.h"
#include "sys/namespace.h"
#include "sys/xattrs.h"
#include "tree/tree.h"

namespace varve::snapshot {
namespace {

using testing::ElementsAre;
using testing::UnorderedElementsAre;

// Mounts of these tests are nobody else's, and vanish with the process.
class PrivateMounts : public testing::Environment {
  void SetUp() override { (void)sys::EnterPrivateMountNamespace().has_value(); }
};
[[maybe_unused]] const auto* const kPrivate = testing::AddGlobalTestEnvironment(new PrivateMounts);

struct RootfsTest : LayersTest, testing::WithParamInterface<const char*> {
  void SetUp() override {
    LayersTest::SetUp();
    bool copying = std::string_view(GetParam()) == "copy";
    setenv("VARVE_NO_OVERLAY", copying ? "1" : "0", 1);
    if (!copying && !OverlayUsable(root())) GTEST_SKIP() << "overlayfs cannot be mounted here";
  }
  void TearDown() override { unsetenv("VARVE_NO_OVERLAY"); }

  std::unique_ptr<RootfsMount> Mount(const std::vector<DiffId>& stack, LayerDraft* draft = nullptr) {
    std::string scratch = fmt::format("{}/scratch-{}", root(), mounts_++);
    EXPECT_EQ(mkdir(scratch.c_str(), 0700), 0);
    auto mount = MountRootfs(*store_, stack, draft, scratch);
    EXPECT_TRUE(mount) << mount.error().ToString();
    return mount ? std::move(*mount) : nullptr;
  }

  // Runs `change` in the merged directory and commits.
  DiffId Step(const std::vector<DiffId>& stack, const std::function<void(const std::string&)>& change) {
    auto draft = *store_->NewDraft();
    auto mount = Mount(stack, draft.get());
    if (!mount) return {};
    change(mount->path());
    Status finished = mount->Finish();
    EXPECT_TRUE(finished) << finished.error().ToString();
    mount.reset();
    return Commit(std::move(draft)).diff_id;
  }

  std::vector<std::string> Changes(const DiffId& layer) {
    std::vector<std::string> out;
    auto index = *store_->Index(layer);
    for (const tree::LayerEntry& entry : index) {
      out.push_back(entry.path.str() + (entry.whiteout ? " gone" : entry.opaque ? " opaque" : ""));
    }
    return out;
  }

  static std::vector<std::string> List(const std::string& directory) {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      out.push_back(entry.path().filename());
    }
    std::ranges::sort(out);
    return out;
  }

  int mounts_ = 0;
};

TEST_P(RootfsTest, NoLayersAreAnEmptyDirectory) {
  EXPECT_TRUE(List(Mount({})->path()).empty());
  DiffId layer = Step({}, [](const std::string& root) { Put(root + "/f", "x"); });
  EXPECT_THAT(Changes(layer), ElementsAre("f"));
}

TEST_P(RootfsTest, UpperLayersWin) {
  DiffId one = CommitFiles({{"a", "1"}, {"d/b", "1"}, {"d/c", "1"}}).diff_id;
  DiffId two = CommitFiles({{"d/b", "2"}, {"d/c", "<whiteout>"}, {"e", "2"}}).diff_id;
  auto mount = Mount({one, two});
  EXPECT_EQ(Get(mount->path() + "/a"), "1");
  EXPECT_EQ(Get(mount->path() + "/d/b"), "2");
  EXPECT_THAT(List(mount->path() + "/d"), ElementsAre("b"));
  EXPECT_THAT(List(mount->path()), ElementsAre("a", "d", "e"));
}

TEST_P(RootfsTest, OpaqueDirectoriesHideWhatIsBelow) {
  DiffId one = CommitFiles({{"d/old", "1"}, {"d/sub/x", "1"}}).diff_id;
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/d/new", "2");
  ASSERT_TRUE(sys::SetXattr(draft->upper() + "/d", OverlayXattr("opaque"), "y"));
  DiffId two = Commit(std::move(draft)).diff_id;
  EXPECT_THAT(List(Mount({one, two})->path() + "/d"), ElementsAre("new"));
}

TEST_P(RootfsTest, AnOpaqueRootHidesAllBelow) {
  DiffId one = CommitFiles({{"old", "1"}}).diff_id;
  std::string tar = MakeTar({{{.name = ".wh..wh..opq"}}, {{.name = "new"}, "2"}});
  DiffId two = UnpackTar(tar)->diff_id;
  EXPECT_THAT(List(Mount({one, two})->path()), ElementsAre("new"));
}

TEST_P(RootfsTest, ChangesAreOnlyTheChanges) {
  DiffId base =
      CommitFiles(
          {{"keep/file", "k"}, {"etc/a", "a"}, {"etc/b", "b"}, {"var/log/x", "x"}, {"mode", "m"}, {"type", "t"}})
          .diff_id;
  DiffId layer = Step({base}, [](const std::string& root) {
    Put(root + "/etc/a", "changed");
    ASSERT_EQ(unlink((root + "/etc/b").c_str()), 0);
    Put(root + "/etc/new/deep", "n");
    ASSERT_EQ(chmod((root + "/mode").c_str(), 0600), 0);
    std::filesystem::remove_all(root + "/var/log");
    ASSERT_EQ(unlink((root + "/type").c_str()), 0);
    ASSERT_EQ(symlink("mode", (root + "/type").c_str()), 0);
  });
  EXPECT_THAT(Changes(layer), ElementsAre("etc", "etc/b gone", "etc/a", "etc/new", "etc/new/deep", "mode", "type",
                                          "var", "var/log gone"));
  auto mount = Mount({base, layer});
  EXPECT_EQ(Get(mount->path() + "/etc/a"), "changed");
  EXPECT_EQ(Get(mount->path() + "/keep/file"), "k");
  EXPECT_THAT(List(mount->path() + "/etc"), ElementsAre("a", "new"));
  EXPECT_TRUE(List(mount->path() + "/var").empty());
}

TEST_P(RootfsTest, NothingChangedIsTheEmptyLayer) {
  DiffId base = CommitFiles({{"d/f", "x"}, {"g", "y"}}).diff_id;
  DiffId layer = Step({base}, [](const std::string& root) { EXPECT_EQ(Get(root + "/d/f"), "x"); });
  EXPECT_EQ(layer, CommitFiles({}).diff_id);
}

TEST_P(RootfsTest, AReplacedDirectoryIsOpaque) {
  DiffId base = CommitFiles({{"d/old", "1"}, {"d/both", "1"}}).diff_id;
  DiffId layer = Step({base}, [](const std::string& root) {
    std::filesystem::remove_all(root + "/d");
    Put(root + "/d/both", "2");
  });
  EXPECT_THAT(Changes(layer), ElementsAre("d opaque", "d/both"));
  EXPECT_THAT(List(Mount({base, layer})->path() + "/d"), ElementsAre("both"));
  // The marker must say the same to others.
  std::string tar = TarOf(*store_, layer);
  EXPECT_THAT(tar, testing::HasSubstr("d/.wh..wh..opq"));
}

TEST_P(RootfsTest, AMovedDirectoryArrivesWhole) {
  DiffId base = CommitFiles({{"from/a", "a"}, {"from/sub/b", "b"}}).diff_id;
  DiffId layer = Step({base}, [](const std::string& root) {
    // As mv does when rename is refused (EXDEV on overlay without redirects).
    if (rename((root + "/from").c_str(), (root + "/to").c_str()) != 0) {
      std::filesystem::copy(root + "/from", root + "/to", std::filesystem::copy_options::recursive);
      std::filesystem::remove_all(root + "/from");
    }
  });
  EXPECT_THAT(Changes(layer), ElementsAre("from gone", "to", "to/a", "to/sub", "to/sub/b"));
}

TEST_P(RootfsTest, HardLinksSurvive) {
  DiffId layer = Step({CommitFiles({{"d/x", "x"}}).diff_id}, [](const std::string& root) {
    Put(root + "/d/a", "linked");
    ASSERT_EQ(link((root + "/d/a").c_str(), (root + "/b").c_str()), 0);
  });
  std::string fs = store_->Directory(layer).value();
  struct stat st;
  ASSERT_EQ(stat((fs + "/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 2u);
  auto mount = Mount({layer});
  struct stat a, b;
  ASSERT_EQ(stat((mount->path() + "/d/a").c_str(), &a), 0);
  ASSERT_EQ(stat((mount->path() + "/b").c_str(), &b), 0);
  EXPECT_EQ(a.st_nlink, 2u);
  EXPECT_EQ(Get(mount->path() + "/b"), "linked");
}

TEST_P(RootfsTest, AttributesComeThrough) {
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/bin/ping", "elf", 0755);
  ASSERT_EQ(chown((draft->upper() + "/bin/ping").c_str(), 7, 8), 0);
  ASSERT_TRUE(sys::SetXattr(draft->upper() + "/bin/ping", kCapability, Capability()));
  ASSERT_EQ(mknod((draft->upper() + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  timespec times[2] = {{123, 0}, {123, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (draft->upper() + "/bin").c_str(), times, 0), 0);
  DiffId base = Commit(std::move(draft)).diff_id;
  auto mount = Mount({base});
  struct stat st;
  ASSERT_EQ(stat((mount->path() + "/bin/ping").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 7u);
  EXPECT_EQ(**sys::GetXattr(mount->path() + "/bin/ping", kCapability), Capability());
  ASSERT_EQ(stat((mount->path() + "/null").c_str(), &st), 0);
  EXPECT_EQ(st.st_rdev, makedev(1, 3));
  ASSERT_EQ(stat((mount->path() + "/bin").c_str(), &st), 0);
  EXPECT_EQ(st.st_mtim.tv_sec, 123);
  ASSERT_EQ(stat(mount->path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
}

TEST_P(RootfsTest, CapabilitiesOfAChangedFileAreInTheLayer) {
  DiffId base = CommitFiles({{"ping", "elf"}}).diff_id;
  DiffId layer = Step(
      {base}, [](const std::string& root) { ASSERT_TRUE(sys::SetXattr(root + "/ping", kCapability, Capability())); });
  EXPECT_EQ(Find(*store_->Index(layer), "ping")->node.xattrs.at(0).second, Capability());
}

TEST_P(RootfsTest, OverlaysOwnAttributesStayOut) {
  DiffId base = CommitFiles({{"d/f", "x"}, {"d/g", "y"}}).diff_id;
  DiffId layer = Step({base}, [](const std::string& root) { Put(root + "/d/f", "z"); });
  EXPECT_EQ(TarOf(*store_, layer).find("overlay"), std::string::npos);
  auto index = *store_->Index(layer);
  for (const tree::LayerEntry& entry : index) EXPECT_TRUE(entry.node.xattrs.empty());
}

TEST_P(RootfsTest, ReadOnlyMountsDoNotTouchTheLayers) {
  DiffId base = CommitFiles({{"f", "x"}}).diff_id;
  auto mount = Mount({base});
  std::ofstream(mount->path() + "/f") << "changed";
  std::ofstream(mount->path() + "/g") << "new";
  mount.reset();
  EXPECT_EQ(Get(store_->Directory(base).value() + "/f"), "x");
  EXPECT_THAT(List(store_->Directory(base).value()), ElementsAre("f"));
}

TEST_P(RootfsTest, ALayerMayOccurTwice) {
  DiffId one = CommitFiles({{"f", "1"}, {"g", "1"}}).diff_id;
  DiffId two = CommitFiles({{"f", "2"}}).diff_id;
  DiffId empty = CommitFiles({}).diff_id;
  auto mount = Mount({one, empty, two, empty, one});
  EXPECT_EQ(Get(mount->path() + "/f"), "1");
}

TEST_P(RootfsTest, HundredsOfLayersAreOneDirectory) {
  std::vector<DiffId> stack;
  for (int i = 0; i < 180; ++i) {
    stack.push_back(CommitFiles({{fmt::format("f{}", i), "x"}, {"last", std::to_string(i)}}).diff_id);
  }
  DiffId layer = Step(stack, [](const std::string& root) {
    EXPECT_EQ(Get(root + "/last"), "179");
    EXPECT_EQ(List(root).size(), 181u);
    ASSERT_EQ(unlink((root + "/f3").c_str()), 0);
  });
  EXPECT_THAT(Changes(layer), ElementsAre("f3 gone"));
}

// As a difference leaves it that is put on other files than those it was made of.
TEST_P(RootfsTest, AWhiteoutThatHidesNothingIsNoFile) {
  DiffId base = CommitFiles({{"f", "x"}}).diff_id;
  auto draft = *store_->NewDraft();
  ASSERT_EQ(mkdir((draft->upper() + "/dir").c_str(), 0755), 0);
  ASSERT_EQ(mknod((draft->upper() + "/dir/gone").c_str(), S_IFCHR, 0), 0);
  std::ofstream(draft->upper() + "/dir/kept") << "y";
  DiffId top = Commit(std::move(draft)).diff_id;
  auto mount = Mount({base, top});
  auto entries = WalkUpper(mount->path(), {});
  ASSERT_TRUE(entries) << entries.error().ToString();
  std::vector<std::string> paths;
  for (const UpperEntry& entry : *entries) paths.push_back(entry.path);
  EXPECT_THAT(paths, ElementsAre("dir", "dir/kept", "f"));
}

TEST_P(RootfsTest, MissingLayersAreDamage) {
  std::string scratch = root() + "/s";
  ASSERT_EQ(mkdir(scratch.c_str(), 0700), 0);
  auto mount = MountRootfs(*store_, {DiffId(Digest::Of("no"))}, nullptr, scratch);
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, Code::kCorrupt);
}

TEST_P(RootfsTest, ImplicitParentsLookAsInThisStack) {
  auto with_mode = [&](mode_t mode) {
    auto draft = *store_->NewDraft();
    Put(draft->upper() + "/usr/share/doc", "x");
    EXPECT_EQ(chmod((draft->upper() + "/usr/share").c_str(), mode), 0);
    return Commit(std::move(draft)).diff_id;
  };
  DiffId first = with_mode(0711), second = with_mode(0700);
  DiffId top = UnpackTar(MakeTar({{{.name = "usr/share/app/f"}, "f"}}), {first})->diff_id;
  auto mode_in = [&](const std::vector<DiffId>& stack, const std::string& name) {
    auto mount = Mount(stack);
    struct stat st {};
    EXPECT_EQ(stat((mount->path() + name).c_str(), &st), 0);
    EXPECT_EQ(Get(mount->path() + "/usr/share/app/f"), "f");
    return st.st_mode & 07777;
  };
  EXPECT_EQ(mode_in({first, top}, "/usr/share"), 0711u);
  EXPECT_EQ(mode_in({second, top}, "/usr/share"), 0700u);
  EXPECT_EQ(mode_in({top}, "/usr/share"), 0755u);
  EXPECT_EQ(mode_in({second, top}, "/usr/share/app"), 0755u);
  // The tree of the stack says the same.
  tree::MemoryTreeStore trees;
  Digest at = tree::EmptyTree();
  for (const DiffId& layer : {second, top}) at = *tree::ApplyLayer(trees, at, *store_->Index(layer));
  EXPECT_EQ((*tree::Lookup(trees, at, RelPath("usr/share")))->mode, 0700u);
}

TEST_P(RootfsTest, NothingIsLeftInTheScratchDirectory) {
  DiffId base = CommitFiles({{"f", "x"}}).diff_id;
  Mount({base}).reset();
  EXPECT_TRUE(List(root() + "/scratch-0").empty());
}

// What a random step does gives the same view when its layer is mounted, and in both modes the same
// layer from the same changes.
TEST_P(RootfsTest, RandomStepsGiveTheViewTheyLeft) {
  std::vector<DiffId> stack;
  unsigned seed = 12345;
  auto random = [&](unsigned n) { return (seed = seed * 1103515245 + 12345) / 65536 % n; };
  for (int step = 0; step < 12; ++step) {
    std::map<std::string, std::string> view;
    auto see = [&](const std::string& root) {
      std::map<std::string, std::string> out;
      for (const auto& e : std::filesystem::recursive_directory_iterator(root)) {
        std::string name = e.path().string().substr(root.size());
        out[name] = e.is_symlink() ? "link" : e.is_directory() ? "dir" : Get(e.path());
      }
      return out;
    };
    stack.push_back(Step(stack, [&](const std::string& root) {
      for (int i = 0; i < 15; ++i) {
        std::string path = fmt::format("{}/d{}/e{}/f{}", root, random(3), random(3), random(4));
        std::string parent = path.substr(0, path.rfind('/'));
        std::error_code ignored;
        switch (random(6)) {
          case 0:
            std::filesystem::remove_all(parent, ignored);
            break;
          case 1:
            std::filesystem::remove_all(path, ignored);
            break;
          case 2: {
            std::filesystem::remove_all(parent, ignored);
            std::filesystem::create_directories(parent.substr(0, parent.rfind('/')), ignored);
            std::ofstream(parent) << "file for directory";
            break;
          }
          default: {
            if (std::filesystem::is_regular_file(parent)) std::filesystem::remove(parent);
            std::filesystem::create_directories(parent, ignored);
            std::ofstream(path) << step << " " << i;
          }
        }
      }
      view = see(root);
    }));
    auto mount = Mount(stack);
    EXPECT_EQ(see(mount->path()), view) << "step " << step;
  }
  // And the trees agree with the files.
  tree::MemoryTreeStore trees;
  Digest at = tree::EmptyTree();
  for (const DiffId& layer : stack) at = *tree::ApplyLayer(trees, at, *store_->Index(layer));
  auto mount = Mount(stack);
  for (const auto& e : std::filesystem::recursive_directory_iterator(mount->path())) {
    RelPath name(e.path().string().substr(mount->path().size()));
    auto node = *tree::Lookup(trees, at, name);
    ASSERT_TRUE(node) << name.str();
    if (!e.is_regular_file()) continue;
    EXPECT_EQ(node->digest, Digest::Of(Get(e.path()))) << name.str();
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, RootfsTest, testing::Values("overlay", "copy"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace varve::snapshot
