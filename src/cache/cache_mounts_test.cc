#include "cache/cache_mounts.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

namespace fs = std::filesystem;

class CacheMountsTest : public testing::Test {
 protected:
  CacheMountsTest() { EXPECT_TRUE(PrepareRoot(directory.path())); }

  CacheMounts::Request Ask(MountSharing sharing, std::function<void()> on_wait = {}) {
    return {.key = "ns/k", .id = "k", .sharing = sharing, .on_wait = std::move(on_wait)};
  }
  CacheMounts::Use Get(MountSharing sharing) {
    auto use = mounts.Acquire(Ask(sharing), {}).value();
    if (use.is_new()) {
      EXPECT_TRUE(use.MarkInitialised());
    }
    return use;
  }
  bool IsBusy(MountSharing sharing) {
    std::stop_source stop;
    auto use = mounts.Acquire(Ask(sharing, [&] { stop.request_stop(); }), stop.get_token());
    return !use && use.error().code == Code::kCancelled;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "mounts-");
  FakeClock clock;
  CacheMounts mounts{directory.path(), clock};
};

TEST_F(CacheMountsTest, ContentStaysForTheNextUse) {
  ASSERT_TRUE(WriteFileAtomically(Get(MountSharing::kShared).path() + "/file", "x"));
  auto again = Get(MountSharing::kShared);
  EXPECT_EQ(ReadFile(again.path() + "/file").value(), "x");
  EXPECT_FALSE(again.is_new());
}

TEST_F(CacheMountsTest, SharedIsUsedByAllAtOnceEvenWhenItWasJustMade) {
  auto a = Get(MountSharing::kShared);  // made and filled by this one
  auto b = Get(MountSharing::kShared);
  EXPECT_EQ(a.path(), b.path());
  EXPECT_FALSE(b.is_new());
}

TEST_F(CacheMountsTest, NewDirectoryIsExclusiveUntilItIsFilled) {
  auto filler = mounts.Acquire(Ask(MountSharing::kShared), {}).value();
  EXPECT_TRUE(filler.is_new());
  EXPECT_TRUE(IsBusy(MountSharing::kShared));
  ASSERT_TRUE(filler.MarkInitialised());
  EXPECT_FALSE(IsBusy(MountSharing::kShared));
}

TEST_F(CacheMountsTest, HalfFilledDirectoryIsNewAndEmptyForTheNext) {
  {
    auto failed = mounts.Acquire(Ask(MountSharing::kShared), {}).value();
    ASSERT_TRUE(WriteFileAtomically(failed.path() + "/half", "x"));
  }
  auto next = mounts.Acquire(Ask(MountSharing::kShared), {}).value();
  EXPECT_TRUE(next.is_new());
  EXPECT_TRUE(fs::is_empty(next.path()));
}

TEST_F(CacheMountsTest, PrivateGivesABusyMountASecondDirectoryAndReusesIt) {
  std::string first, second;
  {
    auto a = Get(MountSharing::kPrivate), b = Get(MountSharing::kPrivate);
    first = a.path();
    second = b.path();
  }
  EXPECT_NE(first, second);
  EXPECT_EQ(Get(MountSharing::kPrivate).path(), first);
}

TEST_F(CacheMountsTest, LockedWaitsForItsTurn) {
  auto held = std::make_unique<CacheMounts::Use>(Get(MountSharing::kLocked));
  std::atomic<bool> waiting{false}, got{false};
  std::jthread other([&] {
    auto use = mounts.Acquire(Ask(MountSharing::kLocked, [&] { waiting = true; }), {});
    got = use.has_value();
  });
  while (!waiting) std::this_thread::yield();
  EXPECT_FALSE(got);
  held.reset();
  other.join();
  EXPECT_TRUE(got);
}

TEST_F(CacheMountsTest, LockedAndSharedUsersExcludeEachOther) {
  {
    auto shared = Get(MountSharing::kShared);
    EXPECT_TRUE(IsBusy(MountSharing::kLocked));
  }
  auto locked = Get(MountSharing::kLocked);
  EXPECT_TRUE(IsBusy(MountSharing::kShared));
  EXPECT_TRUE(IsBusy(MountSharing::kLocked));
}

TEST_F(CacheMountsTest, OtherKeysAreOtherMounts) {
  auto held = Get(MountSharing::kLocked);
  auto other = mounts.Acquire({.key = "ns/other", .id = "k", .sharing = MountSharing::kLocked}, {});
  ASSERT_TRUE(other);
  EXPECT_NE(other->path(), held.path());
}

