#include "upkeep/mount_tar.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "sys/tempdir.h"

namespace varve::upkeep {
namespace {

namespace fs = std::filesystem;

struct MountTarTest : ::testing::Test {
  // Written to `age` days ago.
  void File(const std::string& name, size_t size, int age) {
    std::string path = directory.path() + "/" + name;
    fs::create_directories(fs::path(path).parent_path());
    ASSERT_TRUE(WriteFileAtomically(path, std::string(size, name[0])));
    timespec time{.tv_sec = 1'700'000'000 - 86'400 * age, .tv_nsec = 0};
    timespec times[2] = {time, time};
    ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }
  // What a tar of at most so many bytes has: the first letters of the contents, and how many were left out.
  std::string Kept(uint64_t max_bytes) {
    StringWriter out;
    auto written = WriteMountTar(directory.path(), max_bytes, out, {});
    EXPECT_TRUE(written) << written.error().message;
    if (!written) return "";
    std::string kept;
    for (const char* name : {"ancient", "dir/old", "link", "new"}) {
      if (out.text.find(name) != out.text.npos) kept += std::string(name) + " ";
    }
    EXPECT_LE(written->bytes, max_bytes);
    return kept + std::to_string(written->left_out);
  }

  sys::TempDir directory = *sys::TempDir::Create(::testing::TempDir(), "mount-");
};

TEST_F(MountTarTest, WhatWasWrittenLongestAgoIsLeftOutFirst) {
  File("ancient", 1000, 300);
  File("dir/old", 1000, 200);
  File("new", 1000, 1);
  EXPECT_EQ(Kept(3000), "ancient dir/old new 0");
  EXPECT_EQ(Kept(2999), "dir/old new 1");
  EXPECT_EQ(Kept(1000), "new 2");
  EXPECT_EQ(Kept(0), "3");
}

TEST_F(MountTarTest, AHardLinkGoesWithItsFile) {
  File("ancient", 1000, 300);
  File("new", 1000, 1);
  fs::create_hard_link(directory.path() + "/ancient", directory.path() + "/link");
  EXPECT_EQ(Kept(2000), "ancient link new 0") << "counted once";
  EXPECT_EQ(Kept(1500), "new 1");
}

}  // namespace
}  // namespace varve::upkeep
