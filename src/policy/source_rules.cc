#include "policy/source_rules.h"

#include <re2/re2.h>

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace varve::policy {

namespace {

using Pattern = std::unique_ptr<const re2::RE2>;
using Groups = std::vector<re2::StringPiece>;

constexpr int kMaxRounds = 20;

Result<Pattern> CompilePattern(const std::string& text) {
  auto pattern = std::make_unique<re2::RE2>(text, re2::RE2::Quiet);
  if (!pattern->ok()) return Invalid("source policy: invalid regular expression \"{}\": {}", text, pattern->error());
  return Pattern(std::move(pattern));
}

Result<Pattern> CompileWildcard(const std::string& text) {
  if (text.find("**") != text.npos) return Invalid("source policy: invalid wildcard: \"**\" in \"{}\"", text);
  std::string expression = "^";
  for (size_t from = 0;;) {
    size_t star = text.find('*', from);
    expression += re2::RE2::QuoteMeta(text.substr(from, star - from));
    if (star == text.npos) break;
    expression += "(.*)";
    from = star + 1;
  }
  return CompilePattern(expression + "$");
}

// What $name and ${name} in a template stand for, as Go's regexp.Expand reads them: the longest name of letters,
// digits and underscores; a group that is not there is empty, "$$" is a dollar, any other dollar stands for itself.
void Expand(const re2::RE2& pattern, std::string_view form, const Groups& groups, std::string& out) {
  auto is_name = [](char c) { return isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  while (!form.empty()) {
    size_t dollar = std::min(form.find('$'), form.size());
    out += form.substr(0, dollar);
    form.remove_prefix(dollar);
    if (form.size() < 2) break;
    if (form[1] == '$') {
      out += '$';
      form.remove_prefix(2);
      continue;
    }
    const bool braces = form[1] == '{';
    const size_t begin = braces ? 2 : 1;
    size_t end = begin;
    while (end < form.size() && is_name(form[end])) ++end;
    if (end == begin || (braces && (end == form.size() || form[end] != '}'))) {
      out += '$';
      form.remove_prefix(1);
      continue;
    }
    const std::string name(form.substr(begin, end - begin));
    auto named = pattern.NamedCapturingGroups().find(name);
    int64_t group = named != pattern.NamedCapturingGroups().end() ? named->second : ParseInt(name).value_or(-1);
    if (group >= 0 && static_cast<size_t>(group) < groups.size() &&
        groups[static_cast<size_t>(group)].data() != nullptr) {
      out.append(groups[static_cast<size_t>(group)].data(), groups[static_cast<size_t>(group)].size());
    }
    form.remove_prefix(end + (braces ? 1 : 0));
  }
  out += form;
}

// Go's ReplaceAllString: an empty match next to the one before it does not count.
std::string ReplaceAll(const re2::RE2& pattern, const std::string& text, const std::string& form) {
  Groups groups(static_cast<size_t>(pattern.NumberOfCapturingGroups()) + 1);
  std::string out;
  size_t done = 0;  // what of `text` is in `out`
  size_t from = 0;  // where the next match may begin
  size_t last_end = text.npos;
  while (from <= text.size() &&
         pattern.Match(text, from, text.size(), re2::RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size()))) {
    const auto begin = static_cast<size_t>(groups[0].data() - text.data());
    const size_t end = begin + groups[0].size();
    out.append(text, done, begin - done);
    if (end > begin || begin != last_end) Expand(pattern, form, groups, out);
    done = last_end = end;
    from = end > begin ? end : end + 1;
  }
  return out + text.substr(done);
}

// Of a repository, without what is wanted of it.
std::string_view Place(std::string_view identifier) { return identifier.substr(0, identifier.find('#')); }

}  // namespace

struct SourceRules::Compiled {
  Rule rule;
  Pattern pattern;                  // none: Match::kExact
  std::vector<Pattern> attributes;  // of the constraints: none where they are no patterns

  bool Matches(const graph::SourceName& source) const {
    for (size_t i = 0; i < rule.constraints.size(); ++i) {
      const Constraint& constraint = rule.constraints[i];
      auto at = source.attributes.find(constraint.attribute);
      const std::string& value = at == source.attributes.end() ? std::string() : at->second;
      bool holds = constraint.condition == Condition::kMatches ? re2::RE2::PartialMatch(value, *attributes[i])
                                                               : value == constraint.value;
      if (constraint.condition == Condition::kNotEqual) holds = !holds;
      if (!holds) return false;
    }
    return rule.identifier == source.identifier || (pattern && re2::RE2::PartialMatch(source.identifier, *pattern));
  }

  std::string Converted(const std::string& identifier) const {
    const std::string& form = rule.update->identifier.empty() ? rule.identifier : rule.update->identifier;
    if (rule.match == Match::kExact) return form;
    if (rule.match == Match::kRegex) return ReplaceAll(*pattern, identifier, form);
    Groups groups(static_cast<size_t>(pattern->NumberOfCapturingGroups()) + 1);
    if (!pattern->Match(identifier, 0, identifier.size(), re2::RE2::UNANCHORED, groups.data(),
                        static_cast<int>(groups.size()))) {
      return identifier;
    }
    std::string out;
    Expand(*pattern, form, groups, out);
    return out;
  }

  bool Convert(graph::SourceName& source) const {
    bool changed = false;
    std::string identifier = Converted(source.identifier);
    if (!identifier.empty() && identifier != source.identifier) {
      // The attribute has the whole address of the repository that was, and would win.
      if (Place(identifier) != Place(source.identifier)) source.attributes.erase("git.fullurl");
      source.identifier = std::move(identifier);
      changed = true;
    }
    for (const auto& [name, value] : rule.update->attributes) {
      std::string& attribute = source.attributes[name];
      if (attribute == value) continue;
      attribute = value;
      changed = true;
    }
    return changed;
  }
};

Result<SourceRules> SourceRules::Compile(std::vector<Rule> rules) {
  SourceRules out;
  for (Rule& rule : rules) {
    if (rule.action == Action::kConvert && !rule.update) {
      return Invalid("source policy: missing destination for convert rule of \"{}\"", rule.identifier);
    }
    auto compiled = std::make_shared<Compiled>();
    for (const Constraint& constraint : rule.constraints) {
      Pattern pattern;
      if (constraint.condition == Condition::kMatches) {
        TRY_ASSIGN(pattern, CompilePattern(constraint.value));
      }
      compiled->attributes.push_back(std::move(pattern));
    }
    if (rule.match == Match::kRegex) {
      TRY_ASSIGN(compiled->pattern, CompilePattern(rule.identifier));
    } else if (rule.match == Match::kWildcard) {
      TRY_ASSIGN(compiled->pattern, CompileWildcard(rule.identifier));
    }
    compiled->rule = std::move(rule);
    out.rules_.push_back(std::move(compiled));
  }
  return out;
}

Result<bool> SourceRules::Apply(graph::SourceName& source) const {
  bool denied = false;
  for (const auto& compiled : rules_) {
    if (!compiled->Matches(source)) continue;
    switch (compiled->rule.action) {
      case Action::kAllow:
        denied = false;
        break;
      case Action::kDeny:
        denied = true;
        break;
      case Action::kConvert:
        if (compiled->Convert(source)) return true;
        break;
    }
  }
  if (denied) return Invalid("source \"{}\" denied by policy: source denied by policy", source.identifier);
  return false;
}

Result<bool> Evaluate(std::span<const SourceRules> lists, graph::SourceName& source) {
  bool changed = false;
  for (int round = 0; round <= kMaxRounds; ++round) {
    bool again = false;
    for (const SourceRules& rules : lists) {
      TRY_ASSIGN(again, rules.Apply(source));
      if (again) break;
    }
    if (!again) return changed;
    changed = true;
  }
  return Invalid("too many mutations on a single source: too many operations: \"{}\"", source.identifier);
}

}  // namespace varve::policy
