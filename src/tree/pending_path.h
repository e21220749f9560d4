// The parts of a path that are still to be walked, when symbolic links put more in front of them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace varve::tree {

class PendingPath {
 public:
  explicit PendingPath(std::string_view path) { PushFront(path); }

  // Empty parts and "." are dropped; ".." is a part, since only the walk knows what it leads to.
  void PushFront(std::string_view path) {
    std::vector<std::string> parts;
    while (!path.empty()) {
      size_t slash = path.find('/');
      std::string_view part = path.substr(0, slash);
      path = slash == path.npos ? std::string_view() : path.substr(slash + 1);
      if (!part.empty() && part != ".") parts.emplace_back(part);
    }
    parts_.insert(parts_.end(), parts.rbegin(), parts.rend());
  }

  bool empty() const { return parts_.empty(); }

  std::string PopFront() {
    std::string part = std::move(parts_.back());
    parts_.pop_back();
    return part;
  }

 private:
  std::vector<std::string> parts_;  // the last is the first to walk
};

}  // namespace varve::tree
