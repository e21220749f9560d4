#include "cache/step_locks.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "cache/lock_file.h"
#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

namespace fs = std::filesystem;

class StepLocksTest : public testing::Test {
 protected:
  StepLocksTest() { EXPECT_TRUE(PrepareRoot(root)); }
  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "locks-");
  const std::string root = directory.path();
  const StepKey key{Digest::Of("k")};
  bool waited = false;
};

TEST_F(StepLocksTest, FreeLockIsTakenAtOnceAndLeavesNoFile) {
  auto lock = LockKey(root, key, &waited, {});
  ASSERT_TRUE(lock);
  EXPECT_FALSE(waited);
  EXPECT_TRUE(fs::exists(root + "/locks/" + key.Hex()));
  lock->reset();
  EXPECT_TRUE(fs::is_empty(root + "/locks"));
}

TEST_F(StepLocksTest, OtherKeysAreFree) {
  auto lock = LockKey(root, key, &waited, {});
  ASSERT_TRUE(LockKey(root, StepKey(Digest::Of("other")), &waited, {}));
  EXPECT_FALSE(waited);
}

TEST_F(StepLocksTest, WaitIsAnnouncedOnceAndEndsWithTheHolder) {
  auto lock = LockKey(root, key, &waited, {}).value();
  std::atomic<int> announced{0};
  bool they_waited = false;
  std::jthread other([&] { EXPECT_TRUE(LockKey(root, key, &they_waited, {}, [&] { ++announced; })); });
  while (announced == 0) std::this_thread::yield();
  lock.reset();
  other.join();
  EXPECT_TRUE(they_waited);
  EXPECT_EQ(announced, 1);
}

TEST_F(StepLocksTest, WaitingCanBeCancelled) {
  auto lock = LockKey(root, key, &waited, {}).value();
  std::stop_source stop;
  auto theirs = LockKey(root, key, &waited, stop.get_token(), [&] { stop.request_stop(); });
  ASSERT_FALSE(theirs);
  EXPECT_EQ(theirs.error().code, Code::kCancelled);
}

TEST_F(StepLocksTest, KilledHolderLetsGo) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto lock = LockKey(root, key, &waited, {});
    if (!lock || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  close(ready[1]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(root + "/locks/" + key.Hex())) << "left behind";
  ASSERT_TRUE(LockKey(root, key, &waited, {}));
  EXPECT_FALSE(waited);
  EXPECT_TRUE(fs::is_empty(root + "/locks"));
}

// The race that removing lock files brings: waiters hold descriptors of files that lose their name.
// A counter in a file, read and written without any other protection, would lose counts.
TEST_F(StepLocksTest, ManyProcessesCountWithoutLosing) {
  std::string counter = root + "/counter";
  ASSERT_TRUE(WriteFileAtomically(counter, "0"));
  constexpr int kProcesses = 5, kRounds = 40;
  for (int p = 0; p < kProcesses; ++p) {
    if (fork() == 0) {
      for (int i = 0; i < kRounds; ++i) {
        // The primitive in a tight loop: LockKey's pauses would hide the race.
        std::optional<LockFile> lock;
        while (!lock) {
          auto attempt = LockFile::Try(root + "/locks/x", sys::LockMode::kExclusive);
          if (!attempt) _exit(1);
          lock = std::move(*attempt);
        }
        int value = std::stoi(ReadFile(counter).value());
        if (!WriteFileAtomically(counter, std::to_string(value + 1))) _exit(2);
        lock->RemoveAndUnlock();
      }
      _exit(0);
    }
  }
  for (int p = 0; p < kProcesses; ++p) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(ReadFile(counter).value(), std::to_string(kProcesses * kRounds));
}

}  // namespace
}  // namespace varve::cache
