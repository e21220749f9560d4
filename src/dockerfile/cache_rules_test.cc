// varve's own rules, each with what it must find and, mostly, with what it must leave alone.
#include "dockerfile/cache_rules.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

using Texts = std::vector<std::string>;

class FakeContext final : public ContextFacts {
 public:
  std::map<std::string, std::vector<Entry>> directories;
  std::string ignore_file;

  std::string IgnoreFile() const override { return ignore_file; }
  std::vector<Entry> List(const std::string& directory) override { return directories[directory]; }
  std::optional<uint64_t> Bytes(const std::string&) override { return 1000; }
};

class FakeCosts final : public StepCosts {
 public:
  std::optional<double> Seconds(const Origin& instruction) const override {
    if (instruction.text == "RUN npm ci") return 77;
    return std::nullopt;
  }
};

class CacheRules : public testing::Test {
 protected:
  std::vector<CacheHint> Hints(const std::string& text) {
    auto file = ParseDockerfile(text);
    EXPECT_TRUE(file) << text;
    if (!file) return {};
    auto options = FileCheckOptions(file->directives, std::nullopt);
    EXPECT_TRUE(options);
    input.options = *options;
    return CheckCaching(*file, input);
  }
  // "Rule line", without the rules of `hide`: base images and cache mounts are nearly everywhere.
  Texts Found(const std::string& text,
              std::set<CacheRule> hide = {CacheRule::kUnpinnedBase, CacheRule::kMissingCacheMount}) {
    Texts out;
    for (const CacheHint& hint : Hints(text)) {
      if (hide.contains(hint.rule)) continue;
      std::string lines;
      for (const Span& span : hint.spans) lines += fmt::format(" {}", span.start_line);
      out.push_back(std::string(Describe(hint.rule).name) + lines);
    }
    return out;
  }
  Texts Only(CacheRule rule, const std::string& text) {
    Texts out;
    for (const std::string& found : Found(text, {})) {
      if (found.starts_with(Describe(rule).name)) out.push_back(found);
    }
    return out;
  }

  CacheCheckInput input;
};

TEST_F(CacheRules, InstallBelowCopyAll) {
  EXPECT_EQ(Found("FROM a\nCOPY . .\nRUN npm ci\n"), Texts{"InstallBelowCopyAll 3"});
  EXPECT_EQ(Found("FROM a\nADD ./ /app\nRUN x && pip install -r requirements.txt\n"), Texts{"InstallBelowCopyAll 3"});
  EXPECT_EQ(Found("FROM a\nCOPY . .\nRUN apt-get install -y git\n"), Texts{"InstallBelowCopyAll 3"});
  EXPECT_EQ(Found("FROM a AS base\nCOPY . .\nFROM base\nRUN yarn\n"), Texts{"InstallBelowCopyAll 4"})
      << "a stage goes on where its base ends";
  EXPECT_EQ(Found("FROM a\nRUN --mount=type=bind,target=. npm ci\n"), Texts{"InstallBelowCopyAll 2"});
}

TEST_F(CacheRules, InstallAboveOrOfTheProjectItselfIsRight) {
  EXPECT_EQ(Found("FROM a\nCOPY package.json .\nRUN npm ci\nCOPY . .\nRUN npm run build\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY . .\nRUN pip install .\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY . .\nRUN go build ./...\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY --from=b . .\nRUN npm ci\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY src .\nRUN npm ci\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY pyproject.toml uv.lock .\nRUN uv sync --no-install-project\nCOPY . .\n"
                  "RUN uv sync\n"),
            Texts{})
      << "the second one installs the project";
  EXPECT_EQ(Found("FROM a\nRUN --mount=type=bind,source=package.json,target=package.json npm ci\n"), Texts{});
}

TEST_F(CacheRules, RemedyCanBeCopied) {
  auto hints = Hints("FROM a@sha256:" + std::string(64, '0') +
                     "\nCOPY . /app\nRUN --mount=type=cache,target=/root/.npm npm ci --omit=dev\n");
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].text, (Texts{"COPY package.json package-lock.json ./", "RUN npm ci --omit=dev", "COPY . /app"}));
  EXPECT_EQ(hints[0].cost.ToString(), "about 25s");
  FakeContext context;
  context.directories[""] = {{"package.json"}, {"src", true}};
  input.context = &context;
  hints = Hints("FROM a\nCOPY . /app\nRUN npm ci\n");
  EXPECT_EQ(hints[1].text[0], "COPY package.json ./") << "what lies there";
}

