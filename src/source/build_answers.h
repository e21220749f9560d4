// What the servers of sources have answered to one build. A source that is asked about twice by one build, first by its
// front end and then by its steps, is the same both times, whatever happened to it in between.
//
// Safe from any thread. Lives as long as the build.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/guarded.h"
#include "source/git.h"
#include "source/http.h"

namespace varve::source {

class BuildAnswers {
 public:
  std::optional<HttpAnswer> Http(const std::string& request) { return Find(http_, request); }
  void SetHttp(const std::string& request, HttpAnswer answer) { http_.Lock()->emplace(request, std::move(answer)); }

  std::optional<GitRef> Git(const graph::GitSource& source) { return Find(git_, KeyOf(source)); }
  void SetGit(const graph::GitSource& source, GitRef ref) { git_.Lock()->emplace(KeyOf(source), std::move(ref)); }

 private:
  template <class Value>
  using Map = Guarded<std::map<std::string, Value>>;

  template <class Value>
  static std::optional<Value> Find(Map<Value>& map, const std::string& key) {
    auto locked = map.Lock();
    auto found = locked->find(key);
    return found == locked->end() ? std::nullopt : std::optional(found->second);
  }
  static std::string KeyOf(const graph::GitSource& source) { return source.remote + "\n" + source.ref; }

  Map<HttpAnswer> http_;
  Map<GitRef> git_;
};

}  // namespace varve::source
