#include "trace/self_test.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/namespace.h"
#include "sys/tempdir.h"

namespace varve::trace {
namespace {

using tree::kAbsent;
using tree::kContent;
using tree::kLink;
using tree::kList;
using tree::kStat;
using tree::kXattr;

struct KernelTest : testing::Test {
  void SetUp() override {
    if (!sys::CanMount() || access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "FUSE cannot be mounted here";
  }
  std::string Root(const std::string& name) {
    std::string path = directory_.path() + "/" + name;
    EXPECT_EQ(mkdir(path.c_str(), 0700), 0);
    return path;
  }
  sys::TempDir directory_ = *sys::TempDir::Create(testing::TempDir(), "self-test-");
};

TEST_F(KernelTest, ThisKernelTellsOfEveryQuestion) {
  Status tested = TestKernel(directory_.path());
  EXPECT_TRUE(tested) << tested.error().ToString();
}

TEST_F(KernelTest, TheAnswerIsKept) {
  std::string first = Root("first");
  ASSERT_TRUE(KernelIsTested(first, first));
  auto kept = ReadFile(first + "/trace-test", 4096);
  ASSERT_TRUE(kept);
  ASSERT_TRUE(kept->ends_with("\nok\n")) << *kept;
  // What an earlier test of the same boot found is believed, …
  std::string bad = kept->substr(0, kept->size() - 3) + "it tells of nothing\n";
  std::string second = Root("second");
  ASSERT_TRUE(WriteFileAtomically(second + "/trace-test", bad));
  Status told = KernelIsTested(second, second);
  ASSERT_FALSE(told);
  EXPECT_EQ(told.error().message, "it tells of nothing");
  // … and that of another boot is not.
  std::string third = Root("third");
  ASSERT_TRUE(WriteFileAtomically(third + "/trace-test", "1 " + bad));
  EXPECT_TRUE(KernelIsTested(third, third));
}

TEST(KernelNotes, EachQuestionHasToBeThere) {
  const std::vector<tree::Question> all = {{"copied", kStat | kContent},
                                           {"dir", kStat | kList},
                                           {"dir/listed", kStat},
                                           {"dir/none", kAbsent},
                                           {"link", kLink},
                                           {"mapped", kStat | kContent},
                                           {"marked", kXattr},
                                           {"none", kAbsent},
                                           {"read", kStat | kContent},
                                           {"stat", kStat},
                                           {"tool", kStat | kContent}};
  EXPECT_TRUE(CheckNotes(all, true));
  for (size_t i = 0; i < all.size(); ++i) {
    for (int bit = 1; bit < 64; bit *= 2) {
      if ((all[i].facets & bit) == 0) continue;
      auto some = all;
      some[i].facets &= static_cast<uint8_t>(~bit);
      EXPECT_FALSE(CheckNotes(some, true)) << all[i].path << " " << bit;
    }
  }
  auto without = all;
  std::erase_if(without, [](const auto& question) { return question.path == "marked"; });
  EXPECT_TRUE(CheckNotes(without, false));
}

}  // namespace
}  // namespace varve::trace
