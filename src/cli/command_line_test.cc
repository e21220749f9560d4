#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/strings.h"
#include "cli/named_flags.h"

namespace varve::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Result<CommandLine> Parse(std::vector<std::string> words) {
  words.insert(words.begin(), "varve");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data());
}

TEST(CommandLine, RootIsAcceptedBeforeAndAfterTheSubcommand) {
  EXPECT_EQ(Parse({"--root", "/r", "build", "."})->global.root, "/r");
  EXPECT_EQ(Parse({"build", "--root", "/r", "."})->global.root, "/r");
}

bool MayName(std::vector<std::string> words, std::string_view names) {
  words.insert(words.begin(), "varve");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return NamedWords(static_cast<int>(argv.size()), argv.data()).MayName(names);
}

TEST(NamedWords, TellWhichFlagsALineMayHave) {
  EXPECT_TRUE(MayName({"build", "--file", "x"}, "-f,--file"));
  EXPECT_TRUE(MayName({"build", "--file=x"}, "-f,--file"));
  EXPECT_TRUE(MayName({"build", "-fx"}, "-f,--file"));
  EXPECT_TRUE(MayName({"build", "-qf", "x"}, "-f,--file"));
  EXPECT_FALSE(MayName({"build", "--files", "file", "f"}, "-f,--file"));
  EXPECT_TRUE(MayName({"build", "--no-trace"}, "--trace,!--no-trace"));
  EXPECT_TRUE(MayName({"build", "--fail-on-cache-miss=a"}, "--fail-on-cache-miss{*}"));
  EXPECT_FALSE(MayName({"build"}, "--fail-on-cache-miss{*}"));
  EXPECT_TRUE(MayName({"build"}, "context"));
}

// Each flag alone, so that only it is defined.
TEST(CommandLine, AFlagThatIsNotNamedTakesNothingFromOneThatIs) {
  for (std::vector<std::string> words :
       std::vector<std::vector<std::string>>{{"build", "--label", "--push", "."},  // a value that looks like a flag
                                             {"build", "-ttag", "."},
                                             {"build", "--quiet", "."},
                                             {"build", "-qt", "tag", "."},
                                             {"b", "-f", "Dockerfile", "."},
                                             {"plan", "--target=x", "."},
                                             {"verify", "--build-arg", "A=1", "."}}) {
    EXPECT_TRUE(Parse(words)) << words[1] << ": " << Parse(words).error().message;
  }
}

TEST(CommandLine, FlagsWithAVariableTakeItsValueWhereTheLineDoesNotNameThem) {
  ASSERT_EQ(setenv("VARVE_TRACE_SHADOW", "x", 1), 0);
  auto line = Parse({"build", "."});
  unsetenv("VARVE_TRACE_SHADOW");
  ASSERT_FALSE(line);
  EXPECT_THAT(line.error().message, HasSubstr("--trace-shadow"));
}

TEST(CommandLine, AnUnknownFlagIsSuggested) {
  Error error = Parse({"build", "--no-cach", "."}).error();
  EXPECT_EQ(error.message, "unknown flag --no-cach");
  EXPECT_EQ(error.hint, "did you mean --no-cache?");
}

TEST(CommandLine, AnUnknownCommandIsSuggested) {
  Error error = Parse({"biuld", "."}).error();
  EXPECT_EQ(error.message, "unknown command \"biuld\"");
  EXPECT_EQ(error.hint, "did you mean build?");
}

TEST(CommandLine, AnUnknownSubcommandOfACommandIsSuggested) {
  Error error = Parse({"history", "lst"}).error();
  EXPECT_EQ(error.message, "unknown command \"lst\"");
  EXPECT_EQ(error.hint, "did you mean ls?");
  EXPECT_EQ(Parse({"history", "prometheus"}).error().hint, "varve history --help lists the commands");
  EXPECT_EQ(Parse({"history"}).error().hint, "see varve history --help");
}

TEST(CommandLine, FlagsWhoseGrammarIsWrongAreUsageErrors) {
  EXPECT_THAT(Parse({"build", "--ulimit", "nofil=1", "."}).error().message, HasSubstr("nofile"));
}

TEST(CommandLine, NothingPrintsTheCommands) {
  auto line = Parse({});
  EXPECT_FALSE(line->command);
  EXPECT_THAT(line->message, HasSubstr("build"));
}

TEST(CommandLine, HelpOfACommandIsItsOwn) {
  EXPECT_THAT(Parse({"build", "--help"})->message, HasSubstr("--build-arg"));
  EXPECT_THAT(Parse({"build", "--help"})->message, HasSubstr("varve build"));
}

TEST(CommandLine, HelpFitsATerminalAndReadsLikeText) {
  const std::string help = Parse({"build", "--help"})->message;
  for (const std::string& line : Split(help, '\n')) EXPECT_LE(line.size(), 104u) << line;  // "…" has three bytes
  for (std::string_view part : {"\nCache:\n", "\nRUN steps:\n", "\n  -q, --quiet   ", "\n  --build-arg VALUE...   ",
                                "\n  --trace, --no-trace  ", "(or $VARVE_TRACE)"}) {
    EXPECT_THAT(help, HasSubstr(std::string(part)));
  }
  for (std::string_view part : {" TEXT", "{", "\n\n\n"}) EXPECT_THAT(help, Not(HasSubstr(std::string(part))));
  // docker compose's commands are known, and not offered.
  EXPECT_THAT(Parse({"compose", "--help"})->message, AllOf(HasSubstr("\n  build  "), Not(HasSubstr("\n  up  "))));
}

}  // namespace
}  // namespace varve::cli
