#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "cache/root.h"
#include "report/example.h"
#include "report/gantt.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/step_graph.h"
#include "report/view.h"
#include "sys/tempdir.h"

namespace varve::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/report/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  EXPECT_EQ(ReadFile(path).value_or("no golden file"), text);
}

Story FailedStory() {
  Story story = ExampleStory();
  story.build.status = history::BuildStatus::kFailed;
  story.build.error = "failed to solve: process \"/bin/sh -c npm run build\" did not complete: exit code: 2";
  story.build.images.clear();
  story.build.steps[3].fate = history::Fate::kFailed;
  story.build.steps[3].error = "exit code: 2";
  story.build.steps[5].fate = history::Fate::kCancelled;
  story.failure_log = "src/app.ts(3,1): error TS2304\n```\n</pre><script>alert(1)</script>";
  return story;
}

TEST(Report, MarkdownIsPinned) { ExpectGolden("summary.md", Markdown(ExampleStory())); }
TEST(Report, MarkdownOfAFailedBuildIsPinned) { ExpectGolden("failed.md", Markdown(FailedStory())); }
TEST(Report, HtmlIsPinned) { ExpectGolden("report.html", Html(ExampleStory())); }

TEST(Report, ABuildThatEndedBeforeItsFirstStepHasAReport) {
  Story story{.build = {.name = "app", .status = history::BuildStatus::kFailed, .error = "no Dockerfile"},
              .previous = {},
              .trend = {},
              .failure_log = {}};
  EXPECT_THAT(Markdown(story), HasSubstr("no Dockerfile"));
  EXPECT_THAT(Html(story), HasSubstr("no Dockerfile"));
  EXPECT_EQ(Gantt(story.build), "");
  EXPECT_EQ(StepGraph(story.build), "");
}

// Whatever a step is called or has printed is text in the report.
TEST(Report, NothingOfABuildIsMarkup) {
  Story story = FailedStory();
  std::string evil = "RUN echo '<script>alert(1)</script>' | x `y` [a](https://evil.example) *b* &amp; $z$";
  story.build.name = story.build.error = evil;
  story.build.tiers[0].name = story.build.images.emplace_back().name = evil;
  story.build.warnings[0].text = story.build.warnings[0].remedy = evil;
  story.build.warnings[1].url = "javascript:alert(1)";
  for (history::Step& step : story.build.steps) {
    step.name = "[build 1/1] " + evil;
    step.why = step.error = step.stage = step.tier = evil;
  }
  std::string html = Html(story), markdown = Markdown(story);
  EXPECT_THAT(html, Not(HasSubstr("<script")));
  EXPECT_THAT(html, Not(HasSubstr("javascript:")));
  EXPECT_THAT(markdown, Not(HasSubstr("javascript:")));
  // The error is fenced, and nothing else of it is as it was.
  size_t fence = markdown.find("````text\n"), end = markdown.find("\n````\n");
  ASSERT_NE(fence, markdown.npos);
  ASSERT_NE(end, markdown.npos);
  std::string rest = markdown.substr(0, fence) + markdown.substr(end);
  EXPECT_THAT(rest, Not(HasSubstr("<script")));
  EXPECT_THAT(rest, Not(HasSubstr("](https://evil")));
  EXPECT_THAT(rest, Not(HasSubstr("`y`")));
}

TEST(Report, ColonsStayReadableUnlessTheyMakeEmojiOrLinks) {
  EXPECT_EQ(MarkdownEscaped("node:20, a: b"), "node:20, a: b");
  EXPECT_EQ(MarkdownEscaped("https://x"), "https&#58;//x");
  EXPECT_EQ(MarkdownEscaped(":+1:"), "&#58;+1:");
  EXPECT_EQ(MarkdownEscaped("::"), "::");
}

TEST(Report, EveryRowOfATableHasAsManyCellsAsItsHead) {
  for (const Story& story : {ExampleStory(), FailedStory()}) {
    long cells = 0;
    for (const std::string& line : Split(Markdown(story), '\n')) {
      long now = line.starts_with('|') ? std::ranges::count(line, '|') : 0;
      if (cells != 0 && now != 0) {
        EXPECT_EQ(now, cells) << line;
      }
      cells = now;
    }
  }
}