TEST_F(CacheRules, RemedyIsInTheFolderWhereTheStepInstalls) {
  FakeContext context;
  context.directories[""] = {{"package-lock.json"}};
  context.directories["web"] = {{"package.json"}};
  input.context = &context;
  auto hints = Hints("FROM a\nCOPY . .\nRUN cd ./web/ && npm ci\n");
  EXPECT_EQ(hints[1].text, (Texts{"COPY web/package.json ./web/", "RUN cd web && npm ci", "COPY . ."}));
  hints = Hints("FROM a\nCOPY . .\nRUN cd /srv && npm ci\n");
  EXPECT_EQ(hints[1].text[0], "COPY package-lock.json ./");
}

TEST_F(CacheRules, HistoryBeatsTypicalCosts) {
  FakeCosts costs;
  input.costs = &costs;
  auto hints = Hints("# check=skip=UnpinnedBase\nFROM a\nCOPY . .\nRUN npm ci\n");
  ASSERT_FALSE(hints.empty());
  EXPECT_EQ(hints[0].cost.ToString(), "77s");
}

TEST_F(CacheRules, MissingCacheMount) {
  constexpr CacheRule kRule = CacheRule::kMissingCacheMount;
  EXPECT_EQ(Only(kRule, "FROM a\nRUN apt-get install -y x\nRUN true\nRUN apt-get install -y y\n"),
            Texts{"MissingCacheMount 2 4"})
      << "one hint for all steps of a manager";
  EXPECT_EQ(Only(kRule, "FROM a\nRUN pip install x && npm ci\n"),
            (Texts{"MissingCacheMount 2", "MissingCacheMount 2"}));
  EXPECT_EQ(Only(kRule, "FROM a\nRUN go build .\n"), Texts{"MissingCacheMount 2"});
  EXPECT_EQ(Only(kRule, "FROM a\nRUN --mount=type=cache,target=/var/cache/apt pip install x\n"),
            Texts{"MissingCacheMount 2"})
      << "a mount of somebody else's";
  auto hints =
      Hints("# check=skip=UnpinnedBase,PackageListLeftInLayer\nFROM a\nRUN apt-get update && apt-get install -y git\n");
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_TRUE(hints[0].text[0].ends_with(",sharing=locked apt-get update && apt-get install -y git"))
      << hints[0].text[0];
}

TEST_F(CacheRules, CacheMountIsThere) {
  constexpr CacheRule kRule = CacheRule::kMissingCacheMount;
  for (const char* run : {"--mount=type=cache,target=/root/.npm npm ci", "--mount=type=cache,target=$CACHE npm ci",
                          "--mount=type=cache,id=npm,target=/c npm ci", "--mount=type=cache,target=/cache npm ci",
                          "--mount=type=cache,target=/root/.cache pip install x", "pip install .", "apk add git",
                          "uv pip install --system x",
                          "--mount=type=cache,target=/var/lib/apt/lists --mount=type=cache,target=/var/cache/apt "
                          "apt-get install -y x"}) {
    auto found = Only(kRule, std::string("FROM a\nRUN ") + run + "\n");
    bool uv = std::string_view(run).starts_with("uv");
    EXPECT_EQ(found.size(), uv ? 1u : 0u) << run;
  }
}

TEST_F(CacheRules, PackageListLeftInLayer) {
  EXPECT_EQ(Found("FROM a\nRUN apt-get update && apt-get install -y x\n"), Texts{"PackageListLeftInLayer 2"});
  EXPECT_EQ(Found("FROM a\nRUN apt-get update\nRUN rm -rf /var/lib/apt/lists/*\n"), Texts{"PackageListLeftInLayer 2"});
  EXPECT_EQ(Found("FROM a\nRUN apk update && apk add x\n"), Texts{"PackageListLeftInLayer 2"});
  EXPECT_EQ(Found("FROM a\nRUN dnf install -y x\n"), Texts{"PackageListLeftInLayer 2"});
  for (const char* run :
       {"apt-get update && apt-get install x && rm -rf /var/lib/apt/lists/*",
        "apt-get update; apt-get install x; rm -r /var/lib/apt", "apt-get update && apt-get dist-clean",
        "--mount=type=cache,target=/var/lib/apt apt-get update",
        "--mount=type=tmpfs,target=/var/lib/apt/lists apt-get update", "apk add --no-cache x",
        "apk add --update --no-cache x", "apk update && rm -rf /var/cache/apk/*", "dnf install -y x && dnf clean all",
        "yum install -y x && rm -rf /var/cache/yum", "echo apt-get update"}) {
    EXPECT_EQ(Found(std::string("FROM a\nRUN ") + run + "\n"), Texts{}) << run;
  }
  EXPECT_EQ(Found("FROM a AS build\nRUN apt-get update\nFROM b\nCOPY --from=build /x /\n"), Texts{})
      << "nobody ships that layer";
}

