#include "daemon/invocations.h"

#include <gtest/gtest.h>

#include "llb/definition.h"

namespace varve::daemon {
namespace {

pb::Definition DefinitionOf(const std::string& text) {
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/made", .data = text}}}});
  return llb::Encode(graph, graph::Ref{0, 0});
}

TEST(Invocations, LastAsLongAsTheirBuild) {
  Invocations invocations;
  invocations.Add("build-1", DefinitionOf("a"), {.frontend = "one"});
  ASSERT_TRUE(invocations.Find(DefinitionOf("a")));
  EXPECT_EQ(invocations.Find(DefinitionOf("a"))->frontend, "one");
  EXPECT_FALSE(invocations.Find(DefinitionOf("b")));
  invocations.Forget("build-1");
  EXPECT_FALSE(invocations.Find(DefinitionOf("a")));
}

TEST(Invocations, ThatDisagreeSayNothing) {
  Invocations invocations;
  invocations.Add("build-1", DefinitionOf("a"), {.frontend = "one"});
  invocations.Add("build-2", DefinitionOf("a"), {.frontend = "one"});
  EXPECT_TRUE(invocations.Find(DefinitionOf("a")));
  invocations.Add("build-3", DefinitionOf("a"), {.frontend = "one", .args = {{"target", "other"}}});
  EXPECT_FALSE(invocations.Find(DefinitionOf("a")));
  invocations.Forget("build-3");
  EXPECT_TRUE(invocations.Find(DefinitionOf("a")));
}

TEST(Invocations, AreOfResults) {
  Invocations invocations;
  invocations.Add("build-1", {}, {.frontend = "one"});
  EXPECT_FALSE(invocations.Find({}));
  pb::Definition broken;
  broken.add_def("no operation");
  invocations.Add("build-1", broken, {.frontend = "one"});
  EXPECT_FALSE(invocations.Find(broken));
}

}  // namespace
}  // namespace varve::daemon
