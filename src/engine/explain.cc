#include "engine/explain.h"

#include <algorithm>
#include <map>
#include <set>

#include "tree/selection.h"

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

std::string Quote(std::string text) {
  constexpr size_t kMax = 60;
  if (text.size() > kMax) text = text.substr(0, kMax) + "…";
  std::ranges::replace(text, '\n', ' ');
  return "\"" + text + "\"";
}

std::string TextOf(const Json& value) {
  if (value.is_string()) return value.as_string();
  return value.DumpCanonical();
}

std::map<std::string, std::string> EnvMap(const Json& op) {
  std::map<std::string, std::string> env;
  for (const std::string& entry : op.GetStrings("env")) {
    size_t eq = entry.find('=');
    env[entry.substr(0, eq)] = eq == entry.npos ? "" : entry.substr(eq + 1);
  }
  return env;
}

void ExplainEnv(const Json& before, const Json& now, std::vector<Reason>& out) {
  auto old_env = EnvMap(before), new_env = EnvMap(now);
  for (const auto& [name, value] : new_env) {
    auto it = old_env.find(name);
    if (it == old_env.end()) {
      out.push_back({Kind::kEnvironment, fmt::format("{} is new: {}", name, Quote(value)), {}});
    } else if (it->second != value) {
      out.push_back({Kind::kEnvironment,
                     fmt::format("{} was {}, is {}", name, Quote(it->second), Quote(value)), {}});
    }
  }
  for (const auto& [name, value] : old_env) {
    if (!new_env.contains(name)) {
      out.push_back({Kind::kEnvironment, fmt::format("{} is gone", name), {}});
    }
  }
}

void ExplainOp(const Json& before, const Json& now, std::vector<Reason>& out) {
  if (before.GetString("op") != now.GetString("op")) {
    out.push_back({Kind::kCommand, "the instruction is another one", {}});
    return;
  }
  std::set<std::string> names;
  for (const Json* op : {&before, &now}) {
    for (const auto& [name, value] : op->as_object()) names.insert(name);
  }
  for (const std::string& name : names) {
    const Json* a = before.Find(name);
    const Json* b = now.Find(name);
    if (a && b && *a == *b) continue;
    if (name == "env") {
      ExplainEnv(before, now, out);
    } else if (name == "args" && a && b) {
      const std::string old_command = a->as_array().empty() ? "" : TextOf(a->as_array().back());
      const std::string command = b->as_array().empty() ? "" : TextOf(b->as_array().back());
      out.push_back({Kind::kCommand,
                     fmt::format("command was {}, is {}", Quote(old_command), Quote(command)), {}});
    } else if (name == "actions") {
      out.push_back({Kind::kCommand, "the instruction changed", {}});
    } else {
      out.push_back({Kind::kSetting,
                     fmt::format("{} was {}, is {}", name, a ? Quote(TextOf(*a)) : "unset",
                                 b ? Quote(TextOf(*b)) : "unset"), {}});
    }
  }
}

void ExplainLineage(const Json& before, const Json& now, std::vector<Reason>& out) {
  const auto &old_list = before.GetArray("lineage"), &list = now.GetArray("lineage");
  if (old_list == list) return;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i < old_list.size() && old_list[i] == list[i]) continue;
    const Json* from = list[i].Find("from");
    const Json* old_from = i < old_list.size() ? old_list[i].Find("from") : nullptr;
    if (from && from->Find("image") && old_from && old_from->Find("image")) {
      out.push_back({Kind::kBase, "the base image changed", {}});
    } else if (from && from->Find("step") && old_from && old_from->Find("step")) {
      out.push_back({Kind::kParent, "the step before it changed", {}});
    } else {
      out.push_back({Kind::kBase, "what it builds on is another kind of base", {}});
    }
    return;
  }
  out.push_back({Kind::kBase, "it no longer builds on anything", {}});
}

