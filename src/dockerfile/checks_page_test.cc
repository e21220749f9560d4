// doc/checks.md says of every rule what it finds and what it does not. This takes the examples from
// the page: the bad ones make the rule of their section speak and no other, the good ones none.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "dockerfile/cache_rules.h"
#include "dockerfile/lower_test.h"
#include "tree/pattern.h"

namespace varve::dockerfile {
namespace {

struct Example {
  std::string rule;  // the section
  bool is_hint = false;
  bool bad = false;
  std::map<std::string, std::string> attributes;  // of the fence: context=.git,src
  std::string text;
  std::string dockerignore;  // of the section
  int line = 0;
};

std::vector<Example> ReadPage() {
  auto page = ReadFile(std::string(VARVE_SOURCE_DIR) + "/doc/checks.md");
  EXPECT_TRUE(page);
  std::vector<Example> out;
  Example next;
  std::string* body = nullptr;
  int line = 0;
  for (const std::string& text : Split(page ? *page : "", '\n')) {
    ++line;
    if (body != nullptr) {
      if (text.starts_with("```")) {
        if (body == &next.text) out.push_back(next);
        body = nullptr;
      } else {
        *body += text + "\n";
      }
    } else if (text.starts_with("# ")) {
      next.is_hint = text == "# Hints";
    } else if (text.starts_with("## ")) {
      next = {.rule = text.substr(3), .is_hint = next.is_hint};
    } else if (text == "```dockerignore") {
      body = &next.dockerignore;
    } else if (text.starts_with("```dockerfile ")) {
      auto words = Split(text, ' ');
      next.bad = words[1] == "bad";
      next.attributes.clear();
      for (size_t i = 2; i < words.size(); ++i) {
        size_t equals = words[i].find('=');
        next.attributes[words[i].substr(0, equals)] = words[i].substr(equals + 1);
      }
      next.text.clear();
      next.line = line;
      body = &next.text;
    }
  }
  return out;
}

class PageContext final : public ContextFacts {
 public:
  explicit PageContext(const Example& example) : example_(example) {}
  std::string IgnoreFile() const override {
    auto it = example_.attributes.find("ignore");
    return it == example_.attributes.end() ? "" : it->second;
  }
  std::vector<Entry> List(const std::string& directory) override {
    std::vector<Entry> out;
    if (!directory.empty()) return out;
    for (std::string& name : Split(example_.attributes.at("context"), ',')) out.push_back({name});
    return out;
  }
  std::optional<uint64_t> Bytes(const std::string&) override { return 1; }

 private:
  const Example& example_;
};

std::vector<std::pair<std::string, std::string>> BuildArgsOf(const Example& example) {
  auto it = example.attributes.find("build-arg");
  if (it == example.attributes.end()) return {};
  size_t equals = it->second.find('=');
  return {{it->second.substr(0, equals), it->second.substr(equals + 1)}};
}

std::set<std::string> WarningsOf(const Example& example, const Dockerfile& file) {
  FakeImages images;
  oci::ImageConfig arm = FakeImages::Config(FakeImages::kBaseConfig);
  arm.set_platform({.os = "linux", .architecture = "arm64"});
  images.images["example.com/arm64-only:latest"] = arm;
  LowerOptions options;
  options.target_platform = {.os = "linux", .architecture = "amd64"};
  options.build_platform = options.target_platform;
  options.all_stages = true;
  options.build_args = BuildArgsOf(example);
  auto patterns = tree::ReadIgnoreFile(example.dockerignore);
  EXPECT_TRUE(patterns);
  std::get<graph::LocalSource>(options.context.source).exclude = *patterns;
  std::vector<Warning> warnings;
  auto lowered = Lower(file, options, images, &warnings);
  EXPECT_TRUE(lowered) << lowered.error().error.ToString();
  std::set<std::string> out;
  for (const Warning& warning : warnings) out.insert(warning.rule);
  return out;
}

std::set<std::string> HintsOf(const Example& example, const Dockerfile& file) {
  PageContext context(example);
  CacheCheckInput input;
  input.build_args = BuildArgsOf(example);
  if (example.attributes.contains("context")) input.context = &context;
  std::set<std::string> out;
  for (const CacheHint& hint : CheckCaching(file, input)) {
    out.emplace(Describe(hint.rule).name);
  }
  return out;
}

TEST(ChecksPage, ExamplesDoWhatThePageSays) {
  auto examples = ReadPage();
  EXPECT_GT(examples.size(), 60u);
  for (Example& example : examples) {
    SCOPED_TRACE(fmt::format("doc/checks.md:{} {} {}", example.line, example.rule, example.bad ? "bad" : "good"));
    std::string digest = "sha256:" + std::string(64, '5');
    for (size_t at; (at = example.text.find("sha256:…")) != std::string::npos;) {
      example.text.replace(at, std::string("sha256:…").size(), digest);
    }
    auto file = ParseDockerfile(example.text);
    ASSERT_TRUE(file) << file.error().error.ToString();
    std::set<std::string> wanted;
    if (example.bad) wanted.insert(example.rule);
    auto warnings = WarningsOf(example, *file);
    if (example.is_hint) {
      EXPECT_EQ(HintsOf(example, *file), wanted);
      EXPECT_EQ(warnings, std::set<std::string>{});
    } else {
      EXPECT_EQ(warnings, wanted);
    }
  }
}

TEST(ChecksPage, HasABadAndAGoodExampleOfEveryRule) {
  std::set<std::pair<std::string, bool>> shown;
  for (const Example& example : ReadPage()) shown.emplace(example.rule, example.bad);
  std::set<std::pair<std::string, bool>> wanted;
  for (int i = 0; i <= static_cast<int>(Rule::kExposeInvalidFormat); ++i) {
    for (bool bad : {false, true}) wanted.emplace(Describe(static_cast<Rule>(i)).name, bad);
  }
  for (int i = 0; i <= static_cast<int>(CacheRule::kDockerignoreLetsIn); ++i) {
    for (bool bad : {false, true}) wanted.emplace(Describe(static_cast<CacheRule>(i)).name, bad);
  }
  EXPECT_EQ(shown, wanted);
}

}  // namespace
}  // namespace varve::dockerfile
