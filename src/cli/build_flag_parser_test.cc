#include "cli/build_flag_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

namespace varve::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// What `varve build WORDS` would be given.
Result<job::BuildFlags> Parse(std::vector<std::string> words) {
  CLI::App app;
  BuildFlagParser parser;
  parser.Define(app);
  std::ranges::reverse(words);  // as CLI11 takes them
  app.parse(std::move(words));
  return parser.Finish();
}

job::BuildFlags Build(std::vector<std::string> words) {
  auto flags = Parse(std::move(words));
  EXPECT_TRUE(flags) << flags.error().message;
  return flags ? *flags : job::BuildFlags();
}

TEST(BuildFlags, ContextMayComeAnywhere) {
  EXPECT_EQ(Build({".", "-t", "a"}).context, ".");
  EXPECT_EQ(Build({"-t", "a", "."}).context, ".");
  EXPECT_EQ(Build({"-t", "a", "-t", "b", "ctx", "--pull"}).tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(Build({"-"}).context, "-");
}

TEST(BuildFlags, AMissingContextSaysWhatToType) {
  Error error = Parse({}).error();
  EXPECT_THAT(error.message, HasSubstr("context"));
  EXPECT_THAT(error.hint, HasSubstr("varve build ."));
}

TEST(BuildFlags, BuildArgsWithoutValueComeFromTheEnvironment) {
  setenv("VARVE_TEST_ARG", "from env", 1);
  EXPECT_THAT(
      Build({"--build-arg", "A=1", "--build-arg", "VARVE_TEST_ARG", "--build-arg", "VARVE_TEST_UNSET", "."}).build_args,
      ElementsAre(Pair("A", "1"), Pair("VARVE_TEST_ARG", "from env")));
}

TEST(BuildFlags, NoCacheAndItsFilterExcludeEachOther) {
  EXPECT_FALSE(Parse({"--no-cache", "--no-cache-filter", "a", "."}));
  EXPECT_THAT(Build({"--no-cache-filter", "a,b", "."}).no_cache_filter, ElementsAre("a", "b"));
}

TEST(BuildFlags, ScriptsForDockerBuildRun) {
  job::BuildFlags flags = Build({"--rm", "--force-rm", "-m", "1g", "--provenance=false", "--builder", "x", "--label",
                                 "a=b", "--add-host", "db:1.2.3.4", "."});
  EXPECT_EQ(flags.resources["memory"], "1g");
  EXPECT_THAT(flags.labels, ElementsAre(Pair("a", "b")));
  EXPECT_THAT(flags.extra_hosts, ElementsAre(Pair("db", "1.2.3.4")));
}

TEST(BuildFlags, WhatIsNotThereIsRefused) {
  EXPECT_THAT(Parse({"--cache-to", "type=nowhere", "."}).error().message, HasSubstr("--cache-to"));
  EXPECT_THAT(Parse({"--attest=type=vex", "."}).error().message, HasSubstr("unknown attestation type"));
}

TEST(BuildFlags, AttestationsAreAskedForInSeveralWays) {
  EXPECT_FALSE(Parse({"."})->attest.Any());
  EXPECT_TRUE(Parse({"--provenance=true", "."})->attest.provenance->max);
  EXPECT_FALSE(Parse({"--provenance=min", "."})->attest.provenance->max);
  EXPECT_EQ(Parse({"--sbom=scanner:1", "."})->attest.sbom->generator, "scanner:1");
  EXPECT_FALSE(Parse({"--attest", "type=sbom", "--sbom=false", "."})->attest.Any());
  EXPECT_TRUE(Parse({"--build-arg", "BUILDKIT_ATTEST_SBOM=true", "."})->attest.sbom.has_value());
}

TEST(Secret, FromFileEnvironmentOrById) {
  EXPECT_EQ(job::ParseSecret("id=a,src=f")->path, "f");
  EXPECT_EQ(job::ParseSecret("id=a,env=V")->variable, "V");
  EXPECT_EQ(job::ParseSecret("type=env,id=a,src=V")->variable, "V");
  EXPECT_EQ(job::ParseSecret("id=varve-no-such-variable")->path, "varve-no-such-variable");
  EXPECT_FALSE(job::ParseSecret("src=f"));
  EXPECT_FALSE(job::ParseSecret("id=a,sorce=f"));
}

TEST(Ssh, SocketOrKeys) {
  EXPECT_EQ(job::ParseSsh("default")->id, "default");
  EXPECT_THAT(job::ParseSsh("id=a,b")->paths, ElementsAre("a", "b"));
}

TEST(AddHost, BothSeparatorsAndIpv6) {
  EXPECT_THAT(*job::ParseAddHost("h=::1"), ElementsAre(Pair("h", "::1")));
  EXPECT_THAT(*job::ParseAddHost("h:[::1]"), ElementsAre(Pair("h", "::1")));
  EXPECT_FALSE(job::ParseAddHost("h:host-gateway"));
  EXPECT_FALSE(job::ParseAddHost("nohost"));
}

TEST(Ulimit, SoftMustNotExceedHard) {
  EXPECT_EQ(job::ParseUlimit("nofile=10:20")->hard, 20);
  EXPECT_EQ(job::ParseUlimit("nofile=10")->hard, 10);
  EXPECT_FALSE(job::ParseUlimit("nofile=20:10"));
  EXPECT_THAT(job::ParseUlimit("nofil=1").error().message, HasSubstr("nofile"));
}

TEST(CallFlag, NameFormatAndStatus) {
  EXPECT_EQ(Build({"."}).call.name, "build");
  EXPECT_EQ(Build({"--check", "."}).call.name, "lint");
  EXPECT_EQ(Build({"--print", "outline", "."}).call.name, "outline");
  job::CallFlag call = Build({"--call=check,format=json,ignorestatus=true", "."}).call;
  EXPECT_EQ(call.name, "lint");
  EXPECT_TRUE(call.json);
  EXPECT_TRUE(call.ignore_status);
  EXPECT_EQ(call.hints, job::CallFlag::Hints::kShow);
  EXPECT_EQ(job::ParseCall("lint,hints=error")->hints, job::CallFlag::Hints::kError);
  EXPECT_EQ(job::ParseCall("lint")->name, "lint");
}

TEST(CallFlag, MistakesAreNamed) {
  EXPECT_EQ(job::ParseCall("outlin").error().ToString(), "invalid --call \"outlin\"\ndid you mean outline?");
  EXPECT_THAT(job::ParseCall("x").error().hint, HasSubstr("use build, check"));
  EXPECT_EQ(job::ParseCall("check,outline").error().message, "invalid --call \"check,outline\": it has two names");
  EXPECT_EQ(job::ParseCall("check,format=yaml").error().message, "invalid --call format \"yaml\": use json or text");
  EXPECT_EQ(job::ParseCall("check,ignorestatus=maybe").error().message,
            "invalid --call ignorestatus \"maybe\": use true or false");
  EXPECT_EQ(job::ParseCall("check,colour=red").error().message,
            "invalid --call option \"colour\": use format, ignorestatus or hints");
}

}  // namespace
}  // namespace varve::cli
