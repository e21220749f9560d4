#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/fd.h"
#include "cache/lease.h"
#include "cache/root.h"
#include "history/store.h"
#include "sys/tempdir.h"

namespace varve::history {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class HistoryTest : public testing::Test {
 protected:
  static std::string Prepared(const std::string& path) {
    EXPECT_TRUE(cache::PrepareRoot(path));
    return path;
  }
  std::unique_ptr<Recorder> Begin(const std::string& name = "app") {
    clock.Advance(std::chrono::seconds(1));
    return Recorder::Begin(root, {.command = "build", .name = name, .job = job->id()}, clock).value();
  }
  static Step Ran(uint32_t index, const std::string& name) {
    return {.index = index, .name = name, .fate = Fate::kRan, .wall = std::chrono::seconds(2)};
  }
  static Step Cached(uint32_t index, const std::string& name) {
    return {.index = index, .name = name, .fate = Fate::kCached, .saved = std::chrono::seconds(6)};
  }
  // A build that ended; returns its id.
  std::string Completed(const std::string& name = "app") {
    auto recorder = Begin(name);
    Build build = recorder->header();
    build.status = BuildStatus::kCompleted;
    build.steps = {Cached(0, "RUN a"), Ran(1, "RUN b")};
    clock.Advance(std::chrono::seconds(3));
    EXPECT_TRUE(recorder->Finish(build));
    return recorder->id();
  }
  std::vector<std::string> Ids() {
    std::vector<std::string> ids;
    auto builds = history.List().value();
    for (const Summary& summary : builds) ids.push_back(summary.id);
    return ids;
  }
  std::string Index() { return ReadFile(root + "/history/index").value_or("no index"); }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "history-");
  const std::string root = Prepared(directory.path());
  FakeClock clock;
  std::unique_ptr<cache::JobLease> job = cache::JobLease::Begin(root, clock).value();
  History history{root, clock};
};

TEST_F(HistoryTest, AnEmptyRootHasNoBuilds) {
  EXPECT_THAT(Ids(), ElementsAre());
  EXPECT_EQ(history.Find("").error().code, Code::kNotFound);
}

TEST_F(HistoryTest, ABuildIsListedAndReadAsItWasWritten) {
  std::string id = Completed();
  auto list = history.List().value();
  ASSERT_THAT(list, SizeIs(1));
  EXPECT_EQ(list[0].id, id);
  EXPECT_EQ(list[0].name, "app");
  EXPECT_EQ(list[0].status, BuildStatus::kCompleted);
  EXPECT_EQ(list[0].duration, std::chrono::seconds(3));
  EXPECT_EQ(list[0].ratios.BySteps(), 0.5);
  EXPECT_EQ(list[0].ratios.ByTime(), 0.75);
  Build build = history.Read(id).value();
  EXPECT_THAT(build.steps, SizeIs(2));
  EXPECT_EQ(ToJson(BuildFromJson(ToJson(build)).value()), ToJson(build));
}

