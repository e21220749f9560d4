#include "source/context_mode.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "sys/tempdir.h"

namespace varve::source {
namespace {

using tree::NodeType;

class ModeRuleTest : public testing::Test {
 protected:
  // What a rule makes of the mode that git gives a file under this umask.
  ModeRule Clone(uint32_t umask) {
    std::string git = dir_.path() + "/.git";
    std::filesystem::create_directory(git);
    chmod(git.c_str(), 0777 & ~umask);
    return ModeRule::For(ContextMode::kAuto, dir_.path());
  }
  sys::TempDir dir_ = *sys::TempDir::Create(testing::TempDir(), "mode-");
};

TEST_F(ModeRuleTest, ClonesUnderAnyUmaskLookTheSame) {
  for (uint32_t umask : {0u, 002u, 022u, 027u, 077u}) {
    ModeRule rule = Clone(umask);
    EXPECT_EQ(rule.Apply(0666 & ~umask, NodeType::kFile), 0644u) << umask;
    EXPECT_EQ(rule.Apply(0777 & ~umask, NodeType::kFile), 0755u) << umask;
    EXPECT_EQ(rule.Apply(0777 & ~umask, NodeType::kDirectory), 0755u) << umask;
  }
}

TEST_F(ModeRuleTest, AChosenModeCounts) {
  ModeRule rule = Clone(022);
  for (uint32_t mode : {0600u, 0400u, 0664u, 04755u, 0700u}) EXPECT_EQ(rule.Apply(mode, NodeType::kFile), mode);
  EXPECT_EQ(Clone(077).Apply(0640, NodeType::kFile), 0640u);
  EXPECT_EQ(Clone(002).Apply(0644, NodeType::kFile), 0644u);
  EXPECT_EQ(rule.Apply(01777, NodeType::kDirectory), 01777u);
}

TEST_F(ModeRuleTest, TheUsualUmaskChangesNothing) {
  ModeRule rule = Clone(022);
  for (uint32_t mode = 0; mode <= 07777; ++mode) {
    EXPECT_EQ(rule.Apply(mode, NodeType::kFile), mode);
    EXPECT_EQ(rule.Apply(mode, NodeType::kDirectory), mode);
  }
}

TEST_F(ModeRuleTest, WithoutGitEveryBitCounts) {
  ModeRule rule = ModeRule::For(ContextMode::kAuto, dir_.path());
  EXPECT_EQ(rule.Apply(0664, NodeType::kFile), 0664u);
}

TEST_F(ModeRuleTest, TheWorkTreeMayBeginAboveOrBeLinked) {
  Clone(002);
  std::filesystem::create_directories(dir_.path() + "/a/b");
  EXPECT_EQ(ModeRule::For(ContextMode::kAuto, dir_.path() + "/a/b").Apply(0664, NodeType::kFile), 0644u);
  std::ofstream(dir_.path() + "/a/.git") << "gitdir: elsewhere\n";
  chmod((dir_.path() + "/a/.git").c_str(), 0600);
  ModeRule linked = ModeRule::For(ContextMode::kAuto, dir_.path() + "/a/b");
  EXPECT_EQ(linked.Apply(0600, NodeType::kFile), 0644u);
  EXPECT_EQ(linked.Apply(0700, NodeType::kFile), 0755u);
  EXPECT_EQ(linked.Apply(0700, NodeType::kDirectory), 0755u);
}

TEST_F(ModeRuleTest, InheritedGroupsAreNotTheProjects) {
  Clone(002);
  chmod((dir_.path() + "/.git").c_str(), 02775);
  ModeRule rule = ModeRule::For(ContextMode::kAuto, dir_.path());
  EXPECT_EQ(rule.Apply(02775, NodeType::kDirectory), 0755u);
  EXPECT_EQ(rule.Apply(02775, NodeType::kFile), 02775u);
}

TEST_F(ModeRuleTest, GitModesKeepOneBit) {
  ModeRule rule = ModeRule::For(ContextMode::kGit, dir_.path());
  EXPECT_EQ(rule.Apply(0600, NodeType::kFile), 0644u);
  EXPECT_EQ(rule.Apply(04711, NodeType::kFile), 0755u);
  EXPECT_EQ(rule.Apply(01777, NodeType::kDirectory), 0755u);
  EXPECT_EQ(rule.Apply(0777, NodeType::kSymlink), 0777u);
}

}  // namespace
}  // namespace varve::source
