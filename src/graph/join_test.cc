#include "graph/join.h"

#include <gtest/gtest.h>

namespace varve::graph {
namespace {

const oci::Platform kAmd64{.os = "linux", .architecture = "amd64"};
const oci::Platform kArm64{.os = "linux", .architecture = "arm64"};

Step Context() { return {.op = LocalSource{.name = "context"}, .name = "[internal] load build context"}; }

Step Image(const oci::Platform& platform) {
  return {.op = ImageSource{.reference = "docker.io/library/busybox:latest"},
          .platform = platform,
          .name = "[" + platform.ToString() + " 1/2] FROM busybox"};
}

Step Run(StepIndex base, const std::string& command, const oci::Platform& platform) {
  return {.op = Exec{.args = {"/bin/sh", "-c", command}, .mounts = {{.target = "/", .input = 0, .output = 0}}},
          .inputs = {{base}},
          .platform = platform,
          .name = "[" + platform.ToString() + "] RUN " + command};
}

// As a Dockerfile with a native build stage lowers: the context, FROM --platform=$BUILDPLATFORM and
// RUN make are the same for every target, the final stage is not.
Graph CrossBuild(const oci::Platform& target) {
  Graph graph;
  StepIndex context = graph.Add(Context());
  StepIndex native = graph.Add(Image(kAmd64));
  StepIndex make = graph.Add(Run(native, "make", kAmd64));
  graph.steps[make].inputs.push_back({context});
  std::get<Exec>(graph.steps[make].op).mounts.push_back({.target = "/src", .input = 1, .readonly = true});
  StepIndex base = graph.Add(Image(target));
  Copy copy{.input = 1, .dest = "/app"};
  graph.Add({.op = FileOp{.base = 0, .actions = {copy}},
             .inputs = {{base}, {make}},
             .platform = target,
             .name = "[" + target.ToString() + "] COPY"});
  return graph;
}

TEST(Join, WhatIsTheSameForBothPlatformsIsThereOnce) {
  Joined joined = Join({CrossBuild(kAmd64), CrossBuild(kArm64)});
  ASSERT_TRUE(Validate(joined.graph));
  // context, FROM, RUN make, FROM (the final stage's: equal steps of one graph stay apart), COPY
  // for amd64; FROM and COPY for arm64.
  EXPECT_EQ(joined.graph.steps.size(), 7u);
  EXPECT_EQ(joined.places[0], (std::vector<StepIndex>{0, 1, 2, 3, 4}));
  EXPECT_EQ(joined.places[1], (std::vector<StepIndex>{0, 1, 2, 5, 6}));
  const Step& copy = joined.graph.at(joined.Place(1, {4}));
  EXPECT_EQ(copy.platform, kArm64);
  EXPECT_EQ(copy.inputs, (std::vector<Ref>{{5}, {2}}));
}

TEST(Join, ASharedStepHasTheNameOfTheFirstGraph) {
  Graph other = CrossBuild(kArm64);
  other.steps[2].name = "[another name]";
  Joined joined = Join({CrossBuild(kAmd64), other});
  EXPECT_EQ(joined.graph.steps[2].name, "[linux/amd64] RUN make");
}

TEST(Join, ADifferenceAboveKeepsTheStepsBelowApart) {
  Graph other = CrossBuild(kArm64);
  std::get<LocalSource>(other.steps[0].op).exclude = {"*.md"};
  Joined joined = Join({CrossBuild(kAmd64), other});
  EXPECT_NE(joined.places[1][2], joined.places[0][2]);
  EXPECT_EQ(joined.places[1][1], joined.places[0][1]);
}

TEST(Join, HowAStepIsRunKeepsItApartAlthoughItsKeyIsTheSame) {
  auto with = [](auto change) {
    Graph graph = CrossBuild(kAmd64);
    change(std::get<Exec>(graph.steps[2].op));
    return graph;
  };
  for (const Graph& other : {with([](Exec& e) {
                               e.resources = {{"memory", "1g"}};
                             }),
                             with([](Exec& e) {
                               e.extra_hosts = {{"db", "10.0.0.1"}};
                             }),
                             with([](Exec& e) { e.proxy_env = {"HTTP_PROXY=http://127.0.0.1:1"}; })}) {
    Joined joined = Join({CrossBuild(kAmd64), other});
    EXPECT_NE(joined.places[1][2], joined.places[0][2]);
  }
  Graph again = CrossBuild(kAmd64);
  again.steps[2].no_cache = true;
  EXPECT_NE(Join({CrossBuild(kAmd64), again}).places[1][2], 2u);
}

TEST(Join, EqualGraphsAreOneGraph) {
  Joined joined = Join({CrossBuild(kArm64), CrossBuild(kArm64), CrossBuild(kArm64)});
  EXPECT_EQ(joined.graph.steps.size(), 5u);
  EXPECT_EQ(joined.places[2], joined.places[0]);
  EXPECT_TRUE(Join({}).graph.steps.empty());
}

}  // namespace
}  // namespace varve::graph
