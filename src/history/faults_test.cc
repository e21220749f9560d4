// Each call that writes history failed in turn: no build fails for it, and what is read back is what was written,
// or less.
#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "cache/lease.h"
#include "cache/root.h"
#include "history/store.h"
#include "sys/tempdir.h"
#include "sys/testing/faulty_calls.h"

namespace varve::history {
namespace {

namespace fs = std::filesystem;

// Of one root, on which builds are recorded while the disk fails.
struct Records {
  std::string root;
  FakeClock clock;
  std::unique_ptr<cache::JobLease> job;

  explicit Records(std::string path) : root(std::move(path)) {
    EXPECT_TRUE(cache::PrepareRoot(root));
    job = cache::JobLease::Begin(root, clock).value();
  }
  // The id, if its end could be written.
  std::optional<std::string> Record(const std::string& name) {
    clock.Advance(std::chrono::seconds(1));
    auto recorder = Recorder::Begin(root, {.command = "build", .name = name, .job = job->id()}, clock);
    if (!recorder) {
      EXPECT_NE(recorder.error().code, Code::kInternal) << recorder.error().ToString();
      return std::nullopt;
    }
    Step step{.index = 1, .name = "RUN make", .fate = Fate::kRunning, .started = clock.Now()};
    (*recorder)->Note(step);
    (*recorder)->Log(1, 1, "first line\n");
    (*recorder)->Log(1, 2, "second line\n");
    step.fate = Fate::kRan;
    (*recorder)->Note(step);
    Build build = (*recorder)->header();
    build.status = BuildStatus::kCompleted;
    build.steps = {step};
    Status finished = (*recorder)->Finish(build);
    return finished ? std::optional((*recorder)->id()) : std::nullopt;
  }
};

class HistoryFaults : public testing::TestWithParam<int> {
 protected:
  sys::TempDir directory =
      *sys::TempDir::Create(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir(), "history-");
  const std::string base = fs::canonical(directory.path()).string();
};

// The log's lines, none of them changed.
void ExpectLog(History& history, const std::string& id) {
  auto log = history.Log(id);
  ASSERT_TRUE(log) << log.error().ToString();
  for (const LogLine& line : *log) {
    EXPECT_TRUE(line.text == "first line\n" || line.text == "second line\n") << line.text;
  }
}

TEST_P(HistoryFaults, LoseNoOtherBuildAndChangeNone) {
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 500);
    Records records(fmt::format("{}/{}", base, n));
    const std::string before = records.Record("before").value();
    sys::FaultyCalls faults(records.root, n, GetParam());
    auto id = records.Record("app");
    faults.Stop();
    SCOPED_TRACE(faults.failed());
    auto after = records.Record("after");
    ASSERT_TRUE(after);
    records.job.reset();  // whoever had not ended by now was killed
    History history(records.root, records.clock);
    auto list = history.List();
    ASSERT_TRUE(list) << list.error().ToString();
    size_t found = 0;
    for (const Summary& summary : *list) {
      auto build = history.Read(summary.id);
      ASSERT_TRUE(build) << build.error().ToString();
      EXPECT_EQ(build->name, summary.name);
      ExpectLog(history, summary.id);
      found += summary.id == before || summary.id == after || summary.id == id ? 1 : 0;
      if (summary.id == id) {
        EXPECT_EQ(summary.status, BuildStatus::kCompleted);
        EXPECT_EQ(build->steps.size(), 1u);
      }
    }
    EXPECT_EQ(found, id ? 3u : 2u);
    EXPECT_TRUE(history.Remove({before}));
    EXPECT_TRUE(history.Prune({.builds = 1}));
    fs::remove_all(records.root);
    if (faults.calls() < n) {
      EXPECT_TRUE(id);
      EXPECT_GT(n, 8);
      break;
    }
  }
}

// On a full disk a list of builds is still a list, with one that was killed among them.
TEST_P(HistoryFaults, AKilledBuildIsListedThoughItsEndCannotBeWritten) {
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 500);
    Records records(fmt::format("{}/{}", base, n));
    const std::string before = records.Record("before").value();
    records.clock.Advance(std::chrono::seconds(1));
    auto killed =
        Recorder::Begin(records.root, {.command = "build", .name = "killed", .job = records.job->id()}, records.clock);
    ASSERT_TRUE(killed);
    records.job.reset();
    History history(records.root, records.clock);
    sys::FaultyCalls faults(records.root, n, GetParam());
    auto list = history.List();
    faults.Stop();
    SCOPED_TRACE(faults.failed());
    ASSERT_TRUE(list) << list.error().ToString();
    ASSERT_EQ(list->size(), 2u);
    auto again = history.List();
    ASSERT_TRUE(again) << again.error().ToString();
    ASSERT_EQ(again->size(), 2u);
    EXPECT_EQ(again->at(0).status, BuildStatus::kKilled);
    EXPECT_EQ(again->at(1).id, before);
    fs::remove_all(records.root);
    if (faults.calls() < n) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Errors, HistoryFaults, testing::Values(ENOSPC, EIO),
                         [](const auto& error) { return error.param == ENOSPC ? "NoSpace" : "InputOutput"; });

}  // namespace
}  // namespace varve::history
