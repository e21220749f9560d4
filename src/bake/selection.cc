#include "bake/selection.h"

#include <fnmatch.h>

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace varve::bake {

namespace {

// Go's path.Match over names without slashes; its one difference is that a backslash escapes there too.
bool Matches(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

bool IsPattern(const std::string& text) { return text.find_first_of("*?[]") != text.npos; }

Error NoTarget(const Definition& definition, const std::string& name) {
  Error error = NotFound("failed to find target {}", name);
  std::vector<std::string_view> known;
  for (const Target& target : definition.targets) known.push_back(target.name);
  for (const Group& group : definition.groups) known.push_back(group.name);
  if (auto near = NearestWord(name, known)) {
    error.hint = fmt::format("did you mean {}?", *near);
  } else if (name == "default") {
    error.hint = "name the targets to build, or define group \"default\"; --list=targets shows what there is";
  } else {
    error.hint = "--list=targets shows what there is";
  }
  return error;
}

class Selector {
 public:
  Selector(const Definition& definition, const std::map<std::string, std::string>& environment)
      : definition_(definition), environment_(environment) {}

  Result<Selection> Run(Strings names, const Strings& overrides) {
    if (names.empty()) names = {"default"};
    Strings wanted;
    for (const std::string& name : names) TRY(AddMatches(SanitizeName(name), wanted));
    TRY(ReadOverrides(overrides));
    for (const std::string& name : wanted) {
      Strings targets, groups;
      std::set<std::string> visited;
      Expand(name, visited, targets, groups);
      for (const std::string& target : targets) {
        if (selection_.targets.contains(target)) continue;
        TRY_ASSIGN(selection_.targets[target], Resolve(target));
      }
      for (const std::string& group : groups) selection_.groups.emplace(group, *definition_.FindGroup(group));
    }
    AddDefaultGroup(wanted);
    Strings selected;
    for (const auto& [name, target] : selection_.targets) selected.push_back(name);
    for (const std::string& name : selected) TRY(Link(name, {}));
    return std::move(selection_);
  }

 private:
  Status AddMatches(const std::string& name, Strings& wanted) const {
    auto add = [&](const std::string& match) {
      if (std::ranges::find(wanted, match) == wanted.end()) wanted.push_back(match);
    };
    if (!IsPattern(name)) {
      add(name);
      return Ok();
    }
    bool any = false;
    for (const Group& group : definition_.groups) {
      if (Matches(name, group.name)) any = true, add(group.name);
    }
    for (const Target& target : definition_.targets) {
      if (Matches(name, target.name)) any = true, add(target.name);
    }
    if (!any) return NotFound("could not find any target matching \"{}\"", name);
    return Ok();
  }

  // A group wins over a target of its name, but inside of itself the name is the target's: --print writes such groups.
  // Other circles are cut.
  void Expand(const std::string& name, std::set<std::string>& visited, Strings& targets, Strings& groups) const {
    const Group* group = definition_.FindGroup(name);
    if (group == nullptr) {
      targets.push_back(name);
      return;
    }
    if (!visited.insert(name).second) return;
    groups.push_back(name);
    for (const std::string& member : group->targets) {
      if (member == name && definition_.FindTarget(name) != nullptr) {
        targets.push_back(name);
      } else {
        Expand(member, visited, targets, groups);
      }
    }
  }

  void AddDefaultGroup(const Strings& wanted) {
    for (const std::string& name : wanted) {
      if (name == "default" && selection_.groups.contains("default")) continue;
      Group& group = selection_.groups["default"];
      group.name = "default";
      group.targets.push_back(name);
    }
    Strings& all = selection_.groups["default"].targets;
    std::ranges::sort(all);
    all.erase(std::unique(all.begin(), all.end()), all.end());
  }

  Status ReadOverrides(const Strings& overrides) {
    static const std::set<std::string> lists = {
        "output", "cache-to",     "cache-from",  "tags",   "platform",        "secrets", "ssh",
        "attest", "entitlements", "annotations", "policy", "no-cache-filter", "ulimits"};
    for (const std::string& text : overrides) {
      size_t eq = text.find('=');
      std::string path = text.substr(0, eq);
      bool append = path.ends_with('+');
      if (append) path.pop_back();
      size_t dot = path.find('.');
      if (dot == path.npos) return Invalid("invalid override key {}, expected target.name", path);
      const std::string key = path.substr(dot + 1), first = key.substr(0, key.find('.'));
      const bool sub = first.size() < key.size();
      if (eq == text.npos && first != "args") return Invalid("invalid override {}, expected target.name=value", text);
      for (const char* named : {"args", "contexts", "resources", "secret"}) {
        if (first == named && !sub) return Invalid("invalid key {}, {} requires name", path, first);
      }
      if (append && (first == "resources" || first == "secret"))
        return Invalid("invalid key {}+, {} does not support append", path, first);
      std::string value = eq == text.npos ? "" : text.substr(eq + 1);
      if (eq == text.npos) {
        auto it = environment_.find(key.substr(key.find('.') + 1));
        if (it == environment_.end()) continue;
        value = it->second;
      }
      TRY_ASSIGN(Strings names, TargetsOf(path.substr(0, dot)));
      for (const std::string& name : names) {
        auto& own = overrides_[name];
        auto same = std::ranges::find(own, key, &Override::key);
        if (same == own.end()) same = own.insert(own.end(), {.key = key});
        same->append = append;
        if (lists.contains(first)) same->values.push_back(value);
        same->value = std::move(value);
        value = same->value;
      }
    }
    return Ok();
  }

  Result<Strings> TargetsOf(const std::string& pattern) const {
    if (definition_.FindTarget(pattern) != nullptr) return Strings{pattern};
    Strings names;
    for (const Target& target : definition_.targets) {
      if (Matches(pattern, target.name)) names.push_back(target.name);
    }
    if (!names.empty()) return names;
    Error error = NotFound("could not find any target matching '{}'", pattern);
    if (definition_.FindGroup(pattern) != nullptr)
      error.hint = fmt::format("{} is a group: --set takes targets and patterns of them", pattern);
    return error;
  }

  // Nothing where it is being resolved already: a circle of inherits is cut.
  Result<std::optional<Target>> Inherited(const std::string& name,
                                          std::map<std::string, std::optional<Target>>& visited) const {
    if (auto known = visited.find(name); known != visited.end()) return known->second;
    visited[name] = std::nullopt;
    const Target* own = definition_.FindTarget(name);
    if (own == nullptr) return NoTarget(definition_, name);
    Target merged;
    for (const std::string& parent : own->inherits) {
      TRY_ASSIGN(auto inherited, Inherited(parent, visited));
      if (inherited) merged.Merge(*inherited);
    }
    merged.Merge(*own);
    merged.name = name;
    if (auto overrides = overrides_.find(name); overrides != overrides_.end()) {
      if (Status good = merged.Apply(overrides->second); !good)
        return Error(std::move(good).error()).With("target " + name);
    }
    merged.Normalise();
    visited[name] = merged;
    return std::optional(std::move(merged));
  }

  Result<Target> Resolve(const std::string& name) const {
    std::map<std::string, std::optional<Target>> visited;
    TRY_ASSIGN(auto resolved, Inherited(name, visited));
    Target target = std::move(*resolved);
    target.inherits.clear();
    if (!target.context) target.context = ".";
    if (!target.dockerfile || target.dockerfile->empty()) target.dockerfile = "Dockerfile";
    return target;
  }

  Status Link(const std::string& name, Strings visited) {
    visited.push_back(name);
    const auto contexts = selection_.targets.at(name).contexts;
    for (const auto& [context, value] : contexts) {
      if (!value.starts_with("target:")) continue;
      const std::string other = value.substr(7);
      if (other == name) return Invalid("target {} cannot link to itself", other);
      if (std::ranges::find(visited, other) != visited.end())
        return Invalid("infinite loop from {} to {}", name, other);
      if (!selection_.targets.contains(other)) {
        auto linked = Resolve(other);
        if (!linked)
          return Error(std::move(linked).error()).With(fmt::format("target {}: context \"{}\"", name, context));
        linked->output = Entries{{.fields = {{"type", "cacheonly"}}}};
        linked->linked = true;
        selection_.targets[other] = std::move(*linked);
      }
      TRY(Link(other, visited));
      Target& user = selection_.targets.at(name);
      const Target& used = selection_.targets.at(other);
      for (const std::string& entitlement : used.entitlements.value_or(Strings())) {
        if (!user.entitlements) user.entitlements.emplace();
        auto& all = *user.entitlements;
        if (std::ranges::find(all, entitlement) == all.end()) all.push_back(entitlement);
      }
      if (!user.platforms || !used.platforms || user.platforms->size() < 2 || used.platforms->size() < 2) continue;
      for (const std::string& platform : *user.platforms) {
        if (std::ranges::find(*used.platforms, platform) != used.platforms->end()) continue;
        return Invalid("target {} can't be used by {} because its platforms [{}] are not a subset of [{}]", other, name,
                       Join(*user.platforms, " "), Join(*used.platforms, " "));
      }
    }
    return Ok();
  }

  const Definition& definition_;
  const std::map<std::string, std::string>& environment_;
  std::map<std::string, std::vector<Override>> overrides_;
  Selection selection_;
};

}  // namespace

Result<Selection> Select(const Definition& definition, std::vector<std::string> names,
                         const std::vector<std::string>& overrides,
                         const std::map<std::string, std::string>& environment) {
  return Selector(definition, environment).Run(std::move(names), overrides);
}

Json Selection::ToJson() const {
  Json group_json = Json::EmptyObject(), target_json = Json::EmptyObject();
  for (const auto& [name, group] : groups) {
    Json json = Json::EmptyObject();
    json.SetIf(!group.description.empty(), "description", group.description);
    group_json.Set(name, json.Set("targets", Json::Strings(group.targets)));
  }
  for (const auto& [name, target] : targets) target_json.Set(name, target.ToJson());
  Json json = Json::EmptyObject();
  json.SetIf(!groups.empty(), "group", std::move(group_json));
  return json.Set("target", std::move(target_json));
}

std::vector<const Target*> Selection::InOrder() const {
  std::vector<const Target*> order;
  std::set<std::string> done;
  std::function<void(const Target&)> visit = [&](const Target& target) {
    if (!done.insert(target.name).second) return;
    for (const auto& [name, value] : target.contexts) {
      if (value.starts_with("target:")) visit(targets.at(value.substr(7)));
    }
    order.push_back(&target);
  };
  for (const auto& [name, target] : targets) visit(target);
  return order;
}

}  // namespace varve::bake
