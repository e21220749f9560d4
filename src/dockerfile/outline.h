// What `--call outline` and `--call targets` say of a Dockerfile (reference cli.md §4), as values
// and as the JSON and text that clients know.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "dockerfile/ast.h"

namespace varve::dockerfile {

// What the target's stages ask of the caller. Each list is in the order of the file.
struct Outline {
  struct Arg {
    std::string name;
    std::string description;
    std::string value;
    Span span;
  };
  struct Credential {  // a secret or an ssh agent
    std::string name;
    bool required = false;
    Span span;
  };
  struct CacheMount {
    std::string id;
    Span span;
  };
  std::string name;  // of the target; empty: unnamed
  std::string description;
  std::vector<Arg> args;
  std::vector<Credential> secrets;
  std::vector<Credential> ssh;
  std::vector<CacheMount> caches;
};

Json ToJson(const Outline& outline, const std::string& source);
std::string ToText(const Outline& outline);

struct Target {
  std::string name;
  std::string description;
  std::string base;      // as written
  std::string platform;  // as written
  bool is_default = false;
  Span span;
};

std::vector<Target> ListTargets(const Dockerfile& file);
Json ToJson(const std::vector<Target>& targets, const std::string& source);
std::string ToText(const std::vector<Target>& targets);

}  // namespace varve::dockerfile
