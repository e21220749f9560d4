#include "cache/root.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "sys/mounts.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

using testing::HasSubstr;

class RootTest : public testing::Test {
 protected:
  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "root-");
  const std::string root = directory.path() + "/state";
};

TEST_F(RootTest, IsMadeOnceAndPreparedAgainAtNoCost) {
  ASSERT_TRUE(PrepareRoot(root));
  EXPECT_EQ(ReadFile(root + "/version").value(), "1\n");
  for (const char* name : {"records", "staging", "locks", "jobs", "mounts"}) {
    EXPECT_TRUE(std::filesystem::is_directory(root + "/" + name)) << name;
  }
  EXPECT_TRUE(PrepareRoot(root));
}

TEST_F(RootTest, NewerLayoutIsRefusedWithARemedy) {
  ASSERT_TRUE(PrepareRoot(root));
  ASSERT_TRUE(WriteFileAtomically(root + "/version", "99\n"));
  Status status = PrepareRoot(root);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalid);
  EXPECT_THAT(status.error().message, HasSubstr("newer varve"));
  EXPECT_THAT(status.error().message, HasSubstr(root));
  EXPECT_THAT(status.error().hint, HasSubstr("--root"));
}

TEST_F(RootTest, VersionThatIsNoNumberIsRefused) {
  ASSERT_TRUE(PrepareRoot(root));
  ASSERT_TRUE(WriteFileAtomically(root + "/version", "one\n"));
  EXPECT_EQ(PrepareRoot(root).error().code, Code::kInvalid);
}

TEST_F(RootTest, FileInTheWayIsRefused) {
  ASSERT_TRUE(WriteFileAtomically(root, "x"));
  Status status = PrepareRoot(root);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInvalid);
  EXPECT_THAT(status.error().hint, HasSubstr("--root"));
}

TEST_F(RootTest, FlagThenVariableChooseTheDirectory) {
  const char* before = std::getenv("VARVE_ROOT");
  std::string saved = before == nullptr ? "" : before;
  setenv("VARVE_ROOT", "/from/variable", 1);
  EXPECT_EQ(RootDirectory("/from/flag"), "/from/flag");
  EXPECT_EQ(RootDirectory(""), "/from/variable");
  EXPECT_EQ(RootDirectory("relative"), std::filesystem::current_path() / "relative");
  setenv("VARVE_ROOT", "./relative", 1);
  EXPECT_EQ(RootDirectory(""), std::filesystem::current_path() / "./relative");
  if (before == nullptr) unsetenv("VARVE_ROOT");
  else setenv("VARVE_ROOT", saved.c_str(), 1);
}

TEST_F(RootTest, ReadOnlyRootSaysWhatToDo) {
  ASSERT_TRUE(PrepareRoot(root));
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      _exit(77);
    }
    auto bind = sys::BindMount(root, root, sys::BindOptions{{.read_only = true}, false});
    if (!bind) _exit(77);
    Status old = PrepareRoot(root), fresh = PrepareRoot(root + "/new");
    bool told = !old && old.error().code == Code::kInvalid && old.error().hint.find("--root") != std::string::npos &&
                !fresh && fresh.error().code == Code::kInvalid &&
                fresh.error().hint.find("--root") != std::string::npos;
    bind->Unmount().value();
    _exit(told ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
    GTEST_SKIP() << "cannot make a read-only bind mount here";
  }
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace varve::cache