TEST_F(CacheRules, UncheckedDownload) {
  EXPECT_EQ(Found("FROM a\nADD https://example.com/x.tgz /\n"), Texts{"UncheckedDownload 2"});
  EXPECT_EQ(Found("FROM a\nADD --checksum=sha256:1 https://example.com/x.tgz /\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nADD https://example.com/x.git#v1 /\n"), Texts{});
  EXPECT_EQ(Found("FROM a\nADD x.tgz /\n"), Texts{});
}

TEST_F(CacheRules, UnpinnedBase) {
  constexpr CacheRule kRule = CacheRule::kUnpinnedBase;
  EXPECT_EQ(Only(kRule, "FROM node\nFROM alpine:latest\n"), Texts{"UnpinnedBase 1 2"});
  EXPECT_EQ(Only(kRule, "FROM node:20\nRUN npm ci\n"), Texts{"UnpinnedBase 1"});
  EXPECT_EQ(Only(kRule, "ARG T=20\nFROM node:$T\nRUN npm ci\n"), Texts{"UnpinnedBase 2"});
  EXPECT_EQ(Only(kRule, "FROM node:20 AS b\nFROM b\nCOPY --from=nginx /x /\n"), Texts{"UnpinnedBase 3"});
  std::string pinned = "node:20@sha256:" + std::string(64, 'a');
  EXPECT_EQ(Only(kRule, "FROM " + pinned + " AS b\nRUN npm ci\nFROM scratch\nCOPY --from=0 /x /\n"), Texts{});
  EXPECT_EQ(Only(kRule, "FROM nginx:1.27\nCOPY x /\n"), Texts{}) << "nothing worth saving";
  EXPECT_EQ(Only(kRule, "ARG T\nFROM node:$T\nRUN npm ci\n"), Texts{}) << "no reference at all";
  EXPECT_EQ(Only(kRule, "FROM $UNKNOWN\nRUN npm ci\n"), Texts{});
  EXPECT_EQ(Only(kRule, "FROM linuxkit/alpine:7f3944798557de5518a56e34\nRUN npm ci\n"), Texts{});
  input.named_contexts = {"base"};
  EXPECT_EQ(Only(kRule, "FROM base\nRUN npm ci\n"), Texts{});
}

TEST_F(CacheRules, UnpinnedBaseTellsTheDigestWhenItIsKnown) {
  input.digests["docker.io/library/node:20"] = "sha256:abc";
  auto hints = Hints("FROM node:20\nRUN npm ci\n");
  ASSERT_FALSE(hints.empty());
  EXPECT_EQ(hints[0].text, Texts{"FROM node:20@sha256:abc"});
}

TEST_F(CacheRules, VolatileArgTooEarly) {
  EXPECT_EQ(Found("FROM a\nARG GIT_SHA\nRUN npm ci\nRUN echo $GIT_SHA\n"), Texts{"VolatileArgTooEarly 2"});
  EXPECT_EQ(Found("FROM a\nARG BUILD_DATE=unknown\nENV D=$BUILD_DATE\nRUN npm ci\nLABEL d=$D\n"),
            Texts{"VolatileArgTooEarly 2"});
  EXPECT_EQ(Found("FROM a\nARG VERSION\nRUN npm ci\n"), Texts{"VolatileArgTooEarly 2"});
  EXPECT_EQ(Found("ARG VERSION=dev\nFROM a\nARG VERSION\nRUN npm ci\n"), Texts{"VolatileArgTooEarly 3"});
  auto hints = Hints(
      "# check=skip=UnpinnedBase,MissingCacheMount\nFROM a\nARG COMMIT\n"
      "ENV REV=$COMMIT\nRUN npm ci\nRUN make REV\n");
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].text, (Texts{"ARG COMMIT", "ENV REV=$COMMIT", "RUN make REV"}));
  EXPECT_EQ(hints[0].cost.ToString(), "about 25s");
}

