// Weak steps and traces by hand, over layers that are trees.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/no_runner.h"
#include "engine/replay.h"
#include "tree/test_tree.h"

namespace varve::engine {

// Layers as trees, as the runner of a build knows them.
class FakeLayers final : public NoRunner {
 public:
  // One that is no tree by itself.
  DiffId AddRemoving(const std::string& name) {
    DiffId layer(Digest::Of(name));
    contents_[layer] = {.digest = Digest::Of(name), .tree = {}};
    return layer;
  }
  DiffId Add(const std::string& name, const std::map<std::string, tree::Node>& files) {
    DiffId layer(Digest::Of(name));
    LayerContent content{.digest = tree::BuildTree(trees, files), .tree = {}};
    content.tree = content.digest;
    for (const auto& [path, node] : files) content.has_xattrs |= !node.xattrs.empty();
    contents_[layer] = content;
    return layer;
  }

  Result<LayerContent> ContentOf(const DiffId& layer, bool) override { return contents_.at(layer); }
  Result<Timestamp> TimeOf(const DiffId& layer, const RelPath& path) override {
    return Timestamp{times[layer.ToString() + "/" + path.str()]};
  }
  Result<PackageLayer> PackagesOf(const DiffId& layer, const std::string& manager) override {
    EXPECT_EQ(manager, "npm");
    return packages[layer];
  }
  Result<bool> Touches(const DiffId&, const std::vector<std::string>&) override { return false; }

  tree::MemoryTreeStore trees;
  std::map<DiffId, PackageLayer> packages;
  std::map<std::string, int64_t> times;  // "layer/path"

 private:
  std::map<DiffId, LayerContent> contents_;
};

struct TracedFixture : testing::Test {
  WeakStep Of(const std::vector<LayerBelow>& below, bool strict_mtime = false) {
    auto weak = ComputeWeakStep({.op = graph::Exec{}, .inputs = {}, .platform = {}, .name = "RUN x", .installs = "npm"},
                                keyed_, {below}, strict_mtime, layers_.trees, layers_);
    EXPECT_TRUE(weak);
    return weak ? *weak : WeakStep();
  }
  static LayerBelow Traced(const DiffId& layer) { return {layer, LayerBelow::Kind::kTraced}; }
  static LayerBelow Content(const DiffId& layer) { return {layer, LayerBelow::Kind::kContent}; }

  // Whether a run with this trace stands on `weak`: "stands", or the first path and its difference.
  std::string CheckOn(const cache::StepTrace& trace, const WeakStep& weak) {
    auto replay = CheckTrace(trace, weak, layers_.trees, layers_);
    if (!replay) return replay.error().message;
    return replay->stands ? "stands" : replay->path + ": " + replay->differs;
  }

  FakeLayers layers_;
  const KeyedStep keyed_{.key = StepKey(Digest::Of("key")), .preimage = R"({"lineage":"p","op":{}})"};
};

}  // namespace varve::engine
