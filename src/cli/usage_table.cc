#include "cli/usage_table.h"

#include <algorithm>
#include <array>

#include "base/strings.h"

namespace varve::cli {

namespace {

using upkeep::UsageRow;

constexpr std::array<std::string_view, 11> kFields = {"ID",          "Parents",    "CreatedAt", "Mutable",
                                                      "Reclaimable", "Shared",     "Size",      "Description",
                                                      "UsageCount",  "LastUsedAt", "Type"};

// Digests by their first twelve digits, as everywhere where people read them; of a cache mount's
// directory with the number that a private one has.
std::string ShownId(const UsageRow& row) {
  if (row.id.size() < 32) return row.id;
  size_t dot = row.id.find('.');
  return row.id.substr(0, 12) + (dot == row.id.npos ? "" : row.id.substr(dot));
}

std::string TimeText(const std::optional<Timestamp>& time) { return time ? FormatTime(*time) : ""; }

std::string FieldOf(const UsageRow& row, std::string_view field, Timestamp now) {
  if (field == "ID") return row.id;
  if (field == "Parents") return Join(row.parents, ",");
  if (field == "CreatedAt") return TimeText(row.created);
  if (field == "Mutable") return row.is_mutable ? "true" : "false";
  if (field == "Reclaimable") return IsReclaimable(row) ? "true" : "false";
  if (field == "Shared") return row.shared ? "true" : "false";
  if (field == "Size") return FormatBytes(row.bytes);
  if (field == "Description") return row.description;
  if (field == "UsageCount") return std::to_string(row.uses);
  if (field == "LastUsedAt") return row.last_used ? FormatTimeAgo(*row.last_used, now) : "";
  return std::string(NameOf(row.type));
}

std::string Pretty(const UsageRow& row, Timestamp now) {
  std::string out = fmt::format("ID:\t\t{}\n", row.id);
  for (const std::string& parent : row.parents) out += fmt::format("Parent:\t\t{}\n", parent);
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) out += fmt::format("{}:\t{}\n", name, value);
  };
  add("Created at", TimeText(row.created));
  add("Mutable", row.is_mutable ? "true" : "false");
  add("Reclaimable", IsReclaimable(row) ? "true" : "false");
  out += fmt::format("Shared:\t\t{}\n", row.shared);
  out += fmt::format("Size:\t\t{}\n", FormatBytes(row.bytes));
  add("Description", row.description);
  add("Usage count", std::to_string(row.uses));
  if (row.last_used) add("Last used", FormatTimeAgo(*row.last_used, now));
  if (row.seconds > 0) {
    add("Took", FormatDuration(Nanos(static_cast<int64_t>(row.seconds * 1e9))));
  }
  out += fmt::format("Type:\t\t{}\n\n", NameOf(row.type));
  return out;
}

// Every {{.Field}} of `text` through `value`; kInvalid for other actions.
Result<std::string> Expand(std::string_view text, const std::function<Result<std::string>(std::string_view)>& value) {
  std::string out;
  while (true) {
    size_t open = text.find("{{");
    out += text.substr(0, open);
    if (open == text.npos) return out;
    size_t close = text.find("}}", open);
    if (close == text.npos) return Invalid("format: {{{{ without }}}}");
    std::string_view action = TrimSpace(text.substr(open + 2, close - open - 2));
    TRY_ASSIGN(std::string expanded, value(action));
    out += expanded;
    text = text.substr(close + 2);
  }
}

}  // namespace

Result<UsageFormat> UsageFormat::Parse(const std::string& text, Timestamp now) {
  UsageFormat format;
  format.now_ = now;
  if (text.empty() || text == "table") return format;
  if (text == "pretty" || text == "json") {
    format.kind_ = text == "json" ? Kind::kJson : Kind::kPretty;
    return format;
  }
  std::string_view body = text;
  bool table = body.starts_with("table ");
  if (table) body = body.substr(6);
  format.template_ = ReplaceAll(ReplaceAll(body, "\\t", "\t"), "\\n", "\n");
  format.kind_ = Kind::kTemplate;
  auto header = Expand(format.template_, [](std::string_view action) -> Result<std::string> {
    if (action == "json .") return std::string("JSON");
    if (action.starts_with('.') && std::ranges::find(kFields, action.substr(1)) != kFields.end()) {
      return ToUpper(action.substr(1));
    }
    Error error = Invalid("format: {{{{{}}}}} is not a field", action);
    error.hint =
        "fields are {{.ID}}, {{.Parents}}, {{.CreatedAt}}, {{.Mutable}}, {{.Reclaimable}}, "
        "{{.Shared}}, {{.Size}}, {{.Description}}, {{.UsageCount}}, {{.LastUsedAt}}, "
        "{{.Type}}; formats are table, pretty and json";
    return error;
  });
  TRY(header);
  if (table) format.header_ = *header + "\n";
  return format;
}

std::string UsageFormat::Header() const {
  if (kind_ == Kind::kTemplate) return header_;
  if (kind_ != Kind::kTable) return "";
  return fmt::format("{:<16} {:<12} {:<10} {:<16} {}\n", "ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", "DESCRIPTION");
}

std::string UsageFormat::Row(const UsageRow& row) const {
  switch (kind_) {
    case Kind::kJson:
      return UsageJson(row).Dump() + "\n";
    case Kind::kPretty:
      return Pretty(row, now_);
    case Kind::kTable: {
      std::string line =
          fmt::format("{:<16} {:<12} {:<10} {:<16} {}", ShownId(row) + (row.is_mutable ? "*" : ""),
                      IsReclaimable(row) ? "true" : "false", FormatBytes(row.bytes) + (row.shared ? "*" : ""),
                      row.last_used ? FormatTimeAgo(*row.last_used, now_) : "", row.description);
      line.erase(line.find_last_not_of(' ') + 1);
      return line + "\n";
    }
    case Kind::kTemplate: {
      auto line = Expand(template_, [&](std::string_view action) -> Result<std::string> {
        if (action == "json .") return UsageJson(row).Dump();
        return FieldOf(row, action.substr(1), now_);
      });
      return line.value_or("") + "\n";
    }
  }
  return "";
}

void SortForPeople(std::vector<UsageRow>& rows) {
  std::ranges::stable_sort(
      rows, [](const UsageRow& a, const UsageRow& b) { return a.in_use != b.in_use ? a.in_use : a.bytes > b.bytes; });
}

Json UsageJson(const UsageRow& row) {
  Json json;
  json.Set("ID", row.id).SetIf(!row.parents.empty(), "Parents", Json::Strings(row.parents));
  if (row.created) json.Set("CreatedAt", FormatTime(*row.created));
  json.Set("Mutable", row.is_mutable).Set("Reclaimable", IsReclaimable(row)).Set("Shared", row.shared);
  json.Set("Size", std::to_string(row.bytes)).Set("Description", row.description);
  json.Set("UsageCount", row.uses);
  if (row.last_used) json.Set("LastUsedAt", FormatTime(*row.last_used));
  json.Set("Type", NameOf(row.type));
  if (row.seconds > 0) json.Set("Seconds", row.seconds);
  return json;
}

}  // namespace varve::cli
