#include "cli/image_difference.h"

#include <set>

#include "base/json.h"

namespace varve::cli {

std::vector<std::string> ConfigDifferences(const std::string& a, const std::string& b) {
  std::vector<std::string> names;
  auto x = Json::Parse(a), y = Json::Parse(b);
  if (!x || !y) return names;
  auto compare = [&](const Json& p, const Json& q, const std::string& prefix) {
    std::set<std::string> members;
    for (const Json* json : {&p, &q}) {
      for (const auto& [name, value] : json->as_object()) members.insert(name);
    }
    for (const std::string& name : members) {
      const Json *m = p.Find(name), *n = q.Find(name);
      if ((m == nullptr) != (n == nullptr) || (m != nullptr && !(*m == *n))) names.push_back(prefix + name);
    }
  };
  compare(*x, *y, "");
  // Layers are told file by file.
  std::erase(names, "rootfs");
  if (std::erase(names, "config") != 0) compare(*x->Find("config"), *y->Find("config"), "config.");
  return names;
}

}  // namespace varve::cli
