// What a front end was asked, as provenance tells it: for the build itself, for the builds that its inputs came from,
// and by the client whose front end it works for (BuildKit's solver/llbsolver/provenance, RequestProvenance). Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace varve::attest {

struct NamedInvocation;

struct Invocation {
  std::string frontend = {};  // empty: the client's own, or none
  // By BuildKit's names: "target", "build-arg:K", "label:K", "no-cache", "context" (a URL, or absent for a directory),
  // "filename", "vcs:source", …. Any of them may be in here; what is not to be told is left out when it is written.
  std::map<std::string, std::string> args = {};
  std::optional<std::pair<std::string, std::string>> context_digest = {};  // "sha1", hex: of args["context"]
  std::vector<NamedInvocation> inputs;  // by name; only those that a front end is known to have made

  bool operator==(const Invocation& other) const;
};

struct NamedInvocation {
  std::string name;
  Invocation invocation;

  bool operator==(const NamedInvocation&) const = default;
};

// The parts of an invocation in the document. `complete` becomes false when something is left out of the short form:
// values that somebody has passed.
Json ToldArgs(const Invocation& invocation, bool max, bool& complete);
Json ConfigSource(const Invocation& invocation);  // without its path, which has two names
std::string ConfigPath(const Invocation& invocation);
// {NAME: {"configSource", "request"}}; null: there are none.
Json ToldInputs(const Invocation& invocation, bool max, bool& complete);
// {"configSource", "request"}: of the client that has its own front end. Null: it has asked nothing, or the same.
Json ToldClient(const Invocation& client, const Invocation& own, bool max, bool& complete);

}  // namespace varve::attest
