#include "cache/lease.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "cache/root.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

namespace fs = std::filesystem;

class LeaseTest : public testing::Test {
 protected:
  LeaseTest() { EXPECT_TRUE(PrepareRoot(root)); }
  LiveLeases Read() { return CollectionLock::Take(root, {})->Read().value(); }
  size_t JobFiles() {
    size_t n = 0;
    for (const auto& entry : fs::directory_iterator(root + "/jobs")) {
      if (entry.path().filename().string().starts_with("job-")) ++n;
    }
    return n;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "lease-");
  const std::string root = directory.path();
  FakeClock clock;
  const Digest a = Digest::Of("a"), b = Digest::Of("b");
};

TEST_F(LeaseTest, LeasesHoldByKindUntilTheJobEnds) {
  auto job = JobLease::Begin(root, clock).value();
  ASSERT_TRUE(job->Add(DiffId(a)));
  ASSERT_TRUE(job->Add(StepKey(b)));
  LiveLeases leases = Read();
  EXPECT_EQ(leases.jobs, 1u);
  EXPECT_EQ(leases.oldest_start, clock.Now());
  EXPECT_TRUE(leases.Holds(LeaseKind::kLayer, a));
  EXPECT_FALSE(leases.Holds(LeaseKind::kBlob, a));
  EXPECT_TRUE(leases.Holds(LeaseKind::kRecord, b));
  job.reset();
  leases = Read();
  EXPECT_EQ(leases.jobs, 0u);
  EXPECT_FALSE(leases.oldest_start);
  EXPECT_FALSE(leases.Holds(LeaseKind::kLayer, a));
  EXPECT_EQ(JobFiles(), 0u);
}

TEST_F(LeaseTest, OldestStartIsThatOfTheOldestLiveJob) {
  auto first = JobLease::Begin(root, clock).value();
  Timestamp start = clock.Now();
  clock.Advance(std::chrono::seconds(5));
  auto second = JobLease::Begin(root, clock).value();
  EXPECT_EQ(Read().oldest_start, start);
  first.reset();
  EXPECT_EQ(Read().oldest_start, clock.Now());
}

TEST_F(LeaseTest, AddingAgainWritesNothing) {
  auto job = JobLease::Begin(root, clock).value();
  ASSERT_TRUE(job->Add(std::vector{DiffId(a), DiffId(b)}));
  std::string path = root + "/jobs/" + job->id();
  auto size = fs::file_size(path);
  ASSERT_TRUE(job->Add(std::vector{DiffId(b), DiffId(a)}));
  EXPECT_EQ(fs::file_size(path), size);
}

TEST_F(LeaseTest, AJobLivesAsLongAsItsLease) {
  auto job = JobLease::Begin(root, clock).value();
  std::string id = job->id();
  EXPECT_TRUE(JobLives(root, id));
  EXPECT_TRUE(JobLives(root, id));  // looking does not end it
  job.reset();
  EXPECT_FALSE(JobLives(root, id));
  EXPECT_FALSE(JobLives(root, "job-1/../collect.lock"));
  EXPECT_FALSE(JobLives(root, ""));
}

TEST_F(LeaseTest, KilledOwnersLeasesAreVoid) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto job = JobLease::Begin(root, clock);
    if (!job || !(*job)->Add(DiffId(a)) || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  close(ready[1]);
  EXPECT_TRUE(Read().Holds(LeaseKind::kLayer, a));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(JobFiles(), 1u);
  // Its file stays for those who clear up, whoever reads the leases before.
  LiveLeases leases = Read();
  EXPECT_FALSE(leases.Holds(LeaseKind::kLayer, a));
  EXPECT_EQ(leases.jobs, 0u);
  EXPECT_EQ(Read().dead, leases.dead);
  EXPECT_EQ(leases.dead.size(), 1u);
  EXPECT_EQ(JobFiles(), 1u);
}

TEST_F(LeaseTest, HalfALineHoldsNothingAndTheRestDoes) {
  auto job = JobLease::Begin(root, clock).value();
  ASSERT_TRUE(job->Add(DiffId(a)));
  std::string path = root + "/jobs/" + job->id();
  {
    auto text = ReadFile(path).value();
    Fd fd = OpenFile(path, O_WRONLY | O_APPEND).value();
    ASSERT_TRUE(FdWriter(fd.get()).Write("layer " + b.Hex()));  // no newline
    ASSERT_GT(fs::file_size(path), text.size());
  }
  LiveLeases leases = Read();
  EXPECT_TRUE(leases.Holds(LeaseKind::kLayer, a));
  EXPECT_FALSE(leases.Holds(LeaseKind::kLayer, b));
}

TEST_F(LeaseTest, AddWaitsWhileACollectionRemoves) {
  auto job = JobLease::Begin(root, clock).value();
  std::atomic<bool> added{false};
  auto lock = std::make_unique<CollectionLock>(CollectionLock::Take(root, {}).value());
  std::jthread adder([&] {
    EXPECT_TRUE(job->Add(DiffId(a)));
    added = true;
  });
  EXPECT_FALSE(lock->Read()->Holds(LeaseKind::kLayer, a));
  EXPECT_FALSE(added);
  lock.reset();
  adder.join();
  EXPECT_TRUE(Read().Holds(LeaseKind::kLayer, a));
}

TEST_F(LeaseTest, JobsOfManyThreadsAndProcessesAreAllSeen) {
  std::vector<std::unique_ptr<JobLease>> jobs;
  for (int i = 0; i < 3; ++i) jobs.push_back(JobLease::Begin(root, clock).value());
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(jobs[static_cast<size_t>(t % 3)]->Add(DiffId(Digest::Of(fmt::format("{}-{}", t, i)))));
      }
    });
  }
  threads.clear();
  LiveLeases leases = Read();
  EXPECT_EQ(leases.jobs, 3u);
  EXPECT_EQ(leases.held.size(), 200u);
}

}  // namespace
}  // namespace varve::cache
