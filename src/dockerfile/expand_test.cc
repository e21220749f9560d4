#include "dockerfile/expand.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::dockerfile {
namespace {

using Environment = std::map<std::string, std::string, std::less<>>;

GetVariable In(const Environment& environment) {
  return [&environment](std::string_view name) -> std::optional<std::string> {
    auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  };
}

std::string Text(std::string_view word, const Environment& environment, const ExpandOptions& options = {}) {
  auto expansion = ProcessWord(word, In(environment), options);
  return expansion ? expansion->text : "error: " + expansion.error().message;
}

std::vector<Json> ReadLines(const std::string& path) {
  auto text = ReadFile(path);
  EXPECT_TRUE(text) << text.error().ToString();
  std::vector<Json> lines;
  for (const std::string& line : Split(text.value_or(""), '\n')) {
    if (line.empty()) continue;
    auto json = Json::Parse(line);
    EXPECT_TRUE(json) << line;
    if (json) lines.push_back(std::move(*json));
  }
  return lines;
}

Environment EnvironmentOf(const Json& object) {
  Environment environment;
  for (const auto& [name, value] : object.as_object()) environment[name] = value.as_string();
  return environment;
}

ExpandOptions OptionsOf(const Json& record) {
  return {.escape = record.GetString("escape", "\\")[0],
          .raw_quotes = record.GetBool("rawQuotes"),
          .raw_escapes = record.GetBool("rawEscapes"),
          .skip_unset = record.GetBool("skipUnsetEnv"),
          .skip_quotes = record.GetBool("skipProcessQuotes")};
}

std::vector<std::string> List(const std::set<std::string>& names) { return {names.begin(), names.end()}; }

// expand.jsonl: words of ours, results recorded from the reference implementation (moby/buildkit
// 73ed6825c, frontend/dockerfile/shell). The first line holds the environments.
TEST(Expand, RecordedWordsGiveTheReferencesResults) {
  std::vector<Json> lines = ReadLines(std::string(VARVE_GOLDEN_DIR) + "/dockerfile/expand.jsonl");
  ASSERT_EQ(lines.size(), 641u);
  const Json::Array& environments = lines[0].GetArray("environments");
  for (size_t i = 1; i < lines.size(); ++i) {
    const Json& record = lines[i];
    SCOPED_TRACE(record.Dump());
    Environment environment = EnvironmentOf(environments[static_cast<size_t>(record.GetInt("env"))]);
    auto got = ProcessWord(record.GetString("word"), In(environment), OptionsOf(record));
    if (record.Find("error") != nullptr) {
      ASSERT_FALSE(got);
      EXPECT_EQ(got.error().message, record.GetString("error"));
      continue;
    }
    ASSERT_TRUE(got) << got.error().message;
    EXPECT_EQ(got->text, record.GetString("result"));
    EXPECT_EQ(got->words, record.GetStrings("words"));
    EXPECT_EQ(List(got->matched), record.GetStrings("matched"));
    EXPECT_EQ(List(got->unmatched), record.GetStrings("unmatched"));
  }
}

// The word that a message quotes.
std::string WordOfError(const std::string& message) {
  const std::string head = "failed to process \"";
  EXPECT_TRUE(message.starts_with(head));
  std::string word;
  for (size_t at = head.size(); at < message.size() && message[at] != '"'; ++at) {
    if (message[at] == '\\') ++at;
    word += message[at];
  }
  return word;
}

// shell-lex.jsonl was recorded with the result in the place of the word. Of failures the message
// still quotes the word, and the message is the result: these are checked in full. Of successes the
// word is lost where it equals the result; what is left to check is that a result without special
// characters is left alone. A record that still has its word is checked in full.
void CheckVectors(const std::string& path) {
  std::vector<Json> records = ReadLines(path);
  size_t failures = 0;
  for (const Json& record : records) {
    SCOPED_TRACE(path + ": " + record.Dump());
    Environment environment = EnvironmentOf(*record.Find("env"));
    std::string error = record.GetString("error");
    if (!error.empty()) {
      ++failures;
      auto got = ProcessWord(WordOfError(error), In(environment), OptionsOf(record));
      ASSERT_FALSE(got);
      EXPECT_EQ(got.error().message, error);
      continue;
    }
    std::string word = record.GetString("word"), result = record.GetString("result");
    bool lost = word == result && result.find_first_of("$'\"\\`") != std::string::npos;
    if (lost) continue;
    EXPECT_EQ(Text(word, environment, OptionsOf(record)), result);
  }
  EXPECT_GE(records.size(), 374u);
  EXPECT_GT(failures, 50u);
}

TEST(Expand, SharedVectorsHold) { CheckVectors(std::string(VARVE_GOLDEN_DIR) + "/dockerfile/shell-lex.jsonl"); }

// The vectors as they are shared, which may have grown: VARVE_VECTORS names their directory.
TEST(Expand, VectorsBesideTheSourceHold) {
  const char* given = std::getenv("VARVE_VECTORS");
  std::string directory = given ? given : std::string(VARVE_SOURCE_DIR) + "/../shared/vectors";
  std::string path = directory + "/shell-lex.jsonl";
  if (access(path.c_str(), R_OK) != 0) GTEST_SKIP() << "no " << path << "; set VARVE_VECTORS";
  CheckVectors(path);
}

TEST(Expand, UnsetNamesAreEmptyAndReported) {
  auto got = ProcessWord("$A-${B}-${C:-x}", In({{"A", "1"}}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->text, "1--x");
  EXPECT_EQ(List(got->matched), std::vector<std::string>{"A"});
  EXPECT_EQ(List(got->unmatched), (std::vector<std::string>{"B", "C"}));
}

TEST(Expand, NamesMayHaveLettersOfAnyScript) {
  EXPECT_EQ(Text("$größe.$Δ", {{"größe", "3"}, {"Δ", "4"}}), "3.4");
  EXPECT_EQ(Text("$a–b", {{"a", "1"}}), "1–b") << "a dash is no letter";
}

TEST(Expand, BacktickReplacesTheEscapeCharacter) {
  EXPECT_EQ(Text("C:\\dir\\`$A", {{"A", "1"}}, {.escape = '`'}), "C:\\dir\\$A");
}

TEST(Expand, BytesThatAreNotUtf8PassThrough) {
  EXPECT_EQ(Text("\xff$A\xc3", {{"A", "\xfe"}}), "\xff\xfe\xc3");
  EXPECT_EQ(Text("${A#?}", {{"A", "\xff\xfe"}}), "\xfe") << "a bad byte is one character";
}

TEST(Expand, SubstitutionsNestToADepthAndNoFurther) {
  auto nested = [](int depth) {
    std::string word = "x";
    for (int i = 0; i < depth; ++i) word = "${U:-" + word + "}";
    return word;
  };
  EXPECT_EQ(Text(nested(99), {}), "x");
  EXPECT_TRUE(Text(nested(100), {}).ends_with("substitutions are nested more than 100 deep"));
  EXPECT_FALSE(ProcessWord(nested(10000), NoVariables()));
}

TEST(Expand, HugeResultsAreRefused) {
  Environment environment{{"A", std::string(60000, 'a')}};
  std::string word = "${A//a/" + std::string(5000, 'b') + "}";
  auto got = ProcessWord(word, In(environment));
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error().message.ends_with("the result has more than 64 MiB"));
}

TEST(Expand, PatternsThatWouldTakeForeverAreRefused) {
  std::string pattern;
  for (int i = 0; i < 30000; ++i) pattern += "*a";
  auto got = ProcessWord("${A#" + pattern + "b}", In({{"A", std::string(60000, 'a')}}));
  ASSERT_FALSE(got);
  EXPECT_TRUE(got.error().message.ends_with("too long to match"));
}

TEST(Expand, WildcardsStopAtLineEnds) { EXPECT_EQ(Text("${A##*x}", {{"A", "axb\nxc"}}), "b\nxc"); }

}  // namespace
}  // namespace varve::dockerfile