Reason FileReason(const cache::InputTree& before, const cache::InputTree& now,
                  tree::TreeStore& trees) {
  Reason reason{Kind::kFile, "", {}};
  // Compared as whole trees: the selection is a part of it, and a change elsewhere in the same
  // source would not have changed the selection's digest, so what is named here is near enough to be
  // checked by eye. Trees may have been collected: then the source is named.
  auto differences = tree::Compare(trees, before.tree_root, now.tree_root, RelPath(),
                                   Reason::kMaxPaths + 1);
  if (!differences || differences->empty()) {
    reason.text = fmt::format("files from {} changed", now.name);
    return reason;
  }
  for (const tree::Difference& difference : *differences) {
    if (reason.paths.size() < Reason::kMaxPaths) reason.paths.push_back(difference.path.str());
  }
  const tree::Difference& first = differences->front();
  reason.text = fmt::format("{}: {}", first.path.str(), tree::DifferenceName(first.kind));
  if (now.name != "context") reason.text += fmt::format(" in {}", now.name);
  if (differences->size() > 1) {
    bool more = differences->size() > Reason::kMaxPaths;
    reason.text += fmt::format(" (and {}{} more)", more ? "over " : "",
                               (more ? Reason::kMaxPaths : differences->size()) - 1);
  }
  return reason;
}

void ExplainReads(const KeyedStep& now, const Json& now_json, const cache::StepRecord& record,
                  const Json& before_json, tree::TreeStore& trees, std::vector<Reason>& out) {
  if (before_json.GetArray("reads") == now_json.GetArray("reads")) return;
  bool found = false;
  for (size_t i = 0; i < now.inputs.size(); ++i) {
    const cache::InputTree& input = now.inputs[i];
    const cache::InputTree* before = i < record.inputs.size() ? &record.inputs[i] : nullptr;
    if (before == nullptr || before->selection == input.selection) continue;
    out.push_back(FileReason(*before, input, trees));
    found = true;
  }
  if (!found) out.push_back({Kind::kFile, "what it reads from other images or stages changed", {}});
}

std::vector<Reason> Differences(const KeyedStep& now, const cache::StepRecord& record,
                                tree::TreeStore& trees) {
  std::vector<Reason> out;
  if (record.preimage == now.preimage) {
    return {{Kind::kDataGone, "its cached layers are gone", {}}};
  }
  auto before_json = Json::Parse(record.preimage);
  auto now_json = Json::Parse(now.preimage);
  if (!before_json || !now_json) return {{Kind::kSchema, "its record cannot be read", {}}};
  if (before_json->GetInt("schema") != now_json->GetInt("schema")) {
    return {{Kind::kSchema, "its record was made by another version of varve", {}}};
  }
  if (before_json->GetString("salt") != now_json->GetString("salt")) {
    out.push_back({Kind::kSalt, "the cache salt changed", {}});
  }
  if (before_json->GetString("platform") != now_json->GetString("platform")) {
    out.push_back({Kind::kPlatform,
                   fmt::format("the platform was {}, is {}", before_json->GetString("platform"),
                               now_json->GetString("platform")), {}});
  }
  const Json *old_op = before_json->Find("op"), *op = now_json->Find("op");
  if (old_op && op && old_op->is_object() && op->is_object()) ExplainOp(*old_op, *op, out);
  ExplainReads(now, *now_json, record, *before_json, trees, out);
  ExplainLineage(*before_json, *now_json, out);
  if (out.empty()) out.push_back({Kind::kSetting, "its key changed", {}});
  return out;
}

}  // namespace

std::string_view ReasonKindName(Kind kind) {
  static constexpr std::string_view kNames[] = {
      "first-time", "no-cache", "command", "environment", "setting", "platform",
      "salt",       "schema",   "base",    "parent",      "file",    "data-gone"};
  return kNames[static_cast<int>(kind)];
}

std::vector<Reason> Explain(const KeyedStep& now, const std::vector<cache::StepRecord>& earlier,
                            tree::TreeStore& trees) {
  if (earlier.empty()) return {{Kind::kFirstTime, "first build of this step", {}}};
  std::vector<Reason> best;
  for (const cache::StepRecord& record : earlier) {
    std::vector<Reason> reasons = Differences(now, record, trees);
    if (best.empty() || reasons.size() < best.size()) best = std::move(reasons);
  }
  return best;
}

std::string Summarise(const std::vector<Reason>& reasons) {
  // "The step before it changed" says least: it is the consequence of what is told at that step.
  auto telling = std::ranges::find_if(reasons, [](const Reason& r) { return r.kind != Kind::kParent; });
  const Reason& first = telling == reasons.end() ? reasons.front() : *telling;
  size_t others = reasons.size() - 1;
  return others == 0 ? first.text : fmt::format("{}; and {} more", first.text, others);
}

}  // namespace varve::engine