TEST_F(CacheMountsTest, KilledUserLetsGoAndItsContentStays) {
  Get(MountSharing::kLocked);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto use = mounts.Acquire(Ask(MountSharing::kLocked), {});
    if (!use || !WriteFileAtomically(use->path() + "/file", "x")) _exit(1);
    if (write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(IsBusy(MountSharing::kLocked));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(ReadFile(Get(MountSharing::kLocked).path() + "/file").value(), "x");
}

TEST_F(CacheMountsTest, LockedMountCountsRightAcrossProcesses) {
  ASSERT_TRUE(WriteFileAtomically(Get(MountSharing::kLocked).path() + "/n", "0"));
  constexpr int kProcesses = 4, kRounds = 5;
  for (int p = 0; p < kProcesses; ++p) {
    if (fork() == 0) {
      for (int i = 0; i < kRounds; ++i) {
        auto use = mounts.Acquire(Ask(MountSharing::kLocked), {});
        if (!use) _exit(1);
        int n = std::stoi(ReadFile(use->path() + "/n").value());
        if (!WriteFileAtomically(use->path() + "/n", std::to_string(n + 1))) _exit(1);
      }
      _exit(0);
    }
  }
  for (int p = 0; p < kProcesses; ++p) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(ReadFile(Get(MountSharing::kLocked).path() + "/n").value(), "20");
}

TEST_F(CacheMountsTest, ListTellsIdTimesAndWhoIsBusy) {
  Timestamp made = clock.Now();
  Get(MountSharing::kShared);
  clock.Advance(std::chrono::hours(2));
  auto held = Get(MountSharing::kShared);
  auto entries = mounts.List().value();
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].id, "k");
  EXPECT_EQ(entries[0].key, "ns/k");
  EXPECT_EQ(entries[0].created, made);
  EXPECT_EQ(entries[0].last_used, clock.Now());
  EXPECT_TRUE(entries[0].busy);
  EXPECT_EQ(entries[0].directory + "/data", held.path());
}

TEST_F(CacheMountsTest, RemoveSparesABusyMountAndResetsAFreeOne) {
  {
    auto held = Get(MountSharing::kShared);
    ASSERT_TRUE(WriteFileAtomically(held.path() + "/file", "x"));
    EXPECT_FALSE(mounts.Remove(mounts.List().value()[0]).value());
    EXPECT_TRUE(fs::exists(held.path() + "/file"));
  }
  EXPECT_TRUE(mounts.Remove(mounts.List().value()[0]).value());
  EXPECT_TRUE(fs::is_empty(directory.path() + "/mounts"));
  auto again = mounts.Acquire(Ask(MountSharing::kShared), {}).value();
  EXPECT_TRUE(again.is_new());
  EXPECT_TRUE(fs::is_empty(again.path()));
}

TEST_F(CacheMountsTest, LeftoverOfAKilledRemoveIsNoMountAndGoesWithTheNext) {
  fs::create_directories(directory.path() + "/mounts/removed-1-0/data/deep");
  EXPECT_TRUE(mounts.List().value().empty());
  Get(MountSharing::kShared);
  ASSERT_TRUE(mounts.Remove(mounts.List().value()[0]).value());
  EXPECT_TRUE(fs::is_empty(directory.path() + "/mounts"));
}

// Six processes take one mount in all modes, while another one looks at it and removes it whenever it
// can. Each checks, as long as it holds it, what its mode promises.
TEST_F(CacheMountsTest, ManyProcessesInAllModesWhileItIsRemovedAgainAndAgain) {
  constexpr int kProcesses = 6, kRounds = 80;
  auto use_once = [&](unsigned round) -> int {
    auto sharing = std::array{MountSharing::kShared, MountSharing::kPrivate, MountSharing::kLocked}[round % 3];
    auto use = mounts.Acquire(Ask(sharing), {});
    if (!use) return 10;
    std::string content = use->path() + "/content", owner = use->path() + "/owner";
    if (use->is_new()) {
      if (access(content.c_str(), F_OK) == 0) return 11;  // not empty
      if (!WriteFileAtomically(content, "filled") || !use->MarkInitialised()) return 12;
    }
    auto text = ReadFile(content);
    if (!text || *text != "filled") return 13;  // half filled, or removed under us
    if (sharing == MountSharing::kShared) {
      if (access(owner.c_str(), F_OK) == 0) return 14;  // somebody has it alone
      return ReadFile(content) ? 0 : 15;
    }
    auto alone = OpenFile(owner, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!alone) return 16;
    usleep(200);
    return unlink(owner.c_str()) == 0 ? 0 : 17;
  };
  std::vector<pid_t> children;
  for (int n = 0; n < kProcesses; ++n) {
    pid_t child = fork();
    if (child == 0) {
      for (unsigned round = 0; round < kRounds; ++round) {
        if (int failed = use_once(round * 7 + static_cast<unsigned>(n))) _exit(failed);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  size_t removed = 0;
  while (!children.empty()) {
    auto entries = mounts.List();
    ASSERT_TRUE(entries) << entries.error().message;
    for (const CacheMounts::Entry& entry : *entries) {
      auto gone = mounts.Remove(entry);
      ASSERT_TRUE(gone) << gone.error().message;
      removed += *gone;
    }
    usleep(500);
    std::erase_if(children, [](pid_t child) {
      int status = 0;
      if (waitpid(child, &status, WNOHANG) == 0) return false;
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_TRUE(WIFEXITED(status));
      return true;
    });
  }
  EXPECT_GT(removed, 0u);
}

TEST_F(CacheMountsTest, OpenReadsOneBesideItsUsersUntilItIsRemoved) {
  auto user = Get(MountSharing::kShared);
  CacheMounts::Entry entry = mounts.List()->at(0);
  { EXPECT_EQ(mounts.Open(entry, {})->path(), user.path()); }
  { auto gone = std::move(user); }
  ASSERT_TRUE(mounts.Remove(entry).value());
  EXPECT_EQ(mounts.Open(entry, {}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace varve::cache
