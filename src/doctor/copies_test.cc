// CopiedButNotRead, with a history that is made up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/fd.h"
#include "doctor/diagnose.h"
#include "sys/tempdir.h"

namespace varve::doctor {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kBase = "FROM node:20@sha256:5555555555555555555555555555555555555555555555555555555555555555\n";

class CopiesTest : public testing::Test {
 protected:
  std::vector<Finding> Find(const std::string& dockerfile) {
    Project project{.directory = directory.path()};
    AddFile(project, "Dockerfile", FileKind::kDockerfile, kBase + dockerfile);
    ReadCalls(project);
    DiagnoseOptions options;
    options.use_of_copy = [this](const std::string& folder, const std::string& copy,
                                 const std::string& run) -> std::optional<CopyUse> {
      asked.push_back(folder + "|" + copy + "|" + run);
      auto known = uses.find(run);
      return known == uses.end() ? std::nullopt : std::optional(known->second);
    };
    std::vector<Finding> found = Diagnose(project, options);
    std::erase_if(found, [](const Finding& finding) { return finding.rule != "CopiedButNotRead"; });
    return found;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "copies-");
  std::map<std::string, CopyUse> uses;
  std::vector<std::string> asked;
};

TEST_F(CopiesTest, SaysWhichFilesAStepNeeds) {
  ASSERT_TRUE(WriteFileAtomically(directory.path() + "/package.json", "{}"));
  uses["RUN make deps"] = {.copied = 684, .looked_at = {"/app/package.json"}, .listed = {}};
  auto found = Find("WORKDIR /app\nCOPY . .\nRUN make deps\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].span.start_line, 3);
  EXPECT_EQ(found[0].severity, Severity::kNote);
  EXPECT_THAT(found[0].reason,
              HasSubstr("line 4 last ran here, it looked at 1 of the 684 files that this copies: /app/package.json."));
  EXPECT_THAT(found[0].text, ElementsAre("COPY package.json ./"));
  EXPECT_THAT(asked, ElementsAre("|COPY . .|RUN make deps"));
}

TEST_F(CopiesTest, AStepThatNeedsNoneBelongsAbove) {
  uses["RUN make deps"] = {.copied = 2, .looked_at = {}, .listed = {}};
  auto found = Find("COPY . .\nRUN make deps\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0].reason, HasSubstr("none of the 2 files"));
  EXPECT_EQ(found[0].remedy, "put line 3 above this one");
}

TEST_F(CopiesTest, ANameThatIsListedIsNeededToo) {
  uses["RUN make deps"] = {.copied = 30, .looked_at = {}, .listed = {"/app/src"}};
  auto found = Find("COPY . .\nRUN make deps\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_THAT(found[0].reason, HasSubstr("and at what is in /app/src"));
  EXPECT_THAT(found[0].text, IsEmpty());
}

TEST_F(CopiesTest, WhatReadsMuchStaysWhereItIs) {
  uses["RUN make"] = {.copied = 4, .looked_at = {"/a", "/b"}, .listed = {}};
  uses["RUN make all"] = {
      .copied = 400, .looked_at = {"/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9"}, .listed = {}};
  EXPECT_THAT(Find("COPY . .\nRUN make\nRUN make all\nRUN never ran here\n"), IsEmpty());
}

TEST_F(CopiesTest, OtherStagesFilesAreNoneOfTheContext) {
  EXPECT_THAT(Find("COPY --from=build /out /out\nRUN make\nCOPY . .\n"), IsEmpty());
  EXPECT_THAT(asked, IsEmpty());
}

}  // namespace
}  // namespace varve::doctor
