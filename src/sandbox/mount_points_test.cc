#include "sandbox/mount_points.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "sys/open.h"
#include "sys/statx.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
namespace {

class MountPointsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = sys::TempDir::Create(testing::TempDir(), "points-");
    ASSERT_TRUE(dir);
    dir_ = std::move(*dir);
    ASSERT_TRUE(sys::MkdirAll(Path("etc")));
    auto root = sys::OpenDir(dir_.path());
    ASSERT_TRUE(root);
    root_ = std::move(*root);
    points_.emplace(root_.get());
    timespec old[2] = {{1000, 0}, {2000, 5}};
    ASSERT_EQ(utimensat(AT_FDCWD, Path("etc").c_str(), old, 0), 0);
  }
  std::string Path(const std::string& name) { return dir_.path() + "/" + name; }
  bool Exists(const std::string& name) { return std::filesystem::exists(std::filesystem::symlink_status(Path(name))); }
  Timestamp Mtime(const std::string& name) { return sys::Statx(Path(name))->mtime; }

  sys::TempDir dir_;
  Fd root_;
  std::optional<MountPoints> points_;
};

TEST_F(MountPointsTest, MadeThenRemovedWithTimesPutBack) {
  ASSERT_TRUE(points_->Ensure(RelPath("etc/hosts"), false));
  ASSERT_TRUE(points_->Ensure(RelPath("etc/resolv.conf"), false));
  ASSERT_TRUE(points_->Ensure(RelPath("a/b/c"), true));
  EXPECT_TRUE(Exists("etc/hosts") && Exists("a/b/c"));
  EXPECT_THAT(points_->Parents(), testing::ElementsAre(RelPath("etc"), RelPath()));
  ASSERT_TRUE(points_->Remove());
  EXPECT_FALSE(Exists("etc/hosts") || Exists("etc/resolv.conf") || Exists("a"));
  EXPECT_EQ(Mtime("etc"), (Timestamp{2000'000'000'005}));
}

TEST_F(MountPointsTest, ExistingOnesAreLeftAlone) {
  ASSERT_TRUE(WriteFileAtomically(Path("etc/hosts"), ""));
  ASSERT_TRUE(points_->Ensure(RelPath("etc/hosts"), false));
  ASSERT_TRUE(points_->Ensure(RelPath("etc"), true));
  ASSERT_TRUE(points_->Remove());
  EXPECT_TRUE(Exists("etc/hosts"));
}

TEST_F(MountPointsTest, FilledOnesStay) {
  ASSERT_TRUE(points_->Ensure(RelPath("cache/deep"), true));
  ASSERT_TRUE(points_->Ensure(RelPath("etc/hosts"), false));
  ASSERT_TRUE(WriteFileAtomically(Path("cache/file"), "x"));
  ASSERT_TRUE(WriteFileAtomically(Path("etc/hosts"), "mine"));
  ASSERT_TRUE(points_->Remove());
  EXPECT_FALSE(Exists("cache/deep"));
  EXPECT_TRUE(Exists("cache/file"));
  EXPECT_EQ(*ReadFile(Path("etc/hosts")), "mine");
}

TEST_F(MountPointsTest, ChangesOfTheStepKeepTheirTime) {
  ASSERT_TRUE(points_->Ensure(RelPath("etc/hosts"), false));
  timespec times[2] = {{3000, 0}, {4000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, Path("etc").c_str(), times, 0), 0);
  ASSERT_TRUE(points_->Remove());
  EXPECT_EQ(Mtime("etc"), (Timestamp{4000'000'000'000}));
}

TEST_F(MountPointsTest, ParentReplacedByALinkIsNotFollowed) {
  ASSERT_TRUE(points_->Ensure(RelPath("a/b"), true));
  ASSERT_TRUE(sys::MkdirAll(Path("other/b")));
  ASSERT_EQ(rename(Path("a").c_str(), Path("moved").c_str()), 0);
  ASSERT_EQ(symlink("other", Path("a").c_str()), 0);
  ASSERT_TRUE(points_->Remove());
  EXPECT_TRUE(Exists("other/b"));
  EXPECT_TRUE(Exists("a"));
}

}  // namespace
}  // namespace varve::sandbox
