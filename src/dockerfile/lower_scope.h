// Variables: the environment of a stage and the arguments from outside (reference dockerfile.md
// §2).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"
#include "dockerfile/expand.h"
#include "oci/platform.h"

namespace varve::dockerfile {

// Names and values in the order in which they first came. A few dozen: looking through them is
// faster than a map, and the order is what RUN gets.
class Variables {
 public:
  std::optional<std::string> Get(std::string_view name) const;
  void Set(std::string_view name, std::string_view value);  // in place, else at the end
  void Erase(std::string_view name);
  std::vector<std::string> Names() const;
  std::vector<std::string> Entries() const;  // "K=V"
  // The variables as expansion asks for them; *this must outlive it.
  GetVariable Getter() const;

 private:
  std::vector<std::pair<std::string, std::string>> entries_;
};

using BuildArgs = std::map<std::string, std::string, std::less<>>;

// What outline says of one ARG.
struct ArgFacts {
  std::string name;
  std::string description;
  std::string value;
  std::set<std::string> uses;  // arguments in its default
  Span span;
};

struct GlobalScope {
  Variables args;
  std::map<std::string, ArgFacts> facts;
};

// BUILDPLATFORM … TARGETSTAGE. `stage`: the target's name.
Variables AutomaticArgs(const oci::Platform& build, const oci::Platform& target, const std::string& stage,
                        const BuildArgs& overrides);

// The ARGs before the first FROM on top of the automatic ones. `place` gets the span of a failure.
Result<GlobalScope> GlobalArgs(const Dockerfile& file, Variables automatic, const BuildArgs& build_args, Span* place);

// Proxy settings among the build arguments, in both spellings, as environment of RUN steps that is
// neither in their key nor in the image.
std::vector<std::string> ProxyEnvironment(const BuildArgs& build_args);

// ARGs that speak to the builder and never become environment.
bool IsBuilderArg(std::string_view name);

}  // namespace varve::dockerfile
