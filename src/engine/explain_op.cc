#include <algorithm>
#include <map>
#include <set>

#include "base/redact.h"
#include "base/strings.h"
#include "engine/explain_parts.h"
#include "engine/word_edits.h"

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

std::string TextOf(const Json* value) {
  if (value == nullptr) return "unset";
  if (value->is_string()) return Quote(value->as_string());
  if (value->is_array() || value->is_object()) return Quote(value->DumpCanonical());
  return value->DumpCanonical();
}

std::string PlainText(const Json* value) {
  if (value == nullptr) return "";
  return value->is_string() ? value->as_string() : value->DumpCanonical();
}

std::set<std::string> MembersOf(const Json& a, const Json& b) {
  std::set<std::string> names;
  for (const Json* object : {&a, &b}) {
    if (!object->is_object()) continue;
    for (const auto& [name, value] : object->as_object()) names.insert(name);
  }
  return names;
}

bool Same(const Json* a, const Json* b) { return (a && b && *a == *b) || (!a && !b); }

// --- Commands ----------------------------------------------------------------------------------------

Reason CommandReason(std::string_view what, const std::string& before_raw, const std::string& now_raw) {
  std::string before = RedactedText(before_raw), now = RedactedText(now_raw);
  Reason reason{Kind::kCommand, ""};
  reason.edits = WordEdits(before, now);
  if (before == now) {
    reason.text = before_raw == now_raw ? fmt::format("{} changed", what)
                                        : fmt::format("{} changed in a value that is hidden", what);
    return reason;
  }
  constexpr size_t kShort = 60;
  bool lines = (before + now).find('\n') != std::string::npos;
  if (before.size() <= kShort && now.size() <= kShort && !lines) {
    reason.before = before;
    reason.after = now;
    reason.text = fmt::format("{} was \"{}\", is \"{}\"", what, before, now);
    return reason;
  }
  // Of a long command the words that differ say more than its beginning.
  if (reason.edits.empty()) {
    reason.text = fmt::format("{} changed in white space", what);
    return reason;
  }
  const Reason::Edit& edit = reason.edits.front();
  if (edit.removed.empty()) {
    reason.text = fmt::format("{} changed: {} is new", what, Quote(edit.added));
  } else if (edit.added.empty()) {
    reason.text = fmt::format("{} changed: {} is gone", what, Quote(edit.removed));
  } else {
    reason.text = fmt::format("{} changed: {} became {}", what, Quote(edit.removed), Quote(edit.added));
  }
  if (reason.edits.size() > 1) reason.text += fmt::format(" (and {} more)", reason.edits.size() - 1);
  return reason;
}

// What a person would call the command: the last argument of `sh -c`, or all of them.
std::string CommandOf(const Json* args, const Json* other) {
  std::vector<std::string> a, b;
  auto read = [](const Json* list, std::vector<std::string>& out) {
    if (list == nullptr || !list->is_array()) return;
    for (const Json& item : list->as_array()) out.push_back(PlainText(&item));
  };
  read(args, a);
  read(other, b);
  bool shell = a.size() == b.size() && a.size() >= 2 && std::equal(a.begin(), a.end() - 1, b.begin());
  return shell ? a.back() : Join(a, " ");
}

// --- Variables ---------------------------------------------------------------------------------------

std::map<std::string, std::string> EnvMap(const Json& op) {
  std::map<std::string, std::string> env;
  for (const std::string& entry : op.GetStrings("env")) {
    size_t eq = entry.find('=');
    env[entry.substr(0, eq)] = eq == entry.npos ? "" : entry.substr(eq + 1);
  }
  return env;
}

void ExplainEnv(const graph::Step& step, const Json& before, const Json& now, std::vector<Reason>& out) {
  auto old_env = EnvMap(before), new_env = EnvMap(now);
  std::set<std::string> names;
  for (const auto& [name, value] : old_env) names.insert(name);
  for (const auto& [name, value] : new_env) names.insert(name);
  for (const std::string& name : names) {
    auto was = old_env.find(name), is = new_env.find(name);
    if (was != old_env.end() && is != new_env.end() && was->second == is->second) continue;
    bool arg = std::ranges::find(step.arg_names, name) != step.arg_names.end();
    Reason reason{Kind::kEnvironment, ""};
    reason.subject = name;
    if (was != old_env.end()) reason.before = Redacted(name, was->second);
    if (is != new_env.end()) reason.after = Redacted(name, is->second);
    std::string_view word = is == new_env.end() ? "" : arg ? "ARG " : "ENV ";
    if (was == old_env.end()) {
      reason.text = fmt::format("{}{} is new: {}", word, name, Quote(reason.after));
    } else if (is == new_env.end()) {
      reason.text = fmt::format("{} is gone", name);
    } else if (reason.before == kHidden || reason.after == kHidden) {
      reason.before = reason.after = kHidden;
      reason.text = fmt::format("{}{} has another value, which is not shown", word, name);
    } else {
      reason.text = fmt::format("{}{} was {}, is {}", word, name, Quote(reason.before), Quote(reason.after));
    }
    out.push_back(std::move(reason));
  }
  // The order of variables enters the key as well.
  if (out.empty()) out.push_back({Kind::kEnvironment, "variables are in another order"});
}

// --- Mounts ------------------------------------------------------------------------------------------

std::string MountName(const Json& mount) {
  std::string target = mount.GetString("target"), type = mount.GetString("type");
  if (target.empty()) target = "$" + mount.GetString("env");
  return fmt::format("the {} mount at {}", type, target);
}

std::string SettingOfMount(const std::string& member, const Json& mount) {
  if (member == "id") return mount.GetString("type") + " id";
  return member;
}

