// Which RUNs do nothing but install what package files list.
#include "dockerfile/installs_only.h"

#include <gtest/gtest.h>

#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

std::string Of(const std::string& run) {
  auto file = ParseDockerfile("FROM a\nRUN " + run + "\n");
  EXPECT_TRUE(file) << run;
  return InstallsOnly(std::get<Run>(file->stages[0].instructions[0].body));
}

TEST(InstallsOnly, NamesTheManager) {
  EXPECT_EQ(Of("npm ci"), "npm");
  EXPECT_EQ(Of("--mount=type=cache,target=/root/.npm npm ci --omit=dev && npm cache clean --force"), "npm");
  EXPECT_EQ(Of("set -e; npm ci || npm install"), "npm");
  EXPECT_EQ(Of("yarn install --frozen-lockfile"), "yarn");
  EXPECT_EQ(Of("pip install --upgrade pip && pip install -r requirements.txt"), "pip");
  EXPECT_EQ(Of("apt-get update && apt-get install -y gcc && pip install -r requirements.txt"), "");
  EXPECT_EQ(Of("apt-get install -y gcc && pip install -r requirements.txt"), "pip");
  EXPECT_EQ(Of("poetry install --no-root --only main"), "poetry");
  EXPECT_EQ(Of("uv sync --frozen --no-install-project"), "uv");
  EXPECT_EQ(Of("mvn -B dependency:go-offline"), "mvn");
  EXPECT_EQ(Of("go mod download"), "go");
}

TEST(InstallsOnly, WhatMayReadAFileForAnythingElseIsNone) {
  for (const char* run : {"npm ci && npm run build",
                          "npm ci && node server.js",
                          "npm install -g .",
                          "npm ci --workspace a",
                          "npm --prefix a ci",
                          "npm ci | tee log",
                          "npm ci < package.json",
                          "npm ci --registry $(cat registry)",
                          "npm ci --registry `cat r`",
                          "cat package.json && npm ci",
                          "pip install .",
                          "pip install -r requirements.txt .",
                          "poetry install",
                          "uv sync",
                          "mvn dependency:go-offline package",
                          "mvn package",
                          "go build ./...",
                          "go mod download && go build",
                          "make",
                          "npm ci && pip install -r requirements.txt",
                          "true",
                          "npm ci && jq .version package.json > /version"}) {
    EXPECT_EQ(Of(run), "") << run;
  }
  EXPECT_EQ(Of("<<EOF\nnpm ci\nEOF"), "");
  EXPECT_EQ(Of("[\"npm\", \"ci\"]"), "");
}

}  // namespace
}  // namespace varve::dockerfile
