#include "cli/history_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job/build_history.h"
#include "job/why_report.h"

namespace varve::cli {
namespace {

using engine::Reason;
using history::BuildStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kSecond = 1'000'000'000;
constexpr Timestamp kNow{1'700'000'000 * kSecond};

history::Summary Build(const std::string& id, BuildStatus status, int64_t age, int64_t duration) {
  return {.id = id,
          .name = "app",
          .status = status,
          .started = {kNow.nanos - age * kSecond},
          .duration = Nanos(duration * kSecond)};
}

std::string Ids(const std::vector<std::string>& filters) {
  std::vector<history::Summary> builds = {Build("aa", BuildStatus::kRunning, 10, 10),
                                          Build("ab", BuildStatus::kFailed, 3600, 90),
                                          Build("bb", BuildStatus::kCompleted, 200'000, 5)};
  auto found = Filtered(builds, filters, kNow);
  if (!found) return found.error().message;
  std::string ids;
  for (const history::Summary& build : *found) ids += build.id + " ";
  return ids;
}

TEST(HistoryFilters, ChooseByWhatTheyName) {
  EXPECT_EQ(Ids({}), "aa ab bb ");
  EXPECT_EQ(Ids({"status=error"}), "ab ");
  EXPECT_EQ(Ids({"status!=error", "ref=b"}), "bb ");
  EXPECT_EQ(Ids({"duration>1m"}), "ab ");
  EXPECT_EQ(Ids({"duration<=10s"}), "aa bb ");
  EXPECT_EQ(Ids({"startedAt>2h"}), "aa ab ");  // later than two hours ago
  EXPECT_EQ(Ids({"startedAt<2023-11-13T00:00:00Z"}), "bb ");
  EXPECT_EQ(Ids({"completedAt<1d"}), "bb ");
  EXPECT_EQ(Ids({"name=ap"}), "aa ab bb ");
}

TEST(HistoryFilters, AreReadStrictly) {
  EXPECT_THAT(Ids({"status=broken"}), HasSubstr("broken"));
  EXPECT_THAT(Ids({"size>1"}), HasSubstr("no key \"size\""));
  EXPECT_THAT(Ids({"status"}), HasSubstr("KEY=VALUE"));
  EXPECT_THAT(Ids({"duration=>1m"}), HasSubstr("no operator"));
  EXPECT_THAT(Ids({"startedAt>yesterday"}), HasSubstr("yesterday"));
  EXPECT_THAT(Ids({"ref<b"}), HasSubstr("= and !="));
}

TEST(ShownArguments, HideWhatLooksSecret) {
  EXPECT_THAT(job::ShownArguments({"build", "--build-arg", "NPM_TOKEN=abc", "--build-arg=API_KEY=abc",
                                   "--build-arg=V=1", "-t", "app:1", "--cache-to=type=s3,secret_access_key=x",
                                   "--cache-from", "type=gha,token=ab,ghtoken=cd,scope=s", "."}),
              ElementsAre("build", "--build-arg", "NPM_TOKEN=(hidden)", "--build-arg=API_KEY=(hidden)",
                          "--build-arg=V=1", "-t", "app:1", "--cache-to=type=s3,secret_access_key=(hidden)",
                          "--cache-from", "type=gha,token=(hidden),ghtoken=(hidden),scope=s", "."));
}

TEST(WhyReport, NamesARootOnceAndWhatFollowsBelowIt) {
  Reason file{Reason::Kind::kFile, "a.c: content changed", "context"};
  Reason parent{Reason::Kind::kParent, "because COPY . . ran"};
  parent.step = "COPY . .";
  Reason stage{Reason::Kind::kFile, "out: content changed in stage b", "stage b"};
  stage.step = "RUN make";
  Reason argument{Reason::Kind::kEnvironment, "ARG V was \"1\", is \"2\"", "V"};
  argument.hint = "would have hit";
  EXPECT_EQ(job::WhyReport({{"COPY . .", {file}},
                            {"RUN make", {parent}},
                            {"COPY --from=b", {stage, parent}},
                            {"RUN own", {argument, parent}}}),
            "  COPY . .: a.c: content changed\n"
            "    then RUN make\n"
            "    then COPY --from=b: out: content changed in stage b; and 1 more\n"
            "  RUN own: ARG V was \"1\", is \"2\"; and 1 more\n"
            "    hint: would have hit\n");
}

TEST(WhyReport, ACacheThatDidNotAnswerIsNoReasonOfItsOwnForWhatFollows) {
  Reason tier{Reason::Kind::kTier, "cache local:c did not answer: it is down", "local:c"};
  Reason file{Reason::Kind::kFile, "a.c: content changed", "context"};
  Reason parent{Reason::Kind::kParent, "because COPY . . ran"};
  parent.step = "COPY . .";
  EXPECT_EQ(job::WhyReport({{"COPY . .", {file, tier}}, {"RUN make", {parent, tier}}, {"RUN other", {tier}}}),
            "  COPY . .: a.c: content changed; and 1 more\n"
            "    then RUN make\n"
            "  RUN other: cache local:c did not answer: it is down\n");
}

TEST(WhyReport, AStepWhoseCauseIsNotListedIsItsOwnRoot) {
  Reason parent{Reason::Kind::kParent, "because RUN gone ran"};
  parent.step = "RUN gone";
  EXPECT_EQ(job::WhyReport({{"RUN a", {parent}}}), "  RUN a: because RUN gone ran\n");
  EXPECT_EQ(job::WhyReport({}), "");
}

TEST(WhyReport, AFirstBuildIsOneLine) {
  Reason first{Reason::Kind::kFirstTime, "never built here"};
  std::vector<job::WhyStep> steps(5, {"RUN x", {first}});
  EXPECT_EQ(job::WhyReport(steps), "  all 5 steps: never built here\n");
}

}  // namespace
}  // namespace varve::cli
