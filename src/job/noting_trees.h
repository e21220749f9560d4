// Which tree objects somebody looks at: what a machine without them needs to compute the same.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tree/tree.h"

namespace varve::job {

// Encoded directories (tree/tree.h), by digest.
using NotedTrees = std::map<Digest, std::string>;

class NotingTrees final : public tree::TreeStore {
 public:
  NotingTrees(tree::TreeStore& trees, NotedTrees& noted) : trees_(trees), noted_(noted) {}
  Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest) override {
    TRY_ASSIGN(auto directory, trees_.Get(digest));
    if (directory) noted_.try_emplace(digest, tree::Encode(*directory));
    return directory;
  }
  Status Put(const std::vector<std::pair<Digest, std::string>>&) override { return Ok(); }

 private:
  tree::TreeStore& trees_;
  NotedTrees& noted_;
};

}  // namespace varve::job