TEST(Report, AHugeBuildStaysWithinWhatGitHubShows) {
  Story story = ExampleStory();
  for (uint32_t i = 8; i < 5000; ++i) {
    story.build.steps.push_back(ExampleStep(i, "[s" + std::to_string(i % 50) + " 1/1] RUN " + std::string(5000, '|'),
                                            "s" + std::to_string(i % 50), history::Fate::kRan, {i - 1}, i, 1));
    story.build.steps.back().why = std::string(5000, '*');
  }
  EXPECT_LT(Markdown(story).size(), 1u << 20);
  EXPECT_THAT(Markdown(story), HasSubstr("more steps"));
}

TEST(Report, PercentsAreOnlyWholeWhenAllIs) {
  EXPECT_EQ(Percent(0.999), "99%");
  EXPECT_EQ(Percent(0.001), "1%");
  EXPECT_EQ(Percent(1), "100%");
  EXPECT_EQ(Bar(0.999, 4), "███░");
  EXPECT_EQ(Bar(0.001, 4), "█░░░");
  EXPECT_EQ(Sparkline({0, 5, 10}, 0, 10), "▁▅█");
  EXPECT_EQ(Shortened("aé", 2), "a…");
}

TEST(Report, SizesAreComparedOnlyWithImagesOfTheSameForm) {
  Story story = ExampleStory();
  EXPECT_EQ(ImagesOf(story)[0].change, "+1.20 MB (+2.7%)");
  story.previous->images[0].compression = "none";
  EXPECT_EQ(ImagesOf(story)[0].change, "");
  story.previous->images[0] = story.build.images[0];
  EXPECT_EQ(ImagesOf(story)[0].change, "same image");
}

TEST(Report, PlatformsOfOneStageAreToldApart) {
  history::Build build;
  build.steps = {ExampleStep(0, "[linux/amd64 build 2/5] RUN make", "build", history::Fate::kRan, {}, 0, 1)};
  auto stages = StagesOf(build);
  ASSERT_THAT(stages, SizeIs(1));
  EXPECT_EQ(stages[0].rows[0].place, "linux/amd64 2/5");
  EXPECT_EQ(stages[0].rows[0].instruction, "RUN make");
}

// A story takes builds of the same project, command and target, and compares with one that completed.
TEST(Report, AStoryComparesWithTheLastCompletedBuildOfTheSame) {
  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "report-");
  ASSERT_TRUE(cache::PrepareRoot(directory.path()));
  FakeClock clock;
  auto job = cache::JobLease::Begin(directory.path(), clock).value();
  history::History history(directory.path(), clock);
  auto add = [&](const std::string& target, history::BuildStatus status) {
    clock.Advance(std::chrono::seconds(1));
    auto recorder =
        history::Recorder::Begin(directory.path(),
                                 {.command = "build", .project = "/app", .target = target, .job = job->id()}, clock)
            .value();
    recorder->Log(0, 1, "one\ntwo\n");
    history::Build build = recorder->header();
    build.status = status;
    build.steps = {ExampleStep(0, "RUN false", "build", history::Fate::kFailed, {}, 0, 1)};
    build.steps[0].has_log = true;
    EXPECT_TRUE(recorder->Finish(build));
    return history.Read(recorder->id()).value();
  };
  using history::BuildStatus;
  auto first = add("", BuildStatus::kCompleted);
  add("", BuildStatus::kFailed);
  add("test", BuildStatus::kCompleted);
  auto now = add("", BuildStatus::kFailed);
  Story story = StoryOf(history, now);
  ASSERT_TRUE(story.previous);
  EXPECT_EQ(story.previous->id, first.id);
  ASSERT_THAT(story.trend, SizeIs(3));
  EXPECT_EQ(story.trend[0].id, first.id);
  EXPECT_EQ(story.trend[2].id, now.id);
  EXPECT_EQ(story.failure_log, "one\ntwo");
}

}  // namespace
}  // namespace varve::report
