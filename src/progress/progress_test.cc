#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/json.h"
#include "progress/board.h"
#include "progress/text.h"

namespace varve::progress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

struct Collect final : Writer {
  void Write(std::string_view data) override { text += data; }
  std::string text;
};

std::string Golden(const std::string& name, const std::string& actual) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/progress/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) std::ofstream(path) << actual;
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

class ProgressTest : public ::testing::Test {
 protected:
  void Wait(double seconds) { clock.Advance(Nanos(static_cast<int64_t>(seconds * 1e9))); }

  // A build as users see it: a cached step, two at once, one that fails.
  void Play(Board& board) {
    auto base = board.Add("[base 1/3] FROM docker.io/library/node:20");
    auto copy = board.Add("[base 2/3] COPY package.json .");
    auto run = board.Add("[base 3/3] RUN npm ci", {base, copy});
    auto other = board.Add("[docs 1/1] RUN make docs");
    board.Start(base);
    board.Progress(base, "sha256:abc", 0, 2'000'000, false);
    Wait(0.5);
    board.Progress(base, "sha256:abc", 2'000'000, 2'000'000, true);
    board.Finish(base, {});
    board.Start(copy);
    board.Finish(copy, {.cached = true});
    board.Start(run);
    board.Why(run, "package.json: content changed");
    board.Start(other);
    board.Log(run, 1, "added 10");
    board.Log(other, 1, "docs…\n");
    Wait(1.25);
    board.Log(run, 1, "0 packages\n");
    Wait(12);
    board.Log(run, 2, "npm \x1b[31merr\x1b[0m\n");
    board.Finish(run, {.error = "process \"npm ci\" did not complete successfully: exit code: 1"});
    board.Finish(other, {.cancelled = true});
    board.Warn({.text = "MaintainerDeprecated: use a label (line 3)", .line = 3});
    board.Close();
  }

  FakeClock clock;
  Collect out;
};

TEST_F(ProgressTest, PlainIsTheFieldsLineFormat) {
  Board board(MakePlainDisplay(out, {.header = "building with varve"}), clock);
  Play(board);
  EXPECT_EQ(out.text, Golden("plain.txt", out.text));
  EXPECT_THAT(out.text, HasSubstr("#2 CACHED\n"));
  EXPECT_THAT(out.text, HasSubstr("added 100 packages"));
}

TEST_F(ProgressTest, RawJsonLinesParse) {
  Board board(MakeRawJsonDisplay(out), clock);
  Play(board);
  EXPECT_EQ(out.text, Golden("rawjson.txt", out.text));
  std::istringstream lines(out.text);
  for (std::string line; std::getline(lines, line);) EXPECT_TRUE(Json::Parse(line)) << line;
}

TEST_F(ProgressTest, TtyShowsEveryStepAndTheLastLines) {
  Board board(MakeTtyDisplay(out, {.width = 70, .height = 30, .color = false, .ticking = false}), clock);
  Play(board);
  EXPECT_EQ(out.text, Golden("tty.txt", out.text));
  EXPECT_THAT(out.text, HasSubstr("FINISHED"));
  EXPECT_THAT(out.text, Not(HasSubstr("\x1b[31m")));
}

TEST_F(ProgressTest, ASilentVertexIsLeftForOneThatSpeaks) {
  Board board(MakePlainDisplay(out, {}), clock);
  auto a = board.Add("a"), b = board.Add("b");
  board.Start(a);
  board.Log(a, 1, "from a\n");
  board.Start(b);
  board.Log(b, 1, "from b\n");
  EXPECT_THAT(out.text, Not(HasSubstr("from b")));
  Wait(6);
  board.Log(b, 1, "more\n");
  EXPECT_THAT(out.text, HasSubstr("#1 ...\n\n#2 b\n#2 0.000 from b\n#2 6.000 more\n"));
  board.Close();
}

TEST_F(ProgressTest, TextOfALogCannotForgeNumbers) {
  Board board(MakePlainDisplay(out, {}), clock);
  auto a = board.Add("a");
  board.Start(a);
  board.Log(a, 1, "x {} #{}\n");
  EXPECT_THAT(out.text, HasSubstr("#1 0.000 x {} #{}\n"));
}

TEST(Text, LogsLoseWhatMovesTheCursor) {
  EXPECT_EQ(CleanLine("10%\r100%\r"), "100%");
  EXPECT_EQ(CleanLine("\x1b[2K\x1b[1;31mred\x1b[0m\ttext\x07"), "red text");
  EXPECT_THAT(LastLines("a\nb\nc\n", 2), ElementsAre("b", "c"));
}

TEST(Text, OnlyWarningsOfChecksNameTheCommandOfChecks) {
  EXPECT_EQ(WarningBlock({{.text = "cache c is not used: refused"}}),
            "\n 1 warning found:\n - cache c is not used: refused\n");
  EXPECT_THAT(WarningBlock({{.text = "cache c is not used"}, {.text = "Rule: text (line 3)", .line = 3}}),
              HasSubstr("2 warnings found (see them all with --call=check):\n"));
}

TEST(Text, WarningsThatAreOfNoCheckSayWhatToDo) {
  EXPECT_EQ(WarningBlock({{.text = "cache c is not used: refused", .detail = "log in"},
                          {.text = "Rule: text (line 3)", .detail = "what the rule means", .line = 3}}),
            "\n 2 warnings found (see them all with --call=check):\n - cache c is not used: refused\n"
            "   hint: log in\n - Rule: text (line 3)\n");
}

TEST(Text, FitCountsCharactersNotBytes) {
  EXPECT_EQ(Fit("ééé", 3), "ééé");
  EXPECT_EQ(Fit("éééé", 3), "éé…");
}

TEST(Text, SizesAreDecimal) {
  EXPECT_EQ(FormatSize(999), "999B");
  EXPECT_EQ(FormatSize(1'500'000), "1.50MB");
}

}  // namespace
}  // namespace varve::progress
