// For tests of matching: an image on a base, its layers as lists, and what was asked of them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dockerfile/lower_test.h"
#include "previous/match.h"
#include "tree/test_tree.h"

namespace varve::previous {

using tree::Dir;
using tree::File;
using tree::LayerEntry;
using tree::LayerIndex;
using tree::Link;
using tree::Node;

inline DiffId Id(const std::string& name) { return DiffId(Digest::Of(name)); }

inline LayerIndex Index(const std::vector<std::pair<std::string, Node>>& entries) {
  LayerIndex index;
  for (const auto& [path, node] : entries) index.push_back({.path = RelPath(path), .node = node});
  return index;
}

class FakeContents final : public Contents {
 public:
  tree::TreeStore& trees() override { return store; }
  Result<Digest> BaseTree() override {
    ++base_trees;
    return base;
  }
  Result<LayerIndex> Layer(const DiffId& layer) override {
    pulled.push_back(layer);
    if (gone) return NotFound("the layer is gone");
    if (!layers.contains(layer)) return Unavailable("the registry does not answer");
    return layers[layer];
  }
  Result<std::optional<Digest>> Input(const graph::Ref& ref) override {
    auto found = inputs.find(ref.step);
    return found == inputs.end() ? context : found->second;
  }

  tree::MemoryTreeStore store;
  Digest base = tree::BuildTree(store, {{"bin", Dir()}, {"bin/sh", File("sh", 0755)}, {"link", Link("bin")}});
  std::optional<Digest> context = tree::BuildTree(store, {{"a.txt", File("a\n")},
                                                          {"sub", Dir()},
                                                          {"sub/s.txt", File("s\n")},
                                                          {"tool", File("tool", 0755)},
                                                          {"a.tar.gz", File("a\n")}});
  std::map<graph::StepIndex, std::optional<Digest>> inputs;
  std::map<DiffId, LayerIndex> layers;
  std::vector<DiffId> pulled;
  bool gone = false;
  int base_trees = 0;
};

inline Node Owned(Node node, uint32_t uid, uint32_t gid) {
  node.uid = uid;
  node.gid = gid;
  return node;
}

struct Recorded {
  std::string created_by;
  std::string comment = {};
  bool has_layer = true;
};

inline constexpr const char* kBuildKit = "buildkit.dockerfile.v0";

class MatchTest : public dockerfile::LowerTest {
 protected:
  // An image on the base image that FakeImages gives; its layers are named "1", "2", ….
  static oci::ImageConfig Image(const std::vector<Recorded>& recorded) {
    oci::ImageConfig image = dockerfile::FakeImages::Config(dockerfile::FakeImages::kBaseConfig);
    std::vector<DiffId> layers = image.diff_ids();
    for (const Recorded& entry : recorded) {
      image.AddHistory({.created_by = entry.created_by, .comment = entry.comment, .empty_layer = !entry.has_layer});
      if (entry.has_layer) layers.push_back(Id(std::to_string(layers.size())));
    }
    image.set_diff_ids(layers);
    return image;
  }

  Outcome Match(const std::string& file, const oci::ImageConfig& image, Trust trust = Trust::kHistory) {
    lowered_ = Do(file);
    auto outcome = MatchImage(image, PlannedOf(lowered_, lowered_.graph)[0], trust, wanted, contents);
    if (!outcome) {
      ADD_FAILURE() << outcome.error().ToString();
      return {};
    }
    return *outcome;
  }

  // "COPY a.txt /b=1 verified"
  std::vector<std::string> Answers(const Outcome& outcome) const {
    std::vector<std::string> out;
    for (const Answer& answer : outcome.answers) {
      const std::string& name = lowered_.graph.steps[answer.step].name;
      out.push_back(name.substr(name.find("] ") + 2) + " = " + std::to_string(answer.layers - 1) +
                    (answer.verified ? " verified" : ""));
    }
    return out;
  }

  FakeContents contents;
  IsWanted wanted = [](graph::StepIndex) { return true; };
  dockerfile::Lowered lowered_;
};

}  // namespace varve::previous
