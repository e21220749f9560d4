#include "policy/policy_file.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "base/json.h"
#include "base/strings.h"

namespace varve::policy {

namespace {

constexpr std::array<std::string_view, 3> kActions = {"ALLOW", "DENY", "CONVERT"};
constexpr std::array<std::string_view, 3> kMatches = {"WILDCARD", "EXACT", "REGEX"};
constexpr std::array<std::string_view, 3> kConditions = {"EQUAL", "NOTEQUAL", "MATCHES"};

Status CheckMembers(const Json& object, std::string_view what, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) return Invalid("{} is no JSON object", what);
  for (const auto& [name, value] : object.as_object()) {
    if (std::ranges::find(known, name) == known.end()) return Invalid("{} has an unknown member \"{}\"", what, name);
  }
  return Ok();
}

// By name or number; the first where the member is missing.
Result<size_t> ReadName(const Json& object, const std::string& member, std::span<const std::string_view> names) {
  const Json* value = object.Find(member);
  if (value == nullptr) return size_t{0};
  if (value->is_string()) {
    auto found = std::ranges::find(names, std::string_view(value->as_string()));
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
  } else if (value->is_int() && value->as_int() >= 0 && value->as_int() < static_cast<int64_t>(names.size())) {
    return static_cast<size_t>(value->as_int());
  }
  return Invalid("{} is {}; it may be {}", member, value->Dump(),
                 Join(std::vector<std::string>(names.begin(), names.end()), ", "));
}

Result<std::string> ReadText(const Json& object, const std::string& member) {
  const Json* value = object.Find(member);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return Invalid("{} is no string: {}", member, value->Dump());
  return value->as_string();
}

Result<Constraint> ReadConstraint(const Json& json) {
  TRY(CheckMembers(json, "a constraint", {"key", "value", "condition"}));
  Constraint constraint;
  TRY_ASSIGN(constraint.attribute, ReadText(json, "key"));
  TRY_ASSIGN(constraint.value, ReadText(json, "value"));
  TRY_ASSIGN(size_t condition, ReadName(json, "condition", kConditions));
  constraint.condition = static_cast<Condition>(condition);
  return constraint;
}

Result<Update> ReadUpdate(const Json& json) {
  TRY(CheckMembers(json, "updates", {"identifier", "attrs"}));
  Update update;
  TRY_ASSIGN(update.identifier, ReadText(json, "identifier"));
  if (const Json* attributes = json.Find("attrs")) {
    if (!attributes->is_object()) return Invalid("attrs is no JSON object");
    for (const auto& [name, value] : attributes->as_object()) {
      TRY_ASSIGN(update.attributes[name], ReadText(*attributes, name));
    }
  }
  return update;
}

Result<Rule> ReadRule(const Json& json) {
  TRY(CheckMembers(json, "it", {"action", "selector", "updates"}));
  Rule rule;
  TRY_ASSIGN(size_t action, ReadName(json, "action", kActions));
  rule.action = static_cast<Action>(action);
  const Json* selector = json.Find("selector");
  if (selector == nullptr) return Invalid("it has no selector");
  TRY(CheckMembers(*selector, "the selector", {"identifier", "match_type", "matchType", "constraints"}));
  TRY_ASSIGN(rule.identifier, ReadText(*selector, "identifier"));
  if (rule.identifier.empty()) return Invalid("the selector has no identifier");
  TRY_ASSIGN(size_t match, ReadName(*selector, selector->Find("matchType") ? "matchType" : "match_type", kMatches));
  rule.match = static_cast<Match>(match);
  if (const Json* constraints = selector->Find("constraints")) {
    if (!constraints->is_array()) return Invalid("constraints is no JSON array");
    for (const Json& item : constraints->as_array()) {
      TRY_ASSIGN(rule.constraints.emplace_back(), ReadConstraint(item));
    }
  }
  if (const Json* updates = json.Find("updates")) {
    TRY_ASSIGN(rule.update, ReadUpdate(*updates));
  }
  return rule;
}

}  // namespace

Result<SourceRules> ParsePolicyFile(std::string_view text) {
  TRY_ASSIGN(Json json, Json::Parse(text));
  TRY(CheckMembers(json, "the policy", {"version", "rules"}));
  std::vector<Rule> rules;
  if (const Json* list = json.Find("rules")) {
    if (!list->is_array()) return Invalid("rules is no JSON array");
    for (const Json& item : list->as_array()) {
      auto rule = ReadRule(item);
      if (!rule) return Error(std::move(rule).error()).With(fmt::format("rule {}", rules.size() + 1));
      rules.push_back(std::move(*rule));
    }
  }
  return SourceRules::Compile(std::move(rules));
}

}  // namespace varve::policy
