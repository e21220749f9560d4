#include "export/copy_entries.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "sys/tempdir.h"
#include "sys/xattrs.h"

namespace varve::exporter {
namespace {

namespace fs = std::filesystem;
using snapshot::UpperEntry;
using ::testing::HasSubstr;

class CopyEntriesTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(from);
    fs::create_directories(to);
  }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  void SetTime(const std::string& path, int64_t nanos) {
    const int64_t seconds = Timestamp{nanos}.seconds();  // rounded down
    timespec time{seconds, nanos - seconds * 1'000'000'000};
    timespec times[2] = {time, time};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
  }
  Status Copy() { return CopyEntries(from, *snapshot::WalkUpper(from, {}), to, {}); }

  // Everything of an entry, in one line.
  static std::vector<std::string> Describe(const std::string& root) {
    std::vector<std::string> all;
    const std::vector<UpperEntry> entries = *snapshot::WalkUpper(root, {});
    for (const UpperEntry& entry : entries) {
      const tree::Node& node = entry.index.node;
      std::string path = root + "/" + entry.path;
      std::string line = fmt::format("{} type {} mode {:o} owner {}:{} size {} link {}{} device {} sparse {} time {}",
                                     entry.path, static_cast<int>(node.type), node.mode, node.uid, node.gid, node.size,
                                     node.target, entry.hard_link_to, node.rdev, entry.sparse, entry.mtime.nanos);
      if (node.type == tree::NodeType::kFile) line += " content " + Digest::Of(*ReadFile(path)).Hex();
      if (node.type == tree::NodeType::kFile || node.IsDirectory()) {
        const std::vector<std::string> names = *sys::ListXattrs(path);
        for (const std::string& name : names) line += fmt::format(" {}={}", name, **sys::GetXattr(path, name));
      }
      all.push_back(std::move(line));
    }
    return all;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "copy-");
  const std::string from = directory.path() + "/from", to = directory.path() + "/to";
};

TEST_F(CopyEntriesTest, ACopyIsLikeItsSource) {
  for (int i = 0; i < 200; ++i) Write(fmt::format("{}/many/f{}", from, i), fmt::format("file {}\n", i));
  Write(from + "/a/b/c", "deep\n");
  Write(from + "/empty", "");
  chmod((from + "/many/f3").c_str(), 0400);
  chmod((from + "/many/f4").c_str(), 0751);
  fs::create_hard_link(from + "/many/f1", from + "/a/linked");
  fs::create_hard_link(from + "/many/f1", from + "/many/linked");
  fs::create_symlink("/nowhere", from + "/a/dangling");
  fs::create_symlink("../many", from + "/a/directory");
  ASSERT_EQ(mkfifo((from + "/pipe").c_str(), 0640), 0);
  {
    Fd sparse(open((from + "/sparse").c_str(), O_WRONLY | O_CREAT, 0644));
    ASSERT_EQ(pwrite(sparse.get(), "end", 3, 3 << 20), 3);
  }
  (void)sys::SetXattr(from + "/empty", "user.colour", "green");
  (void)sys::SetXattr(from + "/a", "user.colour", "blue");
  if (geteuid() == 0) {
    ASSERT_EQ(lchown((from + "/a/dangling").c_str(), 7, 8), 0);
    ASSERT_EQ(chown((from + "/many/f5").c_str(), 12, 34), 0);
    ASSERT_EQ(chmod((from + "/many/f5").c_str(), 06755), 0);
    ASSERT_EQ(chown((from + "/a/b").c_str(), 12, 34), 0);
  }
  SetTime(from + "/a/dangling", 1'000'000'000'000'000'001);
  SetTime(from + "/many/f7", -5'500'000'000);
  SetTime(from + "/a/b", 2'000'000'000'000'000'003);
  SetTime(from + "/many", 3'000'000'000'000'000'000);
  chmod((from + "/a/b").c_str(), 0555);

  ASSERT_TRUE(Copy());
  EXPECT_EQ(Describe(to), Describe(from));
  // Again over what is there.
  ASSERT_TRUE(Copy());
  EXPECT_EQ(Describe(to), Describe(from));
}

TEST_F(CopyEntriesTest, DevicesAreCopied) {
  if (mknod((from + "/zero").c_str(), S_IFCHR | 0620, makedev(1, 5)) != 0)
    GTEST_SKIP() << "devices cannot be made here";
  ASSERT_TRUE(Copy());
  EXPECT_EQ(Describe(to), Describe(from));
}

TEST_F(CopyEntriesTest, WhatTheSourceDoesNotHaveStays) {
  Write(from + "/d/new", "new");
  Write(to + "/d/old", "old");
  Write(to + "/d/new", "before");
  ASSERT_TRUE(Copy());
  EXPECT_EQ(*ReadFile(to + "/d/old"), "old");
  EXPECT_EQ(*ReadFile(to + "/d/new"), "new");
}

TEST_F(CopyEntriesTest, AFileIsReplacedAndNotWrittenThrough) {
  Write(from + "/a", "new");
  Write(from + "/b", "new");
  Write(to + "/other", "old");
  fs::create_hard_link(to + "/other", to + "/a");
  fs::create_symlink("other", to + "/b");
  ASSERT_TRUE(Copy());
  EXPECT_EQ(*ReadFile(to + "/other"), "old");
  EXPECT_EQ(*ReadFile(to + "/b"), "new");
}

TEST_F(CopyEntriesTest, ALinkInTheTargetLeadsNowhere) {
  Write(from + "/d/a", "new");
  fs::create_directories(directory.path() + "/outside");
  fs::create_symlink("../outside", to + "/d");
  Status copied = Copy();
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code, Code::kInvalid);
  EXPECT_THAT(copied.error().message, HasSubstr("d is there already, as no directory"));
  EXPECT_TRUE(fs::is_empty(directory.path() + "/outside"));
}

TEST_F(CopyEntriesTest, ADirectoryIsNotReplacedByAFile) {
  Write(from + "/a", "new");
  Write(to + "/a/b", "old");
  Status copied = Copy();
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code, Code::kInvalid);
  EXPECT_THAT(copied.error().message, HasSubstr("a is there already, as a directory"));
  EXPECT_EQ(*ReadFile(to + "/a/b"), "old");
}

}  // namespace
}  // namespace varve::exporter
