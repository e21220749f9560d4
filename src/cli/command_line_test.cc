#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::cli {
namespace {

using ::testing::HasSubstr;

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

}  // namespace
}  // namespace varve::cli