TEST_F(HistoryTest, ImagesCachesWarningsAndInputsComeBackWhole) {
  auto recorder = Begin();
  Build build = recorder->header();
  build.images = {{.name = "app:1",
                   .platform = "linux/arm64",
                   .digest = "sha256:aa",
                   .compression = "gzip",
                   .size = 5'000'000'000,
                   .layers = 7}};
  build.tiers = {{.name = "local:/cache",
                  .read = true,
                  .written = true,
                  .hits = 3,
                  .layers = 2,
                  .bytes_read = 10,
                  .bytes_written = 20,
                  .requests = 4,
                  .time = Nanos(5),
                  .read_error = "no answer",
                  .write_error = "disk full"}};
  build.warnings = {{.text = "FromAsCasing: …",
                     .remedy = "write AS",
                     .url = "https://example.com",
                     .file = "Dockerfile",
                     .line = 3,
                     .hint = true}};
  build.steps = {Ran(0, "RUN a"), Ran(1, "RUN b")};
  build.steps[1].inputs = {0};
  build.ended = clock.Now();
  ASSERT_TRUE(recorder->Finish(build));
  Build read = history.Read(recorder->id()).value();
  EXPECT_EQ(ToJson(read), ToJson(build));
  EXPECT_EQ(read.images[0].size, 5'000'000'000u);
  EXPECT_EQ(read.tiers[0].write_error, "disk full");
  EXPECT_EQ(read.warnings[0].line, 3u);
  EXPECT_THAT(read.steps[1].inputs, ElementsAre(0u));
}

TEST_F(HistoryTest, NewestFirstAndFoundByPositionOrBeginning) {
  std::string first = Completed(), second = Completed(), third = Completed();
  EXPECT_THAT(Ids(), ElementsAre(third, second, first));
  EXPECT_EQ(history.Find("").value(), third);
  EXPECT_EQ(history.Find("^2").value(), first);
  EXPECT_EQ(history.Find("^3").error().code, Code::kNotFound);
  EXPECT_EQ(history.Find(second.substr(0, 8)).value(), second);
  EXPECT_EQ(history.Find("../../etc").error().code, Code::kNotFound);
}

TEST_F(HistoryTest, ARunningBuildTellsWhatItIsAt) {
  auto recorder = Begin();
  recorder->Note({.index = 1, .name = "RUN b", .fate = Fate::kRunning, .started = clock.Now()});
  recorder->Note(Cached(0, "RUN a"));
  clock.Advance(std::chrono::seconds(5));
  auto list = history.List().value();
  ASSERT_THAT(list, SizeIs(1));
  EXPECT_EQ(list[0].status, BuildStatus::kRunning);
  EXPECT_EQ(list[0].duration, std::chrono::seconds(5));
  Build build = history.Read(recorder->id()).value();
  ASSERT_THAT(build.steps, SizeIs(2));
  EXPECT_EQ(build.steps[1].fate, Fate::kRunning);
  EXPECT_EQ(history.Remove({recorder->id()}).error().code, Code::kInvalid);
}

TEST_F(HistoryTest, AKilledBuildIsThereWithWhatItHadDone) {
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto lease = cache::JobLease::Begin(root, clock).value();
    auto recorder = Recorder::Begin(root, {.name = "killed", .job = lease->id()}, clock).value();
    recorder->Note(Ran(0, "RUN a"));
    recorder->Note({.index = 1, .name = "RUN b", .fate = Fate::kRunning, .started = clock.Now()});
    recorder->Log(1, 1, "half way\n");
    raise(SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  auto list = history.List().value();
  ASSERT_THAT(list, SizeIs(1));
  EXPECT_EQ(list[0].status, BuildStatus::kKilled);
  Build build = history.Read(list[0].id).value();
  ASSERT_THAT(build.steps, SizeIs(2));
  EXPECT_EQ(build.steps[0].fate, Fate::kRan);
  EXPECT_EQ(build.steps[1].fate, Fate::kRunning);
  EXPECT_EQ(history.Log(list[0].id).value()[0].text, "half way\n");
  // Written down once.
  EXPECT_THAT(history.List().value(), SizeIs(1));
  EXPECT_FALSE(fs::exists(root + "/history/" + list[0].id + ".running"));
}

TEST_F(HistoryTest, WhatAKilledWriterLeftIsRemoved) {
  std::string id = Completed();
  std::string dead = root + "/history/" + id + ".json.tmp-99999999-0";  // above any pid_max
  std::string live = fmt::format("{}/history/index.tmp-{}-0", root, getpid());
  for (const std::string& file : {dead, live}) std::ofstream(file) << "{";
  struct stat st;
  ASSERT_EQ(stat(live.c_str(), &st), 0);
  clock.Set({st.st_mtim.tv_sec * 1'000'000'000});
  EXPECT_THAT(Ids(), SizeIs(1));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(live));  // being written
  clock.Advance(std::chrono::minutes(2));
  EXPECT_THAT(Ids(), SizeIs(1));
  EXPECT_FALSE(fs::exists(live));
}

TEST_F(HistoryTest, AJournalWhoseLastLineIsCutShortIsRead) {
  auto recorder = Begin();
  recorder->Note(Ran(0, "RUN a"));
  std::ofstream(root + "/history/" + recorder->id() + ".running", std::ios::app) << "{\"index\":1,\"na";
  EXPECT_THAT(history.Read(recorder->id()).value().steps, SizeIs(1));
}

TEST_F(HistoryTest, LogsComeBackByStepAndAreLimited) {
  auto recorder = Begin();
  recorder->Log(3, 2, "7 8 9 9\n\xff\0");  // any bytes, also what looks like a header
  recorder->Log(0, 1, std::string(kMaxStepLog + 10, 'x'));
  recorder->Log(0, 1, "lost");
  auto lines = history.Log(recorder->id()).value();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[0].step, 3u);
  EXPECT_EQ(lines[0].stream, 2);
  EXPECT_EQ(lines[0].text, "7 8 9 9\n\xff\0");
  EXPECT_THAT(lines[1].text, HasSubstr("the rest is not kept"));
  EXPECT_LT(lines[1].text.size(), kMaxStepLog + 100);
  EXPECT_TRUE(recorder->HasLog(3));
  EXPECT_FALSE(recorder->HasLog(1));
}

TEST_F(HistoryTest, ALostOrDamagedIndexIsMadeAgain) {
  std::string first = Completed(), second = Completed();
  std::string index = Index();
  for (const std::string& damage : {std::string(), index.substr(0, 20), "\xff\xfe[\n" + index}) {
    std::ofstream(root + "/history/index") << damage;
    EXPECT_THAT(Ids(), ElementsAre(second, first)) << damage;
  }
  unlink((root + "/history/index").c_str());
  EXPECT_THAT(Ids(), ElementsAre(second, first));
  EXPECT_EQ(Index(), index.size() == Index().size() ? Index() : index);
}

TEST_F(HistoryTest, ADamagedBuildHidesNoOther) {
  std::string first = Completed(), second = Completed();
  std::ofstream(root + "/history/" + second + ".json") << "{";
  unlink((root + "/history/index").c_str());
  EXPECT_THAT(Ids(), ElementsAre(first));
  EXPECT_EQ(history.Read(second).error().code, Code::kCorrupt);
}

TEST_F(HistoryTest, RemovedBuildsAreGoneWithTheirLogs) {
  auto recorder = Begin();
  recorder->Log(0, 1, "text");
  ASSERT_TRUE(recorder->Finish(recorder->header()));
  std::string kept = Completed();
  ASSERT_TRUE(history.Remove({recorder->id()}));
  EXPECT_THAT(Ids(), ElementsAre(kept));
  EXPECT_FALSE(fs::exists(root + "/history/" + recorder->id() + ".log"));
  EXPECT_THAT(Index(), Not(HasSubstr(recorder->id())));
  EXPECT_TRUE(history.Remove({recorder->id()}));
}

TEST_F(HistoryTest, PruningKeepsTheNewestAndWhatRuns) {
  auto running = Begin();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(Completed());
  EXPECT_EQ(history.Prune({.builds = 2}).value(), 3u);
  EXPECT_THAT(Ids(), ElementsAre(ids[4], ids[3], running->id()));
  clock.Advance(std::chrono::hours(48));
  std::string fresh = Completed();
  EXPECT_EQ(history.Prune({.age = std::chrono::hours(24)}).value(), 2u);
  EXPECT_THAT(Ids(), ElementsAre(fresh, running->id()));
  EXPECT_EQ(history.Prune({.bytes = 0}).value(), 1u);
}

TEST_F(HistoryTest, WhatCannotBeWrittenIsAnErrorAtTheBeginningOnly) {
  std::ofstream(root + "/file");
  EXPECT_FALSE(Recorder::Begin(root + "/file", {}, clock));
  auto recorder = Begin();
  fs::remove_all(root + "/history");
  recorder->Note(Ran(0, "RUN a"));
  recorder->Log(0, 1, "text");  // only logged
  EXPECT_FALSE(recorder->Finish(recorder->header()));
}

}  // namespace
}  // namespace varve::history
