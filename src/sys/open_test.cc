#include "sys/open.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "sys/remove.h"
#include "sys/statx.h"
#include "sys/tempdir.h"

namespace varve::sys {
namespace {

using ::testing::ElementsAre;

class OpenTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = TempDir::Create(testing::TempDir(), "open-");
    ASSERT_TRUE(dir);
    dir_ = std::move(*dir);
    root_path_ = dir_.path() + "/root";
    ASSERT_TRUE(MkdirAll(root_path_ + "/etc"));
    ASSERT_TRUE(WriteFileAtomically(root_path_ + "/etc/passwd", "inside"));
    ASSERT_TRUE(WriteFileAtomically(dir_.path() + "/secret", "outside"));
    auto root = OpenDir(root_path_);
    ASSERT_TRUE(root);
    root_ = std::move(*root);
  }

  void Link(const std::string& target, const std::string& name) {
    ASSERT_EQ(symlink(target.c_str(), (root_path_ + "/" + name).c_str()), 0);
  }
  bool IsDir(const std::string& name) {
    auto st = Statx(root_path_ + "/" + name);
    return st && st->IsDirectory();
  }

  TempDir dir_;
  std::string root_path_;
  Fd root_;
};

TEST_F(OpenTest, SymlinksResolveInsideTheRoot) {
  Link("/etc/passwd", "absolute");
  Link("../../../../etc/passwd", "climbing");
  for (const char* name : {"absolute", "climbing", "etc/passwd"}) {
    auto fd = OpenInRoot(root_.get(), RelPath(name), O_RDONLY);
    ASSERT_TRUE(fd) << name;
    FdReader reader(fd->get());
    EXPECT_EQ(*ReadAll(reader, 100), "inside");
  }
}

TEST_F(OpenTest, SymlinkToOutsideDoesNotFindTheFile) {
  Link(dir_.path() + "/secret", "escape");
  auto fd = OpenInRoot(root_.get(), RelPath("escape"), O_RDONLY);
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().code, Code::kNotFound);
}

TEST_F(OpenTest, NoSymlinksOptionRefusesThem) {
  Link("etc", "alias");
  EXPECT_TRUE(OpenInRoot(root_.get(), RelPath("alias/passwd"), O_RDONLY));
  auto fd = OpenInRoot(root_.get(), RelPath("alias/passwd"), O_RDONLY, 0, {.no_symlinks = true});
  ASSERT_FALSE(fd);
  EXPECT_EQ(fd.error().code, Code::kInvalid);
}

TEST_F(OpenTest, NoXdevStopsAtMounts) {
  auto slash = OpenDir("/");
  ASSERT_TRUE(slash);
  EXPECT_TRUE(OpenInRoot(slash->get(), RelPath("proc/self"), O_PATH));
  EXPECT_FALSE(OpenInRoot(slash->get(), RelPath("proc/self"), O_PATH, 0, {.no_xdev = true}));
}

