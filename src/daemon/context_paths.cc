#include "daemon/context_paths.h"

#include <algorithm>

#include "base/rel_path.h"
#include "base/strings.h"

namespace varve::daemon {

namespace {

// Up to the first part with "**", which clients do not know in these paths.
std::string WithoutDoubleStar(const std::string& path) {
  std::string kept;
  for (const std::string& part : Split(path, '/')) {
    if (part.find("**") != part.npos) break;
    if (!part.empty() && part != ".") kept += (kept.empty() ? "" : "/") + part;
  }
  return kept;
}

}  // namespace

std::vector<std::string> FollowPaths(const std::vector<tree::Selector>& selectors) {
  std::vector<std::string> paths;
  for (const tree::Selector& selector : selectors) {
    std::string path = selector.wildcards ? WithoutDoubleStar(selector.path) : RelPath(selector.path).str();
    if (path.empty() || path == ".") return {};
    paths.push_back(std::move(path));
  }
  std::ranges::sort(paths);
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

}  // namespace varve::daemon
