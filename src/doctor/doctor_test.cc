// Where findings are, what readers make of files, and what reports and patches look like.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/fd.h"
#include "base/strings.h"
#include "doctor/diagnose.h"
#include "doctor/patch.h"
#include "doctor/report.h"
#include "sys/tempdir.h"

namespace varve::doctor {
namespace {

using Files = std::map<std::string, std::string>;
using Texts = std::vector<std::string>;

Project ProjectOf(const Files& files) {
  Project project;
  for (const auto& [path, text] : files) AddFile(project, path, KindOf(path).value(), text);
  ReadCalls(project);
  return project;
}

// "FILE:LINE RULE" of each finding.
Texts Found(const Files& files, const DiagnoseOptions& options = {}) {
  Project project = ProjectOf(files);
  Texts out;
  for (const Finding& finding : Diagnose(project, options)) {
    out.push_back(fmt::format("{}:{} {}", finding.file, finding.span.start_line, finding.rule));
  }
  return out;
}

constexpr const char* kSlow =
    "FROM node@sha256:5555555555555555555555555555555555555555555555555555555555555555 AS build\n"
    "COPY package.json ./\n"
    "RUN --mount=type=cache,target=/root/.npm npm ci\n"
    "FROM scratch\n"
    "COPY --from=build /app /app\n";

const BuildCall& OnlyCall(const Project& project) {
  EXPECT_EQ(project.calls.size(), 1u);
  return project.calls.at(0);
}

TEST(Readers, ShellFlagsOverSeveralLines) {
  Project project = ProjectOf({{"build.sh",
                                "#!/bin/sh\n"
                                "cd docker\n"
                                "docker buildx build \\\n"
                                "  -t app:1 --platform linux/amd64,linux/arm64 \\\n"
                                "  --cache-from type=registry,ref=r/app:cache \\\n"
                                "  --build-arg V=$(git rev-parse HEAD) --pull \\\n"
                                "  -f app.Dockerfile ..\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_EQ(call.line, 3);
  EXPECT_EQ(call.context, "");
  EXPECT_EQ(call.dockerfile, "docker/app.Dockerfile");
  EXPECT_EQ(call.tags, Texts{"app:1"});
  EXPECT_EQ(call.platforms, (Texts{"linux/amd64", "linux/arm64"}));
  ASSERT_EQ(call.from.size(), 1u);
  EXPECT_EQ(call.from[0].line, 5);
  EXPECT_EQ(call.from[0].Location(), "registry:r/app:cache");
  ASSERT_EQ(call.args.size(), 1u);
  EXPECT_EQ(call.args[0].line, 6);
  EXPECT_EQ(call.args[0].value, "$(git rev-parse HEAD)");
  EXPECT_TRUE(call.pull);
}

TEST(Readers, ShellFlagsThatAVariableCollects) {
  Project project = ProjectOf({{"deploy.sh",
                                "IMAGE=app\n"
                                "if [ \"$FORCE\" = 1 ]; then\n"
                                "  OPTS=\"$OPTS --no-cache\"\n"
                                "fi\n"
                                "docker build $OPTS -t $IMAGE:latest .\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_EQ(call.no_cache_line, 3);
  EXPECT_FALSE(call.no_cache_always);
  EXPECT_EQ(call.tags, Texts{"app:latest"});
}

TEST(Readers, MakefileRecipes) {
  Project project = ProjectOf({{"Makefile",
                                "SHA := $(shell git rev-parse HEAD)\n"
                                "image: deps\n"
                                "\t@docker build --build-arg COMMIT=$(SHA) -t app .\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_EQ(call.line, 3);
  ASSERT_EQ(call.args.size(), 1u);
  EXPECT_EQ(call.args[0].value, "$(shell git rev-parse HEAD)");
}

TEST(Readers, WorkflowLists) {
  Project project = ProjectOf({{".github/workflows/a.yml",
                                "jobs:\n"
                                "  b:\n"
                                "    runs-on: [self-hosted, linux]\n"
                                "    steps:\n"
                                "      - uses: docker/build-push-action@v6\n"
                                "        with:\n"
                                "          context: \"{{defaultContext}}:api\"\n"
                                "          tags: a:1,a:2\n"
                                "          cache-from: |\n"
                                "            type=gha,scope=a\n"
                                "            a:1\n"
                                "          build-args: |\n"
                                "            ONE=1\n"
                                "            TWO=${{ github.sha }}\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_FALSE(call.fresh_machine);
  EXPECT_EQ(call.context, "api");
  EXPECT_EQ(call.dockerfile, "api/Dockerfile");
  EXPECT_EQ(call.tags, (Texts{"a:1", "a:2"}));
  ASSERT_EQ(call.from.size(), 2u);
  EXPECT_EQ(call.from[0].line, 10);
  EXPECT_EQ(call.from[1].line, 11);
  EXPECT_EQ(call.from[1].type, "image");
  ASSERT_EQ(call.args.size(), 2u);
  EXPECT_EQ(call.args[1].line, 14);
}

TEST(Readers, GitlabScriptsAndAnchors) {
  Project project = ProjectOf({{".gitlab-ci.yml",
                                ".setup: &setup\n"
                                "  - docker buildx create --use\n"
                                "build:\n"
                                "  variables: { X: y }\n"
                                "  before_script: [ *setup, \"TAG=$CI_COMMIT_SHA\" ]\n"
                                "  script:\n"
                                "    - |\n"
                                "      docker buildx build \\\n"
                                "        --cache-to type=registry,ref=r/a:c \\\n"
                                "        api\n"
                                "    - !reference [.other, script]\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_FALSE(call.docker_driver);
  EXPECT_TRUE(call.fresh_machine);
  ASSERT_EQ(call.to.size(), 1u);
  EXPECT_EQ(call.to[0].line, 9);
  EXPECT_EQ(call.context, "api");
}

TEST(Readers, ComposeOverridesAndWhoBuildsThem) {
  Files files = {{"Dockerfile", kSlow},
                 {"docker-compose.yml", "services:\n  web:\n    build: .\n  db:\n    image: postgres\n"},
                 {"docker-compose.override.yml", "services:\n  web:\n    build:\n      cache_from: [r/web:cache]\n"},
                 {".github/workflows/ci.yml",
                  "jobs:\n  b:\n    runs-on: ubuntu-latest\n    steps:\n"
                  "      - run: docker compose build web\n"}};
  Project project = ProjectOf(files);
  ASSERT_EQ(project.calls.size(), 2u);
  const BuildCall& service = project.calls[1];
  EXPECT_EQ(service.name, "service web");
  EXPECT_TRUE(service.fresh_machine);
  EXPECT_EQ(service.from.size(), 1u);
}

TEST(Readers, BakeTargetsInheritAndKeepTheirLines) {
  Project project = ProjectOf({{"docker-bake.hcl",
                                "group \"default\" { targets = [\"api\"] }\n"
                                "variable \"REF\" { default = \"r/app\" }\n"
                                "target \"_common\" {\n"
                                "  cache-to = [\"type=registry,ref=${REF}:cache\"]\n"
                                "}\n"
                                "target \"api\" {\n"
                                "  inherits = [\"_common\"]\n"
                                "  context = \"api\"\n"
                                "  cache-from = [\n"
                                "    \"type=registry,ref=r/app:cache\",\n"
                                "  ]\n"
                                "}\n"}});
  const BuildCall& call = OnlyCall(project);
  EXPECT_EQ(call.line, 6);
  EXPECT_EQ(call.context, "api");
  ASSERT_EQ(call.from.size(), 1u);
  EXPECT_EQ(call.from[0].line, 10);
  ASSERT_EQ(call.to.size(), 1u);
  EXPECT_EQ(call.to[0].Location(), "registry:r/app:cache");
}

TEST(Doctor, ArgumentsThatAWorkflowMakesVolatile) {
  Files files = {
      {"Dockerfile", "FROM scratch\nARG FOO\nRUN --mount=type=cache,target=/root/.npm npm ci\nRUN echo $FOO\n"},
      {"build.sh", "docker build --build-arg FOO=$(git rev-parse HEAD) .\n"}};
  EXPECT_EQ(Found(files), Texts{"Dockerfile:2 VolatileArgTooEarly"});
  files["build.sh"] = "docker build --build-arg FOO=1 .\n";
  EXPECT_EQ(Found(files), Texts{});
}

TEST(Doctor, BuildsThatAJobStarts) {
  Files files = {{"Dockerfile", kSlow},
                 {"compose.yaml", "services:\n  web:\n    build: .\n"},
                 {".github/workflows/ci.yml",
                  "jobs:\n  b:\n    runs-on: ubuntu-latest\n    steps:\n      - run: docker compose build\n"}};
  EXPECT_EQ(Found(files), Texts{"compose.yaml:3 NoCacheSource"});
  files[".github/workflows/ci.yml"] = ReplaceAll(files[".github/workflows/ci.yml"], "ubuntu-latest", "self-hosted");
  EXPECT_EQ(Found(files), Texts{}) << "a machine of one's own keeps its cache";
  files.erase(".github/workflows/ci.yml");
  EXPECT_EQ(Found(files), Texts{}) << "so does a laptop";
}

TEST(Doctor, InlineCacheByAccident) {
  Files files = {{"Dockerfile", kSlow},
                 {"compose.yaml",
                  "services:\n  web:\n    image: web\n    build:\n      context: .\n      args:\n        A: "
                  "1\n"
                  "        BUILDKIT_INLINE_CACHE: 1\n      cache_from: [\"type=registry,ref=r/web:cache\"]\n"
                  "      cache_to: [\"type=registry,ref=r/web:cache,mode=max\"]\n"}};
  EXPECT_EQ(Found(files, {.skip = {"UnusedBuildArg"}}), Texts{"compose.yaml:8 InlineCache"})
      << "the cache goes elsewhere as well";
  files["compose.yaml"] =
      "services:\n  web:\n    image: web\n    build:\n      context: .\n"
      "      args: [BUILDKIT_INLINE_CACHE=1]\n";
  EXPECT_EQ(Found(files), Texts{"compose.yaml:6 InlineCache"}) << "nobody reads it";
}

TEST(Doctor, MatrixOverImages) {
  std::string text =
      "jobs:\n  b:\n    strategy: {matrix: {image: [a, b]}}\n    runs-on: ubuntu-latest\n    "
      "steps:\n"
      "      - uses: docker/setup-buildx-action@v3\n      - uses: docker/build-push-action@v6\n    "
      "    with:\n"
      "          context: ${{ matrix.image }}\n          cache-from: type=gha,scope=x\n"
      "          cache-to: type=gha,scope=x,mode=max\n";
  // Its context is not known, but that it varies is.
  EXPECT_EQ(Found({{".github/workflows/a.yml", ReplaceAll(text, "context:", "file:")}}),
            Texts{".github/workflows/a.yml:11 SharedCacheLocation"});
}

TEST(Doctor, CommentsSilenceIt) {
  std::string script = "docker system prune -f\n";
  EXPECT_EQ(Found({{"a.sh", script}}), Texts{"a.sh:1 ClearLeavesCache"});
  EXPECT_EQ(Found({{"a.sh", "# varve:ignore ClearLeavesCache\n" + script}}), Texts{});
  EXPECT_EQ(Found({{"a.sh", "# varve:ignore\n# why\n" + script}}), Texts{});
  EXPECT_EQ(Found({{"a.sh", "# varve:ignore Other, ClearLeavesCache -- we want that\n" + script}}), Texts{});
  EXPECT_EQ(Found({{"a.sh", "docker system prune -f # varve:ignore\n"}}), Texts{});
  EXPECT_EQ(Found({{"a.sh", "# varve:ignore Other\n" + script}}), Texts{"a.sh:2 ClearLeavesCache"});
  EXPECT_EQ(Found({{"a.sh", script + "\n\n# varve:ignore-file ClearLeavesCache\n"}}), Texts{});
  EXPECT_EQ(Found({{"a.sh", script}}, {.skip = {"ClearLeavesCache"}}), Texts{});
}

TEST(Doctor, CostsOfThisMachine) {
  Project project = ProjectOf({{"Dockerfile", kSlow},
                               {"compose.yaml",
                                "services:\n  web:\n    build:\n      context: .\n"
                                "      cache_from: [\"type=gha\"]\n      cache_to: [\"type=gha\"]\n"}});
  DiagnoseOptions options;
  options.seconds = [](const std::string& text) {
    return text.ends_with("npm ci") ? std::optional(77.0) : std::nullopt;
  };
  auto findings = Diagnose(project, options);
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].rule, "CacheModeMin");
  EXPECT_EQ(findings[0].cost.ToString(), "77s");
}

TEST(Doctor, FilesThatAreNoneOfItsKindAreLeftAlone) {
  for (const char* path :
       {"Dockerfile.md", "src/main.cc", ".github/dependabot.yml", "dockerfile.sh.j2", "values.yaml"}) {
    EXPECT_FALSE(KindOf(path)) << path;
  }
  EXPECT_EQ(KindOf("docker/Dockerfile.prod"), FileKind::kDockerfile);
  EXPECT_EQ(KindOf("docker/Dockerfile.prod.dockerignore"), FileKind::kDockerignore);
  EXPECT_EQ(KindOf(".github/workflows/x.yaml"), FileKind::kGithub);
}

TEST(Doctor, BrokenFilesAreSaidWithTheirLine) {
  EXPECT_EQ(Found({{".github/workflows/a.yml", "jobs:\n  b: [\n"}}), Texts{".github/workflows/a.yml:3 UnreadableFile"});
  EXPECT_EQ(Found({{"docker-bake.hcl", "target \"a\" {\n"}}), Texts{"docker-bake.hcl:0 UnreadableFile"});
  for (const char* text :
       {"", "- a\n- b\n", "jobs: 3\n", "jobs: {a: {steps: {b: c}}}\n", "jobs: {a: {steps: [1, null]}}\n",
        "on: [push]\njobs: {a: {steps: [{uses: 3, with: [x]}]}}\n"}) {
    EXPECT_EQ(Found({{".github/workflows/a.yml", text}}), Texts{}) << text;
  }
}

TEST(Rules, AMatrixWritesWhatOthersReadByName) {
  auto workflow = [](const std::string& read, const std::string& written) {
    return "jobs:\n  a:\n    runs-on: [self-hosted]\n    steps:\n"
           "      - uses: OWNER/varve@v1\n"
           "        with:\n"
           "          cache-from: type=gha,scope=" +
           read +
           "\n"
           "          cache-to: type=gha,scope=" +
           written + ",mode=max\n";
  };
  auto found = [&](const std::string& read, const std::string& written) {
    Texts names = Found({{".github/workflows/a.yml", workflow(read, written)}});
    return std::ranges::count(names, ".github/workflows/a.yml:8 CacheWrittenNotRead");
  };
  EXPECT_EQ(found("app-deps", "app-${{ matrix.stage }}"), 0);
  EXPECT_EQ(found("app-deps-v2", "app-${{ matrix.stage }}-v2"), 0);
  EXPECT_EQ(found("app-", "app-${{ matrix.stage }}"), 1);
  EXPECT_EQ(found("app-deps", "app-${{ matrix.stage }}-v2"), 1);
  EXPECT_EQ(found("web-deps", "app-${{ matrix.stage }}"), 1);
}

// --- Patches ---------------------------------------------------------------------------------

TEST(Patch, MovesInsertsAndRemoves) {
  EXPECT_EQ(ApplyEdits("a\nb\nc\n", {{2, 2, {"B"}}, {3, 2, {"x"}}}), "a\nB\nx\nc\n");
  EXPECT_EQ(ApplyEdits("a\nb\nc\n", {{1, 1, {}}, {4, 3, {"a"}}}), "b\nc\na\n");
  EXPECT_EQ(ApplyEdits("a\nb", {{3, 2, {"c"}}}), "a\nb\nc");
  EXPECT_EQ(ApplyEdits("a\r\nb\r\n", {{2, 2, {"c"}}}), "a\r\nc\r\n");
  EXPECT_EQ(ApplyEdits("", {{1, 0, {"a"}}}), "a\n");
}

TEST(Patch, FixesThatOverlapWait) {
  Project project = ProjectOf({{"a.sh", "one\ntwo\nthree\n"}});
  auto with = [](int first, int last, Texts lines) {
    Finding finding{.rule = "ClearAsks", .file = "a.sh"};
    finding.fix = Fix{.file = "a.sh", .edits = {{first, last, std::move(lines)}}};
    return finding;
  };
  std::vector<Finding> findings = {with(2, 2, {"2"}), with(2, 3, {}), with(2, 1, {"before"}), with(2, 2, {"2"})};
  Patch patch = MakePatch(project, findings);
  ASSERT_EQ(patch.files.size(), 1u);
  EXPECT_EQ(patch.files[0].after, "one\nbefore\n2\nthree\n");
  EXPECT_EQ(patch.fixed.size(), 3u);
  EXPECT_EQ(patch.postponed.size(), 1u);
}

TEST(Patch, FixedProjectsAreRight) {
  Files files = {{"Dockerfile",
                  "FROM debian@sha256:5555555555555555555555555555555555555555555555555555555555555555\n"
                  "ARG GIT_SHA\n"
                  "RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt,id=x "
                  "\\\n"
                  "    apt-get update && apt-get install -y ffmpeg\n"
                  "COPY requirements.txt .\n"
                  "RUN --mount=type=cache,target=/root/.cache/pip pip install --no-cache-dir -r "
                  "requirements.txt\n"
                  "RUN echo $GIT_SHA > /sha\n"},
                 {".github/workflows/a.yml",
                  "jobs:\n  b:\n    runs-on: ubuntu-latest\n    steps:\n"
                  "      - name: Build\n        uses: docker/build-push-action@v6\n        with:\n          "
                  "context: .\n"
                  "          cache-to: type=gha,scope=a,mode=max\n"}};
  Project project = ProjectOf(files);
  Patch patch = MakePatch(project, Diagnose(project, {}));
  EXPECT_EQ(patch.postponed.size(), 0u);
  for (const ChangedFile& file : patch.files) files[file.path] = file.after;
  EXPECT_EQ(Found(files), Texts{}) << files["Dockerfile"] << files[".github/workflows/a.yml"];
}

// --- Golden files ----------------------------------------------------------------------------

Project GoldenProject() {
  return ProjectOf({{"Dockerfile",
                     "FROM node@sha256:5555555555555555555555555555555555555555555555555555555555555555 AS "
                     "build\n"
                     "ARG GIT_SHA\n"
                     "COPY package.json ./\n"
                     "RUN --mount=type=cache,target=/root/.npm npm ci\n"
                     "RUN echo $GIT_SHA\n"
                     "FROM scratch\n"
                     "COPY --from=build /app /app\n"},
                    {".github/workflows/ci.yml",
                     "jobs:\n  build:\n    runs-on: ubuntu-latest\n    steps:\n"
                     "      - uses: docker/build-push-action@v6\n        with:\n          context: .\n"
                     "          build-args: NPM_TOKEN=${{ secrets.NPM_TOKEN }}\n"
                     "          cache-from: type=gha,scope=app\n          cache-to: type=gha,scope=app\n"},
                    {"clean up.sh", "#!/bin/sh\n# clears everything\ndocker builder prune\n"}});
}

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/doctor/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    ASSERT_TRUE(WriteFileAtomically(path, text));
    return;
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << path << ": VARVE_ACCEPT=1 writes it";
  EXPECT_EQ(text, *golden) << "VARVE_ACCEPT=1 accepts it";
}

TEST(DoctorGolden, Reports) {
  Project project = GoldenProject();
  auto findings = Diagnose(project, {});
  ExpectGolden("report.txt", ToText(project, findings, {}));
  ExpectGolden("report-color.txt", ToText(project, findings, {.color = true, .width = 80}));
  ExpectGolden("report.json", ToJson(project, findings).Dump({.indent = 2}) + "\n");
  ExpectGolden("report.sarif", ToSarif(findings, "1.2.3").Dump({.indent = 2}) + "\n");
  ExpectGolden("fix.patch", ToUnifiedDiff(MakePatch(project, findings)));
  ExpectGolden("nothing.txt", ToText(project, {}, {}));
  ExpectGolden("rules.txt", RulesText());
}

// What the schema of SARIF 2.1.0 requires of the objects that are used (sarif-schema-2.1.0.json).
TEST(Sarif, HasWhatTheStandardRequires) {
  Project project = GoldenProject();
  Json sarif = ToSarif(Diagnose(project, {}), "1.2.3");
  EXPECT_EQ(sarif.GetString("version"), "2.1.0");
  ASSERT_EQ(sarif.GetArray("runs").size(), 1u);
  const Json& run = sarif.GetArray("runs")[0];
  const Json* driver = run.Find("tool")->Find("driver");
  ASSERT_NE(driver, nullptr);
  EXPECT_NE(driver->GetString("name"), "");
  const auto& rules = driver->GetArray("rules");
  std::set<std::string> ids;
  for (const Json& rule : rules) {
    EXPECT_TRUE(ids.insert(rule.GetString("id")).second);
    EXPECT_NE(rule.Find("shortDescription")->GetString("text"), "");
  }
  ASSERT_FALSE(run.GetArray("results").empty());
  for (const Json& result : run.GetArray("results")) {
    EXPECT_NE(result.Find("message")->GetString("text"), "");
    auto index = static_cast<size_t>(result.GetInt("ruleIndex", -1));
    ASSERT_LT(index, rules.size());
    EXPECT_EQ(rules[index].GetString("id"), result.GetString("ruleId"));
    std::string level = result.GetString("level");
    EXPECT_TRUE(level == "note" || level == "warning" || level == "error") << level;
    const Json* place = result.GetArray("locations").at(0).Find("physicalLocation");
    std::string uri = place->Find("artifactLocation")->GetString("uri");
    EXPECT_EQ(uri.find(' '), uri.npos);
    EXPECT_GE(place->Find("region")->GetInt("startLine"), 1);
    for (const Json& fix : result.GetArray("fixes")) {
      ASSERT_FALSE(fix.GetArray("artifactChanges").empty());
      for (const Json& change : fix.GetArray("artifactChanges")) {
        EXPECT_NE(change.Find("artifactLocation"), nullptr);
        ASSERT_FALSE(change.GetArray("replacements").empty());
        for (const Json& replacement : change.GetArray("replacements")) {
          const Json* region = replacement.Find("deletedRegion");
          ASSERT_NE(region, nullptr);
          EXPECT_GE(region->GetInt("startLine"), 1);
          EXPECT_GE(region->GetInt("endLine"), region->GetInt("startLine"));
        }
      }
    }
  }
}

// --- Real files ------------------------------------------------------------------------------

std::string CorpusDirectory() {
  if (const char* given = std::getenv("VARVE_CORPUS")) return given;
  return std::string(VARVE_SOURCE_DIR) + "/../shared/corpus";
}

TEST(DoctorCorpus, SpeaksSeldomEnoughToBeRead) {
  std::string directory = CorpusDirectory();
  if (!std::filesystem::exists(directory + "/verdicts.jsonl")) {
    GTEST_SKIP() << "no corpus in " << directory << "; set VARVE_CORPUS";
  }
  std::map<std::string, int> files_with;
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file() || !entry.path().string().ends_with("Dockerfile")) continue;
    auto text = ReadFile(entry.path());
    ASSERT_TRUE(text);
    Project project;
    AddFile(project, "Dockerfile", FileKind::kDockerfile, *text);
    ReadCalls(project);
    ++files;
    std::set<std::string> here;
    for (const Finding& finding : Diagnose(project, {})) {
      here.insert(finding.rule);
      EXPECT_FALSE(ToText(project, {finding}, {}).empty());
    }
    for (const std::string& rule : here) ++files_with[rule];
  }
  ASSERT_GT(files, 800);
  // Percent of the files; the rest stays below 3.
  const std::map<std::string, int> limits = {
      {"MissingCacheMount", 50}, {"UnpinnedBase", 80}, {"SecretsUsedInArgOrEnv", 5}};
  for (const auto& [rule, count] : files_with) {
    auto limit = limits.find(rule);
    EXPECT_LE(count * 100, files * (limit == limits.end() ? 3 : limit->second)) << rule << " " << count;
  }
}

TEST(DoctorProject, WhatVarveStoresInAProjectIsNoPartOfIt) {
  auto directory = *sys::TempDir::Create(testing::TempDir(), "project-");
  const std::string layer = "/layers/ab/files/usr/src";
  auto write = [&](const std::string& path) {
    std::filesystem::create_directories(std::filesystem::path(directory.path() + path).parent_path());
    ASSERT_TRUE(WriteFileAtomically(directory.path() + path, "FROM scratch\n"));
  };
  for (const char* folder : {"/.state", "/app"}) write(folder + layer + "/Dockerfile");
  for (const char* of_root : {"/.state/records/x", "/.state/staging/x", "/.state/version", "/app/version"})
    write(of_root);
  auto project = OpenProject(directory.path());
  ASSERT_TRUE(project) << project.error().message;
  Texts paths;
  for (const auto& file : project->files) paths.push_back(file->path);
  EXPECT_EQ(paths, Texts{"app" + layer + "/Dockerfile"});
}

}  // namespace
}  // namespace varve::doctor
