#include "engine/reason.h"

#include <algorithm>
#include <iterator>

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

constexpr std::string_view kKindNames[] = {"first-time", "no-cache", "max-age",  "command", "environment",
                                           "setting",    "mount",    "platform", "salt",    "schema",
                                           "base",       "file",     "unstable", "parent",  "evicted",
                                           "data-gone",  "damaged",  "tier",     "traced"};

std::string Count(size_t n) {
  return n >= Reason::kMaxCounted ? fmt::format("more than {}", Reason::kMaxCounted) : std::to_string(n);
}

}  // namespace

std::string_view KindName(Kind kind) { return kKindNames[static_cast<int>(kind)]; }

std::string Summarise(const std::vector<Reason>& reasons) {
  if (reasons.empty()) return "";
  // "The step before it ran" says least: it is the consequence of what is told at that step.
  auto telling = std::ranges::find_if(reasons, [](const Reason& r) { return r.kind != Kind::kParent; });
  const Reason& first = telling == reasons.end() ? reasons.front() : *telling;
  size_t others = reasons.size() - 1;
  // A step that is traced ran for that reason, whatever happened before it.
  if (first.kind == Kind::kTraced) {
    others -= static_cast<size_t>(std::ranges::count(reasons, Kind::kParent, &Reason::kind));
  }
  return others == 0 ? first.text : fmt::format("{}; and {} more", first.text, others);
}

std::string Describe(const std::vector<Reason>& reasons, std::string_view indent) {
  std::string out;
  auto line = [&](std::string_view more, const std::string& text) {
    out += fmt::format("{}{}{}\n", indent, more, text);
  };
  for (const Reason& reason : reasons) {
    line("", reason.text);
    // A single change is in the text already.
    if (reason.change_count > 1) {
      for (const Reason::Change& change : reason.changes) {
        line("  ",
             fmt::format("{}: {}{}{}", change.path, change.what, change.detail.empty() ? "" : ", ", change.detail));
      }
      if (reason.change_count > reason.changes.size()) {
        line("  ", fmt::format("… {} in all", Count(reason.change_count)));
      }
    }
    for (const Reason::Edit& edit : reason.edits) {
      if (!edit.removed.empty()) line("  - ", edit.removed);
      if (!edit.added.empty()) line("  + ", edit.added);
    }
    for (const std::string& step : reason.used_by) line("  used by ", step);
    if (!reason.hint.empty()) line("  ", reason.hint);
  }
  return out;
}

Json ToJson(const std::vector<Reason>& reasons) {
  Json list = Json::EmptyArray();
  for (const Reason& reason : reasons) {
    Json json = Json().Set("kind", KindName(reason.kind)).Set("text", reason.text);
    json.SetIf(!reason.subject.empty(), "subject", reason.subject);
    json.SetIf(!reason.before.empty(), "before", reason.before);
    json.SetIf(!reason.after.empty(), "after", reason.after);
    Json changes = Json::EmptyArray(), edits = Json::EmptyArray();
    for (const Reason::Change& change : reason.changes) {
      Json item = Json().Set("path", change.path).Set("change", change.what);
      changes.Append(item.SetIf(!change.detail.empty(), "detail", change.detail));
    }
    json.SetIf(!reason.changes.empty(), "changes", changes);
    json.SetIf(reason.change_count != 0, "change_count", reason.change_count);
    for (const Reason::Edit& edit : reason.edits) {
      edits.Append(Json().Set("removed", edit.removed).Set("added", edit.added));
    }
    json.SetIf(!reason.edits.empty(), "edits", edits);
    json.SetIf(!reason.used_by.empty(), "used_by", Json::Strings(reason.used_by));
    json.SetIf(!reason.step.empty(), "step", reason.step);
    list.Append(json.SetIf(!reason.hint.empty(), "hint", reason.hint));
  }
  return list;
}

std::vector<Reason> ReasonsFromJson(const Json& json) {
  std::vector<Reason> out;
  if (!json.is_array()) return out;
  for (const Json& item : json.as_array()) {
    auto kind = std::ranges::find(kKindNames, item.GetString("kind"));
    Reason reason{kind == std::end(kKindNames) ? Kind::kSetting : static_cast<Kind>(kind - std::begin(kKindNames)),
                  item.GetString("text")};
    reason.subject = item.GetString("subject");
    reason.before = item.GetString("before");
    reason.after = item.GetString("after");
    for (const Json& change : item.GetArray("changes")) {
      reason.changes.push_back({change.GetString("path"), change.GetString("change"), change.GetString("detail")});
    }
    reason.change_count = static_cast<size_t>(item.GetInt("change_count"));
    for (const Json& edit : item.GetArray("edits")) {
      reason.edits.push_back({edit.GetString("removed"), edit.GetString("added")});
    }
    reason.used_by = item.GetStrings("used_by");
    reason.step = item.GetString("step");
    reason.hint = item.GetString("hint");
    out.push_back(std::move(reason));
  }
  return out;
}

}  // namespace varve::engine
