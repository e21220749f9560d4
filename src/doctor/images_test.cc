// Which images a patch could change.
#include "doctor/images.h"

#include <gtest/gtest.h>

#include <map>

namespace varve::doctor {
namespace {

using Files = std::map<std::string, std::string>;
using Names = std::vector<std::string>;

Project ProjectOf(const Files& files) {
  Project project;
  for (const auto& [path, text] : files) AddFile(project, path, KindOf(path).value(), text);
  ReadCalls(project);
  return project;
}

std::vector<TouchedImage> Touched(const Files& files, const Names& changed) {
  Patch patch;
  for (const std::string& path : changed) patch.files.push_back({.path = path});
  return ImagesTouchedBy(ProjectOf(files), patch);
}

Names NamesOf(const std::vector<TouchedImage>& images) {
  Names names;
  for (const TouchedImage& image : images) names.push_back(image.name);
  return names;
}

constexpr const char* kCompose =
    "services:\n"
    "  api: { build: { context: api, target: prod } }\n"
    "  web: { build: web }\n"
    "  again: { build: web }\n";
constexpr const char* kDockerfile = "FROM scratch AS prod\nCOPY . /\n";

TEST(Images, ADockerfileTouchesTheImagesThatAreBuiltFromIt) {
  Files files = {{"compose.yaml", kCompose}, {"api/Dockerfile", kDockerfile}, {"web/Dockerfile", kDockerfile}};
  auto touched = Touched(files, {"web/Dockerfile"});
  ASSERT_EQ(NamesOf(touched), (Names{"web/Dockerfile"}));
  EXPECT_TRUE(touched[0].definition);
  EXPECT_EQ(touched[0].context, "web");
  EXPECT_EQ(NamesOf(Touched(files, {"api/Dockerfile"})), (Names{"api/Dockerfile, target prod"}));
}

TEST(Images, AFileThatTheContextDoesNotHoldTouchesNone) {
  Files files = {{"compose.yaml", kCompose}, {"api/Dockerfile", kDockerfile}, {"web/Dockerfile", kDockerfile}};
  EXPECT_EQ(NamesOf(Touched(files, {"compose.yaml"})), Names{});
  files["Dockerfile"] = kDockerfile;
  auto touched = Touched(files, {"compose.yaml"});
  ASSERT_EQ(NamesOf(touched), (Names{"Dockerfile"}));
  EXPECT_FALSE(touched[0].definition);
  files[".dockerignore"] = "*.yaml\n";
  EXPECT_EQ(NamesOf(Touched(files, {"compose.yaml"})), Names{});
  EXPECT_EQ(NamesOf(Touched(files, {".dockerignore"})), (Names{"Dockerfile"}));
  files["Dockerfile.dockerignore"] = "!x\n";
  EXPECT_EQ(NamesOf(Touched(files, {"compose.yaml"})), (Names{"Dockerfile"}));
}

TEST(Images, ArgumentsOfThePlaceOfTheBuildYieldToDefaults) {
  Files files = {{"compose.yaml",
                  "services:\n  app:\n    build:\n      context: .\n"
                  "      args: { SHA: $SHA, VERSION: '${VERSION}', MODE: fast }\n"},
                 {"Dockerfile", "ARG VERSION=3.12\nFROM scratch\nARG SHA\nCOPY x /\n"}};
  auto touched = Touched(files, {"Dockerfile"});
  ASSERT_EQ(touched.size(), 1u);
  EXPECT_EQ(touched[0].args, (std::vector<std::pair<std::string, std::string>>{{"SHA", "$SHA"}, {"MODE", "fast"}}));
}

TEST(Images, WhatIsKnownOnlyWhereItIsBuiltIsSaid) {
  Files files = {{"build.sh", "docker build -f Dockerfile $WHERE\n"}, {"Dockerfile", "FROM scratch\nCOPY x /\n"}};
  auto touched = Touched(files, {"Dockerfile"});
  ASSERT_EQ(touched.size(), 2u);
  EXPECT_EQ(touched[0].unbuildable, "its context in build.sh, line 1, is known only where it is built");
  // The Dockerfile at the top may be that of another context: it is built by itself as well.
  EXPECT_EQ(touched[1].dockerfile, "Dockerfile");
  EXPECT_EQ(touched[1].unbuildable, "");
}

}  // namespace
}  // namespace varve::doctor
