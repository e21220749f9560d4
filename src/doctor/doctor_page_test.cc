// doc/doctor.md says of every rule what it finds and what it does not. This takes the examples from
// the page: of a section, the files marked "bad" are one project, in which the rule of the section
// speaks and no other; those marked "good" are one in which none does.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "doctor/diagnose.h"

namespace varve::doctor {
namespace {

using Files = std::map<std::string, std::string>;
using Examples = std::map<std::pair<std::string, bool>, Files>;  // by rule, bad

// Rules whose examples are on doc/checks.md, which checks_page_test reads.
const std::set<std::string> kOfChecks = {"InstallBelowCopyAll",  "MissingCacheMount", "PackageListLeftInLayer",
                                         "UncheckedDownload",    "UnpinnedBase",      "VolatileArgTooEarly",
                                         "InlineCache",          "NoDockerignore",    "DockerignoreLetsIn",
                                         "SecretsUsedInArgOrEnv"};

// Rules about builds that ran on this machine: copies_test.
const std::set<std::string> kOfHistory = {"CopiedButNotRead"};

Examples ReadPage() {
  auto page = ReadFile(std::string(VARVE_SOURCE_DIR) + "/doc/doctor.md");
  EXPECT_TRUE(page);
  Examples out;
  std::string rule;
  std::string* body = nullptr;
  for (const std::string& line : Split(page ? *page : "", '\n')) {
    if (body != nullptr && line.starts_with("```")) {
      body = nullptr;
    } else if (body != nullptr) {
      *body += ReplaceAll(line, "sha256:…", "sha256:" + std::string(64, '5')) + "\n";
    } else if (line.starts_with("## ")) {
      rule = line.substr(3);
    } else if (line.starts_with("```")) {
      auto words = Split(line, ' ');
      if (words.size() == 3) body = &out[{rule, words[1] == "bad"}][words[2]];
    }
  }
  return out;
}

std::set<std::string> RulesOf(const Files& files) {
  Project project;
  for (const auto& [path, text] : files) {
    EXPECT_TRUE(KindOf(path)) << path;
    AddFile(project, path, KindOf(path).value_or(FileKind::kShell), text);
  }
  ReadCalls(project);
  std::set<std::string> out;
  for (const Finding& finding : Diagnose(project, {})) {
    out.insert(finding.rule);
    EXPECT_FALSE(finding.reason.empty());
    EXPECT_FALSE(finding.remedy.empty());
  }
  return out;
}

TEST(DoctorPage, ExamplesDoWhatThePageSays) {
  for (const auto& [example, files] : ReadPage()) {
    const auto& [rule, bad] = example;
    SCOPED_TRACE(rule + (bad ? " bad" : " good"));
    EXPECT_EQ(RulesOf(files), bad ? std::set<std::string>{rule} : std::set<std::string>());
  }
}

TEST(DoctorPage, HasABadAndAGoodExampleOfEveryRule) {
  std::set<std::pair<std::string, bool>> shown, wanted;
  for (const auto& [example, files] : ReadPage()) shown.insert(example);
  for (const RuleText& rule : Rules()) {
    if (kOfChecks.contains(std::string(rule.name)) || kOfHistory.contains(std::string(rule.name))) continue;
    for (bool bad : {false, true}) wanted.emplace(rule.name, bad);
  }
  EXPECT_EQ(shown, wanted);
}

}  // namespace
}  // namespace varve::doctor
