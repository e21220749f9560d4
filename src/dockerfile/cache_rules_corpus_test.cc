// The caching rules on real Dockerfiles. Nobody has judged those by hand file by file, so that this
// asserts what tuning by samples led to: how often each rule speaks, so that a change of the rules
// that makes them chatty is seen. VARVE_PRINT_HINTS=RULE (or all) prints what was found.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/strings.h"
#include "dockerfile/cache_rules.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

std::string CorpusDirectory() {
  if (const char* given = std::getenv("VARVE_CORPUS")) return given;
  return std::string(VARVE_SOURCE_DIR) + "/../shared/corpus";
}

void Print(const std::string& name, const Dockerfile& file, const CacheHint& hint) {
  auto lines = Split(file.source, '\n');
  std::string text =
      fmt::format("{}: {}: {} [{}]\n", name, Describe(hint.rule).name, hint.reason, hint.cost.ToString());
  for (const Span& span : hint.spans) {
    text +=
        fmt::format("  {:4}| {}\n", span.start_line, lines[static_cast<size_t>(span.start_line - 1)].substr(0, 120));
  }
  text += "  -> " + hint.remedy + "\n";
  for (const std::string& line : hint.text) text += "     " + line + "\n";
  fputs(text.c_str(), stdout);
}

TEST(CacheRulesCorpus, SpeakSeldomEnoughToBeRead) {
  std::string directory = CorpusDirectory();
  if (!std::filesystem::exists(directory + "/verdicts.jsonl")) {
    GTEST_SKIP() << "no corpus in " << directory << "; set VARVE_CORPUS";
  }
  const char* wanted = std::getenv("VARVE_PRINT_HINTS");
  std::map<std::string, int> files_with;
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    auto text = ReadFile(entry.path());
    ASSERT_TRUE(text);
    auto file = ParseDockerfile(*text);
    if (!file || file->stages.empty()) continue;
    ++files;
    std::map<std::string, int> here;
    for (const CacheHint& hint : CheckCaching(*file, {})) {
      std::string rule(Describe(hint.rule).name);
      ++here[rule];
      if (wanted != nullptr && (rule == wanted || std::string(wanted) == "all")) {
        Print(std::filesystem::relative(entry.path(), directory), *file, hint);
      }
    }
    for (const auto& [rule, count] : here) ++files_with[rule];
  }
  ASSERT_GT(files, 900);
  // Percent of the files. Most are official images: no project of its own, always a tag as base.
  const std::map<std::string, int> limits = {{"MissingCacheMount", 50}, {"UnpinnedBase", 80}};
  for (const auto& [rule, count] : files_with) {
    auto limit = limits.find(rule);
    int percent = limit == limits.end() ? 2 : limit->second;
    EXPECT_LE(count * 100, files * percent) << rule;
    if (wanted != nullptr) fmt::print("{:<26}{:5} of {} files\n", rule, count, files);
  }
}

}  // namespace
}  // namespace varve::dockerfile
