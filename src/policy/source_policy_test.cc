#include "policy/source_policy.h"

#include <gtest/gtest.h>

#include "base/guarded.h"

namespace varve::policy {
namespace {

// Notes what it is asked, and changes what it knows.
class FakePolicy final : public SourcePolicy {
 public:
  std::map<std::string, graph::SourceName> changes;
  std::string denied;
  Guarded<std::map<std::string, std::string>> asked;  // identifier, platform

  Result<bool> Evaluate(graph::SourceName& source, const oci::Platform& platform) override {
    asked.Lock()->insert({source.identifier, platform.ToString()});
    if (source.identifier == denied) return Invalid("denied");
    auto change = changes.find(source.identifier);
    if (change == changes.end()) return false;
    source = change->second;
    return true;
  }
};

graph::Graph GraphOf(std::vector<graph::Op> ops) {
  graph::Graph graph;
  for (graph::Op& op : ops) {
    graph.Add({.op = std::move(op), .platform = {.os = "linux", .architecture = "amd64"}});
  }
  return graph;
}

const graph::ImageSource kImage{.reference = "docker.io/library/alpine:3"};

TEST(SourcePolicy, IsAskedAboutEachSourceOfAGraph) {
  graph::Graph graph = GraphOf({kImage, graph::HttpSource{.url = "https://host/a"}, graph::Merge{}});
  FakePolicy policy;
  ASSERT_TRUE(Apply(policy, graph));
  EXPECT_EQ(*policy.asked.Lock(),
            (std::map<std::string, std::string>{{"docker-image://docker.io/library/alpine:3", "linux/amd64"},
                                                {"https://host/a", "linux/amd64"}}));
}

TEST(SourcePolicy, PutsOtherSourcesInTheGraph) {
  graph::Graph graph = GraphOf({graph::HttpSource{.url = "https://host/a"}});
  FakePolicy policy;
  policy.changes["https://host/a"] = {.identifier = "https://mirror/a", .attributes = {{"http.perm", "0644"}}};
  ASSERT_TRUE(Apply(policy, graph));
  const auto& http = std::get<graph::HttpSource>(graph.steps[0].op);
  EXPECT_EQ(http.url, "https://mirror/a");
  EXPECT_EQ(http.mode, 0644u);
}

TEST(SourcePolicy, ADirectoryRemembersWhereItsIgnorePatternsAreFrom) {
  graph::Graph graph =
      GraphOf({graph::LocalSource{.name = "context", .exclude = {"a"}, .include = {}, .ignore_file = ".dockerignore"}});
  FakePolicy policy;
  policy.changes["local://context"] = {.identifier = "local://other", .attributes = {}};
  ASSERT_TRUE(Apply(policy, graph));
  const auto& local = std::get<graph::LocalSource>(graph.steps[0].op);
  EXPECT_EQ(local.name, "other");
  EXPECT_EQ(local.ignore_file, ".dockerignore");
}

TEST(SourcePolicy, ADeniedSourceEndsTheBuild) {
  graph::Graph graph = GraphOf({kImage});
  FakePolicy policy;
  policy.denied = "docker-image://docker.io/library/alpine:3";
  Status applied = Apply(policy, graph);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().message, "denied");
}

TEST(SourcePolicy, AnImageOfAGraphCannotBecomeADirectory) {
  graph::Graph graph = GraphOf({kImage});
  FakePolicy policy;
  policy.changes["docker-image://docker.io/library/alpine:3"] = {.identifier = "local://context", .attributes = {}};
  Status applied = Apply(policy, graph);
  ASSERT_FALSE(applied);
  EXPECT_EQ(
      applied.error().message,
      "source policy: \"docker-image://docker.io/library/alpine:3\" is an image that steps are built on, and cannot "
      "become \"local://context\"");
}

TEST(SourcePolicy, ASourceHasOneSpelling) {
  auto normal = [](std::string identifier) {
    graph::SourceName source{.identifier = std::move(identifier), .attributes = {}};
    Normalise(source);
    return source.identifier;
  };
  EXPECT_EQ(normal("docker-image://alpine"), "docker-image://docker.io/library/alpine:latest");
  EXPECT_EQ(normal("git://host/p.git#main:../a/./b"), "git://host/p.git#main:a/b");
  EXPECT_EQ(normal("odd://host"), "odd://host");
}

}  // namespace
}  // namespace varve::policy