TEST_F(CacheRules, ArgWhereItIsUsedOrThatStaysIsRight) {
  for (const char* body :
       {"ARG GIT_SHA\nRUN npm ci && echo ${GIT_SHA:-x}\n", "RUN npm ci\nARG GIT_SHA\nLABEL r=$GIT_SHA\n",
        "ARG GIT_SHA\nRUN true\n", "ARG VERSION=1.2.3\nRUN npm ci\n", "ARG NODE_SHA256\nRUN npm ci\n",
        "ARG COMMIT=4f5a6b7c\nRUN npm ci\n", "ARG GIT_SHA\nENV R=$GIT_SHA\nRUN npm ci && echo $R\n",
        "ARG VERSION\nRUN <<EOF\nnpm ci\necho $VERSION\nEOF\n", "ARG FOO\nRUN npm ci\n"}) {
    EXPECT_EQ(Found(std::string("FROM a\n") + body), Texts{}) << body;
  }
  EXPECT_EQ(Found("ARG VERSION=1.27\nFROM a:$VERSION\nARG VERSION\nRUN npm ci\n"), Texts{});
}

TEST_F(CacheRules, InlineCache) {
  input.build_args = {{"BUILDKIT_INLINE_CACHE", "1"}};
  EXPECT_EQ(Found("FROM a\n"), Texts{"InlineCache"});
  input.build_args = {{"BUILDKIT_INLINE_CACHE", "0"}};
  EXPECT_EQ(Found("FROM a\n"), Texts{});
}

TEST_F(CacheRules, ContextWithoutAnIgnoreFile) {
  FakeContext context;
  context.directories[""] = {{".git", true}, {"src", true}, {"package.json"}, {"dist", true}, {"packages", true}};
  context.directories["packages"] = {{"a", true}};
  context.directories["packages/a"] = {{"node_modules", true}};
  input.context = &context;
  auto hints = Hints("# check=skip=UnpinnedBase\nFROM a\nCOPY . .\n");
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].rule, CacheRule::kNoDockerignore);
  EXPECT_EQ(hints[0].text, (Texts{".git", "dist", "**/node_modules"}));
  EXPECT_EQ(hints[0].cost.ToString(), "3.00 kB");
  context.ignore_file = "app.Dockerfile.dockerignore";
  hints = Hints("# check=skip=UnpinnedBase\nFROM a\nCOPY . .\n");
  ASSERT_EQ(hints.size(), 1u);
  EXPECT_EQ(hints[0].rule, CacheRule::kDockerignoreLetsIn);
  EXPECT_EQ(hints[0].remedy, "add to app.Dockerfile.dockerignore");
}

TEST_F(CacheRules, ContextHoldsOnlyWhatIsNeeded) {
  FakeContext context;
  input.context = &context;
  context.directories[""] = {{"src", true}, {"dist", true}, {"target", true}, {"Makefile"}};
  EXPECT_EQ(Found("FROM a\nCOPY . .\n"), Texts{}) << "nothing says that these are outputs";
  context.directories[""] = {{".git", true}, {"docs", true}, {"package.json"}, {"dist", true}};
  EXPECT_EQ(Found("FROM a\nCOPY src .\n"), Texts{}) << "not copied";
  EXPECT_EQ(Found("FROM a\nCOPY . .\nRUN git describe > v && mkdocs build -f docs/x\n"), Texts{"NoDockerignore 2"})
      << "dist";
  EXPECT_EQ(Found("FROM a\nCOPY dist /d\nCOPY . .\nRUN git describe && make docs\n"), Texts{});
}

TEST_F(CacheRules, CanBeSkipped) {
  EXPECT_EQ(Found("# check=skip=InstallBelowCopyAll\nFROM a\nCOPY . .\nRUN npm ci\n"), Texts{});
  EXPECT_EQ(Found("# check=skip=all\nFROM a\nCOPY . .\nRUN npm ci\n", {}), Texts{});
  EXPECT_EQ(Found("FROM a\nCOPY . .\n# check=skip=InstallBelowCopyAll\nRUN npm ci\nRUN yarn\n"),
            Texts{"InstallBelowCopyAll 5"});
  EXPECT_EQ(Found("# check=error=true\nFROM a\nCOPY . .\nRUN npm ci\n"), Texts{"InstallBelowCopyAll 4"});
}

TEST(HintCost, SaysHowMuchAndHowSure) {
  EXPECT_EQ(HintCost{}.ToString(), "");
  EXPECT_EQ((HintCost{.seconds = 24.6}.ToString()), "about 25s");
  EXPECT_EQ((HintCost{.seconds = 180}.ToString()), "about 3min");
  EXPECT_EQ((HintCost{.seconds = 3, .bytes = 20'000'000, .measured = true}.ToString()), "3s and 20.0 MB");
}

}  // namespace
}  // namespace varve::dockerfile