void CompareMounts(const Json& was, const Json& is, std::vector<Reason>& out) {
  for (const std::string& member : MembersOf(was, is)) {
    const Json *a = was.Find(member), *b = is.Find(member);
    // Which input it is only counts inputs; what is in it is explained by what is read.
    if (Same(a, b) || (member == "input" && a && b)) continue;
    Reason reason{Kind::kMount,
                  fmt::format("{}: {} was {}, is {}", MountName(is), SettingOfMount(member, is), TextOf(a), TextOf(b))};
    reason.subject = is.GetString("target");
    reason.before = PlainText(a);
    reason.after = PlainText(b);
    out.push_back(std::move(reason));
  }
}

// Mounts are told apart by their targets; of what is left over on both sides, those of one type in turn
// are one mount that moved.
void ExplainMounts(const Json& before, const Json& now, std::vector<Reason>& out) {
  std::vector<const Json*> gone, come;
  for (const Json& mount : before.GetArray("mounts")) gone.push_back(&mount);
  size_t known = out.size();
  auto take = [&](const Json& mount, std::initializer_list<const char*> members) -> const Json* {
    auto it = std::ranges::find_if(gone, [&](const Json* old) {
      return std::ranges::all_of(members, [&](const char* m) { return Same(old->Find(m), mount.Find(m)); });
    });
    if (it == gone.end()) return nullptr;
    const Json* found = *it;
    gone.erase(it);
    return found;
  };
  for (const Json& mount : now.GetArray("mounts")) {
    if (const Json* old = take(mount, {"type", "target", "env"})) CompareMounts(*old, mount, out);
    else come.push_back(&mount);
  }
  for (const Json* mount : come) {
    if (const Json* old = take(*mount, {"type"})) {
      CompareMounts(*old, *mount, out);
    } else {
      out.push_back({Kind::kMount, MountName(*mount) + " is new", mount->GetString("target")});
    }
  }
  for (const Json* mount : gone) {
    out.push_back({Kind::kMount, MountName(*mount) + " is gone", mount->GetString("target")});
  }
  if (out.size() == known) out.push_back({Kind::kMount, "mounts are in another order"});
}

// --- The rest ----------------------------------------------------------------------------------------

std::string SettingName(const std::string& member) {
  if (member == "cwd") return "working directory";
  if (member == "shm_size") return "--shm-size";
  if (member == "extra_hosts") return "--add-host";
  if (member == "network") return "network mode";
  if (member == "security") return "security mode";
  return member;
}

Reason SettingReason(const std::string& subject, const Json* before, const Json* now) {
  Reason reason{Kind::kSetting, fmt::format("{} was {}, is {}", subject, TextOf(before), TextOf(now))};
  reason.subject = subject;
  reason.before = RedactedText(PlainText(before));
  reason.after = RedactedText(PlainText(now));
  return reason;
}

// "[build 2/5] COPY a b" as "COPY a b".
std::string WithoutPrefix(std::string_view name) {
  size_t end = name.find("] ");
  return std::string(name.starts_with('[') && end != name.npos ? name.substr(end + 2) : name);
}

std::string ActionSetting(const std::string& member) {
  if (member == "dest" || member == "path") return "destination";
  if (member == "user" || member == "group") return "--chown";
  if (member == "mode") return "--chmod";
  if (member == "from") return "what is copied";
  return member;
}

// A COPY, ADD, WORKDIR or here-document: the instruction where its text differs, else what of it does.
void ExplainActions(const graph::Step& step, const Json& before, const Json& now, std::string_view before_name,
                    std::vector<Reason>& out) {
  std::string was = WithoutPrefix(before_name);
  if (was != step.text && !step.text.empty() && !was.empty()) {
    out.push_back(CommandReason("instruction", was, step.text));
    return;
  }
  const Json::Array &old_actions = before.GetArray("actions"), &actions = now.GetArray("actions");
  size_t known = out.size();
  for (size_t i = 0; i < std::min(old_actions.size(), actions.size()); ++i) {
    for (const std::string& member : MembersOf(old_actions[i], actions[i])) {
      const Json *a = old_actions[i].Find(member), *b = actions[i].Find(member);
      if (Same(a, b)) continue;
      if (member == "data") {
        out.push_back(CommandReason("the text of " + actions[i].GetString("path"), PlainText(a), PlainText(b)));
      } else {
        out.push_back(SettingReason(ActionSetting(member), a, b));
      }
    }
  }
  if (out.size() == known) out.push_back({Kind::kCommand, "the instruction does something else"});
}

}  // namespace

void ExplainOp(const graph::Step& step, const Json& before, const Json& now, std::string_view before_name,
               std::vector<Reason>& out) {
  if (before == now) return;
  if (before.GetString("op") != now.GetString("op")) {
    out.push_back(CommandReason("instruction", WithoutPrefix(before_name), step.text));
    return;
  }
  std::vector<Reason> environment, rest;
  for (const std::string& name : MembersOf(before, now)) {
    const Json *a = before.Find(name), *b = now.Find(name);
    if (Same(a, b)) continue;
    if (name == "env") {
      ExplainEnv(step, before, now, environment);
    } else if (name == "args") {
      out.push_back(CommandReason("command", CommandOf(a, b), CommandOf(b, a)));
    } else if (name == "actions") {
      ExplainActions(step, before, now, before_name, out);
    } else if (name == "mounts") {
      ExplainMounts(before, now, rest);
    } else if (name != "base") {
      rest.push_back(SettingReason(SettingName(name), a, b));
    }
  }
  // The command tells most, settings least.
  out.insert(out.end(), environment.begin(), environment.end());
  out.insert(out.end(), rest.begin(), rest.end());
}

}  // namespace varve::engine
