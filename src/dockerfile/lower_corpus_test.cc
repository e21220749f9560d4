// Real Dockerfiles against the verdicts of BuildKit's front end (corpus README). The corpus is not
// part of the repository: VARVE_CORPUS names its directory, "../shared/corpus" beside the source is
// the default.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "dockerfile/lower.h"
#include "dockerfile/lower_test.h"

namespace varve::dockerfile {
namespace {

std::string CorpusDirectory() {
  if (const char* given = std::getenv("VARVE_CORPUS")) return given;
  return std::string(VARVE_SOURCE_DIR) + "/../shared/corpus";
}

std::vector<Json> Verdicts(const std::string& directory) {
  std::vector<Json> out;
  auto text = ReadFile(directory + "/verdicts.jsonl");
  if (!text) return out;
  for (const std::string& line : Split(*text, '\n')) {
    if (line.empty()) continue;
    auto json = Json::Parse(line);
    if (json) out.push_back(std::move(*json));
  }
  return out;
}

// What was said of one file, in a form in which two can be compared.
struct Said {
  std::string error;  // first line; empty: accepted
  std::string config;
  size_t stages = 0;
  size_t execs = 0;  // different RUN steps and file steps of the graph
  size_t files = 0;
  std::multiset<std::string> warnings;
};

std::string Canonical(const Json& json) { return json.DumpCanonical(); }

Said Expected(const Json& verdict) {
  Said out;
  for (const char* step : {"Parse", "Instr", "LLB"}) {
    std::string text = verdict.GetString(step, "OK");
    if (text == "OK") continue;
    out.error = text.starts_with("ERR ") ? text.substr(4) : text;
    out.error = out.error.substr(0, out.error.find('\n'));
    break;
  }
  out.stages = static_cast<size_t>(verdict.GetInt("Stages"));
  if (const Json* kinds = verdict.Find("OpKinds")) {
    out.execs = static_cast<size_t>(kinds->GetInt("Exec"));
    out.files = static_cast<size_t>(kinds->GetInt("File"));
  }
  auto config = Json::Parse(verdict.GetString("Image", "{}"));
  if (config) out.config = Canonical(*config);
  for (const Json& warning : verdict.GetArray("Warn")) {
    out.warnings.insert(
        fmt::format("{}: {} (line {})", warning.GetString("Rule"), warning.GetString("Msg"), warning.GetInt("Line")));
  }
  return out;
}

// Equal steps on equal inputs are one operation in LLB, and two steps with one key here. The images
// of the corpus are empty, so for BuildKit they are all the same.
void CountSteps(const graph::Graph& graph, Said* said) {
  std::vector<std::string> keys;
  std::set<std::string> execs, files;
  for (const graph::Step& step : graph.steps) {
    std::string key = "image";
    if (!std::holds_alternative<graph::ImageSource>(step.op)) {
      key = graph::CanonicalOp(step).DumpCanonical();
      for (const graph::Ref& input : step.inputs) key += keys[input.step];
      key = Digest::Of(key).Hex();
    }
    keys.push_back(key);
    if (std::holds_alternative<graph::Exec>(step.op)) execs.insert(key);
    if (std::holds_alternative<graph::FileOp>(step.op)) files.insert(key);
  }
  said->execs = execs.size();
  said->files = files.size();
}

Said Actual(const std::string& text) {
  Said out;
  auto file = ParseDockerfile(text);
  if (!file) {
    out.error = file.error().error.message;
    return out;
  }
  out.stages = file->stages.size();
  FakeImages images;
  std::vector<Warning> warnings;
  LowerOptions options;
  options.target_platform = {.os = "linux", .architecture = "amd64"};
  options.build_platform = options.target_platform;
  options.entitlements = {"network.host", "security.insecure", "device"};
  auto lowered = Lower(*file, options, images, &warnings);
  for (const Warning& warning : warnings) out.warnings.insert(warning.Short());
  if (!lowered) {
    out.error = lowered.error().error.message;
    return out;
  }
  CountSteps(lowered->graph, &out);
  const Json* config = lowered->config.document().Find("config");
  out.config = Canonical(config == nullptr ? Json::EmptyObject() : *config);
  return out;
}

// The wording of what is wrong with a reference is the oci module's.
bool SameError(const std::string& expected, const std::string& actual) {
  if (!expected.starts_with("failed to parse stage name ")) return expected == actual;
  return actual.starts_with(expected.substr(0, expected.find("\": ") + 3));
}

TEST(LowerCorpus, EveryFileIsJudgedAsByBuildKit) {
  std::string directory = CorpusDirectory();
  std::vector<Json> verdicts = Verdicts(directory);
  if (verdicts.empty()) GTEST_SKIP() << "no corpus in " << directory << "; set VARVE_CORPUS";
  size_t files = 0;
  for (const Json& verdict : verdicts) {
    std::string name = verdict.GetString("File");
    auto text = ReadFile(directory + "/" + name);
    ASSERT_TRUE(text.has_value()) << name;
    ++files;
    SCOPED_TRACE(name);
    Said expected = Expected(verdict);
    Said actual = Actual(*text);
    EXPECT_TRUE(SameError(expected.error, actual.error))
        << "BuildKit: " << expected.error << "\nvarve:    " << actual.error;
    if (!expected.error.empty() || !actual.error.empty()) continue;
    EXPECT_EQ(expected.stages, actual.stages);
    EXPECT_EQ(expected.config, actual.config);
    EXPECT_EQ(expected.execs, actual.execs);
    EXPECT_EQ(expected.files, actual.files);
    std::vector<std::string> missing, extra;
    std::ranges::set_difference(expected.warnings, actual.warnings, std::back_inserter(missing));
    std::ranges::set_difference(actual.warnings, expected.warnings, std::back_inserter(extra));
    EXPECT_TRUE(missing.empty()) << "missing: " << Join(missing, "\n         ");
    EXPECT_TRUE(extra.empty()) << "extra: " << Join(extra, "\n       ");
  }
  EXPECT_GT(files, 900u);
}

// Parsing, checking and lowering as a build does it, images answered from memory. A test is no
// place to insist on the goal of 2,000 files a second: it says how many there were, in time on a
// core.
TEST(LowerCorpus, Rate) {
  std::string directory = CorpusDirectory();
  std::vector<std::string> texts;
  for (const Json& verdict : Verdicts(directory)) {
    auto text = ReadFile(directory + "/" + verdict.GetString("File"));
    if (text) texts.push_back(std::move(*text));
  }
  if (texts.empty()) GTEST_SKIP() << "no corpus in " << directory << "; set VARVE_CORPUS";
  LowerOptions options;
  options.target_platform = {.os = "linux", .architecture = "amd64"};
  options.build_platform = options.target_platform;
  size_t lowered = 0;
  std::clock_t begin = std::clock();
  for (const std::string& text : texts) {
    auto file = ParseDockerfile(text);
    if (!file) continue;
    FakeImages images;
    if (Lower(*file, options, images)) ++lowered;
  }
  double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  EXPECT_GT(lowered, 800u);
  fmt::print("{} files, {:.0f} a second\n", texts.size(), static_cast<double>(texts.size()) / seconds);
}

}  // namespace
}  // namespace varve::dockerfile
