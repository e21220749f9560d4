#include "tree/stat_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fd.h"

namespace varve::tree {
namespace {

class StatCacheTest : public testing::Test {
 protected:
  StatCacheTest() : file_(fmt::format("{}stat-cache-{}", testing::TempDir(), getpid())) {}
  ~StatCacheTest() override { unlink(file_.c_str()); }

  static FileStamp Stamp(uint64_t n) {
    return {n, static_cast<int64_t>(n) + 1, -static_cast<int64_t>(n), n * 3, 0100644};
  }
  void WriteTwoDirectories() {
    StatBlock block;
    block.Add("a", Stamp(1), Digest::Of("a"));
    block.Add("b\xff", Stamp(2), Digest::Of("b"));
    std::string first = block.Finish();
    block.Add("", Stamp(3), Digest::Of("c"));
    std::string second = block.Finish();
    ASSERT_TRUE(WriteStatCache(file_, {{"", first}, {"src/lib", second}}));
  }

  std::string file_;
};

TEST_F(StatCacheTest, GivesBackWhatWasWritten) {
  WriteTwoDirectories();
  StatCache cache = StatCache::Open(file_);
  ASSERT_EQ(cache.directories(), 2u);
  EXPECT_EQ(cache.path(1), "src/lib");
  StatBlockView root = cache.Find("");
  ASSERT_EQ(root.size(), 2u);
  EXPECT_EQ(root.name(1), "b\xff");
  EXPECT_EQ(root.stamp(1), Stamp(2));
  EXPECT_EQ(root.digest(0), Digest::Of("a"));
  EXPECT_EQ(cache.Find("src/lib").size(), 1u);
  EXPECT_EQ(cache.Find("src").size(), 0u);
  EXPECT_EQ(cache.Find("zzz").size(), 0u);
}

TEST_F(StatCacheTest, AbsentEmptyOrForeignFilesAreIgnored) {
  EXPECT_EQ(StatCache::Open(file_).directories(), 0u);
  for (std::string content : {std::string(), std::string("varvesc2") + std::string(100, '\0'), std::string(10, 'x')}) {
    ASSERT_TRUE(WriteFileAtomically(file_, content));
    EXPECT_EQ(StatCache::Open(file_).directories(), 0u);
    EXPECT_EQ(StatCache::Open(file_).Find("").size(), 0u);
  }
}

TEST_F(StatCacheTest, DamageNeverGivesAWrongDigest) {
  WriteTwoDirectories();
  std::string good = *ReadFile(file_);
  size_t noticed = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 0x40;
    ASSERT_TRUE(WriteFileAtomically(file_, bad));
    StatCache cache = StatCache::Open(file_);
    StatBlockView root = cache.Find("");
    StatBlockView lib = cache.Find("src/lib");
    noticed += root.size() != 2 || lib.size() != 1;
    if (root.size() > 0) {
      ASSERT_EQ(root.stamp(1), Stamp(2));
      ASSERT_EQ(root.digest(1), Digest::Of("b"));
    }
    if (lib.size() > 0) {
      ASSERT_EQ(lib.digest(0), Digest::Of("c"));
    }
  }
  EXPECT_EQ(noticed, good.size());
  for (size_t size = 0; size < good.size(); ++size) {
    ASSERT_TRUE(WriteFileAtomically(file_, good.substr(0, size)));
    ASSERT_EQ(StatCache::Open(file_).directories(), 0u) << size;
  }
}

TEST(StatCacheRace, OnlyStampsOlderThanTheGrainAreSettled) {
  FileStamp stamp;
  stamp.mtime = 1000;
  stamp.ctime = 2000;
  EXPECT_FALSE(IsSettled(stamp, 2000, 10));
  EXPECT_FALSE(IsSettled(stamp, 2010, 10));
  EXPECT_TRUE(IsSettled(stamp, 2011, 10));
  stamp.mtime = 3000;  // a future time that somebody set
  EXPECT_FALSE(IsSettled(stamp, 2011, 10));
}

}  // namespace
}  // namespace varve::tree
