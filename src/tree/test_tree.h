// Trees for tests, written as a list of paths.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tree/tree.h"

namespace varve::tree {

inline Node File(std::string_view content, uint32_t mode = 0644) {
  Node node;
  node.mode = mode;
  node.size = content.size();
  node.digest = Digest::Of(content);
  return node;
}

inline Node Dir(uint32_t mode = 0755) {
  Node node;
  node.type = NodeType::kDirectory;
  node.mode = mode;
  return node;
}

inline Node Link(std::string_view target) {
  Node node;
  node.type = NodeType::kSymlink;
  node.mode = 0777;
  node.target = target;
  return node;
}

inline Digest BuildTree(TreeStore& store, const std::map<std::string, Node>& nodes) {
  TreeEditor edit(store, EmptyTree());
  for (const auto& [path, node] : nodes) {
    auto put = edit.Put(RelPath(path), node);
    EXPECT_TRUE(put) << path << ": " << put.error().ToString();
  }
  auto root = edit.Commit();
  EXPECT_TRUE(root);
  return *root;
}

}  // namespace varve::tree
