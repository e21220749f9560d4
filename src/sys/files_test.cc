// Locks, attributes, copies, probes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "sys/flock.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/probe.h"
#include "sys/reflink.h"
#include "sys/statx.h"
#include "sys/tempdir.h"
#include "sys/xattrs.h"

namespace varve::sys {
namespace {

class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    auto dir = TempDir::Create(testing::TempDir(), "files-");
    ASSERT_TRUE(dir);
    dir_ = std::move(*dir);
  }
  std::string Path(const std::string& name) { return dir_.path() + "/" + name; }
  TempDir dir_;
};

TEST_F(FilesTest, ExclusiveLockExcludesWithinOneProcess) {
  auto first = FlockGuard::TryLock(Path("lock"), LockMode::kExclusive);
  ASSERT_TRUE(first && first->has_value());
  auto second = FlockGuard::TryLock(Path("lock"), LockMode::kShared);
  ASSERT_TRUE(second);
  EXPECT_FALSE(second->has_value());
  (*first)->Unlock();
  auto third = FlockGuard::TryLock(Path("lock"), LockMode::kShared);
  auto fourth = FlockGuard::TryLock(Path("lock"), LockMode::kShared);
  EXPECT_TRUE(third->has_value() && fourth->has_value());
}

TEST_F(FilesTest, WaitingForALockEndsWithStopOrWithTheLock) {
  auto held = FlockGuard::TryLock(Path("lock"), LockMode::kExclusive);
  ASSERT_TRUE(held && held->has_value());
  std::stop_source source;
  source.request_stop();
  auto stopped = FlockGuard::Lock(Path("lock"), LockMode::kExclusive, source.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::kCancelled);

  std::jthread waiter([&] { EXPECT_TRUE(FlockGuard::Lock(Path("lock"), LockMode::kExclusive)); });
  (*held)->Unlock();
}

TEST_F(FilesTest, XattrsRoundTripIncludingBinaryAndLongValues) {
  ASSERT_TRUE(WriteFileAtomically(Path("f"), ""));
  std::string value = std::string("a\0b", 3) + std::string(1000, 'x');
  auto fd = OpenFile(Path("f"), O_PATH);
  ASSERT_TRUE(fd);
  if (Status set = SetXattr(fd->get(), "user.one", value); !set) {
    GTEST_SKIP() << "no user xattrs here: " << set.error().message;
  }
  ASSERT_TRUE(SetXattr(Path("f"), "user.two", ""));
  EXPECT_EQ(*GetXattr(fd->get(), "user.one"), value);
  EXPECT_EQ(*GetXattr(Path("f"), "user.one"), value);
  EXPECT_EQ(*GetXattr(Path("f"), "user.two"), "");
  EXPECT_EQ(*GetXattr(Path("f"), "user.none"), std::nullopt);
  EXPECT_THAT(*ListXattrs(fd->get()), testing::IsSupersetOf({"user.one", "user.two"}));
  ASSERT_TRUE(RemoveXattr(fd->get(), "user.one"));
  ASSERT_TRUE(RemoveXattr(Path("f"), "user.one"));
  EXPECT_THAT(*ListXattrs(Path("f")), testing::Not(testing::Contains("user.one")));
}

TEST_F(FilesTest, TrustedXattrOnASymlinkDoesNotTouchItsTarget) {
  if (!HasCapability(21)) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  ASSERT_TRUE(WriteFileAtomically(Path("f"), ""));
  ASSERT_EQ(symlink("f", Path("link").c_str()), 0);
  if (Status set = SetXattr(Path("link"), "trusted.x", "1"); !set) {
    GTEST_SKIP() << set.error().message;
  }
  auto fd = OpenFile(Path("link"), O_PATH | O_NOFOLLOW);
  ASSERT_TRUE(fd);
  EXPECT_EQ(*GetXattr(fd->get(), "trusted.x"), "1");
  EXPECT_EQ(*GetXattr(Path("f"), "trusted.x"), std::nullopt);
}

TEST_F(FilesTest, CopyKeepsContentAndHoles) {
  auto in = OpenFile(Path("in"), O_CREAT | O_RDWR);
  auto out = OpenFile(Path("out"), O_CREAT | O_RDWR);
  ASSERT_TRUE(in && out);
  constexpr off_t kSize = 8 << 20;
  ASSERT_EQ(ftruncate(in->get(), kSize), 0);
  ASSERT_EQ(pwrite(in->get(), "head", 4, 0), 4);
  ASSERT_EQ(pwrite(in->get(), "middle", 6, 4 << 20), 6);
  ASSERT_TRUE(CopyFileContents(in->get(), out->get()));
  EXPECT_EQ(*ReadFile(Path("in")), *ReadFile(Path("out")));
  EXPECT_LE(Statx(Path("out"))->blocks, Statx(Path("in"))->blocks + 16);
  EXPECT_EQ(Statx(Path("out"))->size, static_cast<uint64_t>(kSize));
}

TEST_F(FilesTest, CopyOfAFileThatCopyFileRangeCannotRead) {
  auto in = OpenFile("/proc/self/status", O_RDONLY);
  auto out = OpenFile(Path("out"), O_CREAT | O_RDWR);
  ASSERT_TRUE(in && out);
  // procfs says size 0, so nothing is copied; what matters is that it is no error and no loop.
  EXPECT_TRUE(CopyFileContents(in->get(), out->get()));
}

TEST_F(FilesTest, StatxDoesNotFollow) {
  ASSERT_EQ(symlink("nowhere", Path("link").c_str()), 0);
  auto st = Statx(Path("link"));
  ASSERT_TRUE(st);
  EXPECT_TRUE(st->IsSymlink());
  EXPECT_EQ(st->size, 7u);
  EXPECT_EQ(Statx(Path("none")).error().code, Code::kNotFound);
}

TEST_F(FilesTest, DiskSpaceIsPlausible) {
  auto space = GetDiskSpace(dir_.path());
  ASSERT_TRUE(space);
  EXPECT_GT(space->total, 0u);
  EXPECT_LE(space->available, space->total);
}

TEST(Probe, CgroupLayoutOfADirectoryWithoutCgroupsIsNone) {
  EXPECT_EQ(DetectCgroupLayout(testing::TempDir()), CgroupLayout::kNone);
  EXPECT_EQ(DetectCgroupLayout("/no/such/directory"), CgroupLayout::kNone);
}

TEST(Probe, KernelIsNewEnough) {
  EXPECT_GE(GetKernelVersion(), (KernelVersion{5, 6}));
  EXPECT_TRUE(HasOpenat2());
}

}  // namespace
}  // namespace varve::sys
