// Rules that allow, deny and rewrite the sources of a build, as BuildKit has them (sourcepolicy/pb/policy.proto,
// sourcepolicy/engine.go): each selects sources by identifier and attributes, in the words of graph::SourceName.
//
//   TRY_ASSIGN(auto rules, SourceRules::Compile({{.action = Action::kDeny, .identifier = "http://*"}}));
//   TRY(Evaluate({{rules}}, source));                 // kInvalid: the source is denied
//
// Of the ALLOW and DENY rules of one list that match, the last counts; no match allows. A CONVERT rule that changes
// the source ends the round, and all lists are asked again about what it has become. An identifier is matched
//
//   exactly
//   as a wildcard  "*" is any text; the update's "$1" and "${1}" are what the first star stood for
//   as a regular expression (RE2), anywhere in the identifier; all matches are replaced by the update
//
// and without an update's identifier, the selector's stands for it. Pure; values are immutable and safe from any
// thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "graph/source_name.h"

namespace varve::policy {

enum class Action { kAllow, kDeny, kConvert };
enum class Match { kWildcard, kExact, kRegex };
enum class Condition { kEqual, kNotEqual, kMatches };  // kMatches: the value is a regular expression

struct Constraint {
  std::string attribute;  // one that is missing counts as empty
  std::string value;
  Condition condition = Condition::kEqual;
};

struct Update {
  std::string identifier;                         // empty: the selector's
  std::map<std::string, std::string> attributes;  // set, or replaced; others stay
};

struct Rule {
  Action action = Action::kAllow;
  std::string identifier;
  Match match = Match::kWildcard;
  std::vector<Constraint> constraints = {};  // all must hold
  std::optional<Update> update = {};         // kConvert
};

class SourceRules {
 public:
  // kInvalid for a pattern that is none, and for a CONVERT without an update.
  static Result<SourceRules> Compile(std::vector<Rule> rules);

  // One round. Whether the source was changed; kInvalid where it is denied.
  Result<bool> Apply(graph::SourceName& source) const;

 private:
  struct Compiled;
  std::vector<std::shared_ptr<const Compiled>> rules_;
};

// Rounds of all lists until nothing changes. Whether the source was changed; kInvalid where it is denied, or where the
// rules change it in a circle.
Result<bool> Evaluate(std::span<const SourceRules> lists, graph::SourceName& source);

}  // namespace varve::policy