TEST_F(OpenTest, RootItselfOpens) {
  auto fd = OpenInRoot(root_.get(), RelPath(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(fd);
  EXPECT_EQ(ListDirectory(fd->get())->size(), 1u);
}

TEST_F(OpenTest, OpenDirNoFollowRefusesSymlinkedParents) {
  ASSERT_TRUE(MkdirAll(root_path_ + "/a/b"));
  Link("a", "link");
  EXPECT_TRUE(OpenDirNoFollow(root_.get(), RelPath("a/b")));
  EXPECT_FALSE(OpenDirNoFollow(root_.get(), RelPath("link/b")));
  EXPECT_FALSE(OpenDirNoFollow(root_.get(), RelPath("link")));
}

TEST_F(OpenTest, MkdirAllSetsExactModeAndReportsWhatItMade) {
  mode_t mask = umask(077);
  std::vector<RelPath> created;
  auto fd = MkdirAllInRoot(root_.get(), RelPath("etc/x/y"), 02775, geteuid(), getegid(), &created);
  umask(mask);
  ASSERT_TRUE(fd) << fd.error().ToString();
  EXPECT_THAT(created, ElementsAre(RelPath("etc/x"), RelPath("etc/x/y")));
  EXPECT_EQ(Statx(root_path_ + "/etc/x/y")->mode & 07777, 02775u);
  EXPECT_EQ(Statx(fd->get(), "")->inode, Statx(root_path_ + "/etc/x/y")->inode);
}

TEST_F(OpenTest, MkdirAllFollowsLinksButStaysInside) {
  Link("/var/run", "run");  // dangling
  ASSERT_TRUE(MkdirAllInRoot(root_.get(), RelPath("run/lock"), 0755, geteuid(), getegid()));
  EXPECT_TRUE(IsDir("var/run/lock"));
  Link("../../../outside", "up");
  ASSERT_TRUE(MkdirAllInRoot(root_.get(), RelPath("up"), 0755, geteuid(), getegid()));
  EXPECT_TRUE(IsDir("outside"));
  EXPECT_FALSE(std::filesystem::exists(dir_.path() + "/outside"));
}

TEST_F(OpenTest, MkdirAllFailsOnLoopsAndFiles) {
  Link("b", "a");
  Link("a", "b");
  EXPECT_FALSE(MkdirAllInRoot(root_.get(), RelPath("a/c"), 0755, 0, 0));
  EXPECT_FALSE(MkdirAllInRoot(root_.get(), RelPath("etc/passwd/c"), 0755, 0, 0));
}

TEST_F(OpenTest, MakeFileFollowsADanglingLink) {
  Link("../run/resolv.conf", "etc/resolv.conf");
  std::vector<RelPath> created;
  auto fd = MakeFileInRoot(root_.get(), RelPath("etc/resolv.conf"), &created);
  ASSERT_TRUE(fd) << fd.error().ToString();
  EXPECT_THAT(created, ElementsAre(RelPath("run"), RelPath("run/resolv.conf")));
  EXPECT_TRUE(Statx(root_path_ + "/run/resolv.conf")->IsRegular());
  EXPECT_TRUE(MakeFileInRoot(root_.get(), RelPath("etc/passwd")));
  EXPECT_FALSE(MakeFileInRoot(root_.get(), RelPath("etc")));
}

TEST_F(OpenTest, ListDirectoryIsSortedAndRepeatable) {
  ASSERT_TRUE(MkdirAll(root_path_ + "/b"));
  ASSERT_TRUE(MkdirAll(root_path_ + "/a"));
  for (int i = 0; i < 2; ++i) {
    auto entries = ListDirectory(root_.get());
    ASSERT_TRUE(entries);
    std::vector<std::string> names;
    for (auto& e : *entries) names.push_back(e.name);
    EXPECT_THAT(names, ElementsAre("a", "b", "etc"));
  }
}

TEST_F(OpenTest, RemoveAllTakesUnreadableTreesAndLeavesLinkTargets) {
  ASSERT_TRUE(MkdirAll(root_path_ + "/t/locked/deep"));
  ASSERT_TRUE(WriteFileAtomically(root_path_ + "/t/locked/deep/f", "x"));
  Link(dir_.path() + "/secret", "t/locked/link");
  chmod((root_path_ + "/t/locked/deep").c_str(), 0);
  chmod((root_path_ + "/t/locked").c_str(), 0);
  ASSERT_TRUE(RemoveAll(root_path_ + "/t/"));
  EXPECT_FALSE(std::filesystem::exists(root_path_ + "/t"));
  EXPECT_TRUE(std::filesystem::exists(dir_.path() + "/secret"));
  EXPECT_TRUE(RemoveAll(root_path_ + "/t"));  // absent is fine
}

TEST_F(OpenTest, RemoveAllRemovesALinkNotItsTarget) {
  Link("etc", "link");
  ASSERT_TRUE(RemoveAll(root_path_ + "/link"));
  EXPECT_TRUE(IsDir("etc"));
}

TEST_F(OpenTest, RemoveAllRefusesDots) {
  EXPECT_FALSE(RemoveAll("/"));
  EXPECT_FALSE(RemoveAll(root_path_ + "/.."));
}

TEST_F(OpenTest, ListsDirectoriesOfAnySize) {
  const std::string path = root_path_ + "/many";
  ASSERT_TRUE(MkdirAll(path));
  std::vector<std::string> names;
  for (int i = 0; i < 2000; ++i) {  // more than one read gives
    names.push_back(fmt::format("{:04}-{}", i, std::string(60, 'x')));
    ASSERT_TRUE(WriteFileAtomically(path + "/" + names.back(), ""));
  }
  Fd fd = OpenDir(path).value();
  for (int round = 0; round < 2; ++round) {  // from the beginning each time
    auto entries = ListDirectory(fd.get());
    ASSERT_TRUE(entries);
    std::vector<std::string> listed;
    for (const DirEntry& entry : *entries) listed.push_back(entry.name);
    EXPECT_EQ(listed, names);
  }
}

TEST_F(OpenTest, ADirectoryThatWasRemovedIsEmpty) {
  const std::string path = root_path_ + "/removed";
  ASSERT_TRUE(MkdirAll(path));
  Fd fd = OpenDir(path).value();
  ASSERT_EQ(rmdir(path.c_str()), 0);
  auto entries = ListDirectory(fd.get());
  ASSERT_TRUE(entries) << entries.error().ToString();
  EXPECT_TRUE(entries->empty());
}

TEST(TempDir, RemovesItselfUnlessReleased) {
  std::string kept, gone;
  {
    auto a = TempDir::Create(testing::TempDir(), "td-");
    auto b = TempDir::Create(testing::TempDir(), "td-");
    ASSERT_TRUE(a && b);
    gone = a->path();
    kept = b->Release();
  }
  EXPECT_FALSE(std::filesystem::exists(gone));
  EXPECT_TRUE(std::filesystem::exists(kept));
  ASSERT_TRUE(RemoveAll(kept));
}

TEST(LazyTempDir, IsMadeWhenItIsAskedForAndOnce) {
  auto parent = TempDir::Create(testing::TempDir(), "lazy-");
  ASSERT_TRUE(parent);
  const std::string below = parent->path() + "/tmp";
  {
    LazyTempDir unused(below, "job-");
    EXPECT_EQ(unused.PathIfMade(), "");
  }
  EXPECT_FALSE(std::filesystem::exists(below));
  std::string path;
  {
    LazyTempDir used(below, "job-");
    path = used.Path().value();
    EXPECT_TRUE(std::filesystem::is_directory(path));
    EXPECT_EQ(used.Path().value(), path);
    EXPECT_EQ(used.PathIfMade(), path);
    LazyTempDir moved = std::move(used);
    EXPECT_EQ(moved.Path().value(), path);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(LazyTempDir, SaysWhyItCannotBeMade) {
  EXPECT_FALSE(LazyTempDir("/proc/nothing", "job-").Path());
  EXPECT_FALSE(LazyTempDir().Path());
}

}  // namespace
}  // namespace varve::sys
