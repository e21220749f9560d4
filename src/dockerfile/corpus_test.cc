// The parser against verdicts of the reference implementation on real Dockerfiles. The corpus is
// not part of this repository: VARVE_CORPUS names its directory, or it lies beside the checkout.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "dockerfile/lint.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

std::string CorpusDirectory() {
  if (const char* given = std::getenv("VARVE_CORPUS")) return given;
  return std::string(VARVE_SOURCE_DIR) + "/../shared/corpus";
}

// The rules of CheckFile. lower_corpus_test.cc compares all of them.
bool IsOfText(const std::string& rule) {
  return rule == "StageNameCasing" || rule == "FromAsCasing" || rule == "NoEmptyContinuation" ||
         rule == "ConsistentInstructionCasing" || rule == "DuplicateStageName" || rule == "ReservedStageName" ||
         rule == "MaintainerDeprecated";
}

std::multiset<std::string> WarningsOf(const Dockerfile& file) {
  auto options = FileCheckOptions(file.directives, std::nullopt);
  EXPECT_TRUE(options);
  Linter linter(options ? *options : CheckOptions{});
  CheckFile(file, linter);
  std::multiset<std::string> out;
  for (const Warning& warning : linter.warnings()) out.insert(warning.Short());
  return out;
}

std::multiset<std::string> ExpectedWarnings(const Json& verdict) {
  std::multiset<std::string> out;
  for (const Json& warning : verdict.GetArray("Warn")) {
    std::string rule = warning.GetString("Rule");
    if (!IsOfText(rule)) continue;
    out.insert(fmt::format("{}: {} (line {})", rule, warning.GetString("Msg"), warning.GetInt("Line")));
  }
  return out;
}

TEST(Corpus, RealDockerfilesGetTheReferencesVerdict) {
  std::string directory = CorpusDirectory();
  if (!std::filesystem::exists(directory + "/verdicts.jsonl")) {
    GTEST_SKIP() << "no corpus in " << directory << "; set VARVE_CORPUS to compare with it";
  }
  auto verdicts = ReadFile(directory + "/verdicts.jsonl");
  ASSERT_TRUE(verdicts);
  int files = 0, accepted = 0;
  size_t warnings = 0;
  for (const std::string& line : Split(*verdicts, '\n')) {
    if (line.empty()) continue;
    auto verdict = Json::Parse(line);
    ASSERT_TRUE(verdict);
    std::string name = verdict->GetString("File");
    SCOPED_TRACE(name);
    auto text = ReadFile(directory + "/" + name);
    ASSERT_TRUE(text) << text.error().ToString();
    ++files;
    auto file = ParseDockerfile(*text);
    std::string expected = verdict->GetString(verdict->GetString("Parse") == "OK" ? "Instr" : "Parse");
    if (expected != "OK") {
      ASSERT_FALSE(file);
      EXPECT_EQ("ERR " + file.error().error.message, expected);
      continue;
    }
    ASSERT_TRUE(file) << file.error().error.message;
    ++accepted;
    EXPECT_EQ(static_cast<int64_t>(file->stages.size()), verdict->GetInt("Stages"));
    size_t instructions = file->global_args.size() + file->stages.size();
    for (const Stage& stage : file->stages) instructions += stage.instructions.size();
    EXPECT_EQ(static_cast<int64_t>(instructions), verdict->GetInt("Instructions"));
    std::multiset<std::string> want = ExpectedWarnings(*verdict);
    EXPECT_EQ(WarningsOf(*file), want);
    warnings += want.size();
  }
  RecordProperty("files", files);
  EXPECT_EQ(files, 913);
  EXPECT_EQ(accepted, 911);
  EXPECT_EQ(warnings, 132u);
}

}  // namespace
}  // namespace varve::dockerfile
