#include "bake/entry.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::bake {

namespace {

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\n") == text.npos) return text;
  return "\"" + ReplaceAll(text, "\"", "\"\"") + "\"";
}

Result<Entry> FromFields(EntryKind kind, const std::vector<std::string>& parts, const std::string& text) {
  std::map<std::string, std::string> fields;
  for (const std::string& part : parts) {
    size_t eq = part.find('=');
    if (eq == part.npos) {
      if (kind == EntryKind::kSecret) return Invalid("invalid field '{}' must be a key=value pair", part);
      return Invalid("invalid value {}", part);
    }
    fields[ToLower(TrimSpace(part.substr(0, eq)))] = part.substr(eq + 1);
  }
  if (kind == EntryKind::kCache && !fields.contains("type")) return Invalid("type required for \"{}\"", text);
  return MakeEntry(kind, std::move(fields));
}

}  // namespace

Result<Entry> MakeEntry(EntryKind kind, std::map<std::string, std::string> fields, std::vector<std::string> paths) {
  Entry entry{.fields = std::move(fields), .paths = std::move(paths)};
  auto& all = entry.fields;
  const std::string type = entry.Get("type");
  if (kind == EntryKind::kSecret) {
    if (auto it = all.find("source"); it != all.end()) {
      all["src"] = it->second;
      all.erase("source");
    }
    if (!type.empty() && type != "file" && type != "env") return Invalid("unsupported secret type \"{}\"", type);
    if (type == "env" && entry.Get("env").empty()) {
      all["env"] = entry.Get("src");
      all.erase("src");
    }
    all.erase("type");
    for (const auto& [name, value] : all) {
      if (name != "id" && name != "src" && name != "env")
        return Invalid("unexpected key '{}' in '{}={}'", name, name, value);
    }
    std::erase_if(all, [](const auto& field) { return field.second.empty(); });
  } else if (kind == EntryKind::kCache && type.empty()) {
    return Invalid("type required for a cache");
  } else if (kind == EntryKind::kOutput && type.empty()) {
    return Invalid("type is required for output");
  } else if (kind == EntryKind::kAttest) {
    if (type.empty()) return Invalid("attestation type not specified");
    if (auto it = all.find("disabled"); it != all.end()) {
      auto disabled = ParseBool(it->second);
      if (!disabled) return Invalid("invalid value disabled={}", it->second);
      if (!*disabled) all.erase(it);
    }
  } else if (kind == EntryKind::kPolicy) {
    static constexpr std::string_view kKnown[] = {"filename", "reset", "disabled", "strict", "log-level"};
    for (const auto& [name, value] : all) {
      if (std::ranges::find(kKnown, name) == std::end(kKnown)) return Invalid("invalid value {}={}", name, value);
    }
  }
  return entry;
}

Result<Entries> ParseEntries(EntryKind kind, const std::string& text) {
  if (kind == EntryKind::kSsh) {
    size_t eq = text.find('=');
    Entry entry{.fields = {{"id", text.substr(0, eq)}}};
    if (eq != text.npos) entry.paths = Split(std::string_view(text).substr(eq + 1), ',');
    return Entries{std::move(entry)};
  }
  TRY_ASSIGN(auto parts, ParseCsvRecord(text));
  if (kind == EntryKind::kCache && text.find('=') == text.npos) {
    Entries entries;
    for (std::string& part : parts) entries.push_back({.fields = {{"type", "registry"}, {"ref", std::move(part)}}});
    return entries;
  }
  if (kind == EntryKind::kOutput && parts.size() == 1 && !text.starts_with("type=")) {
    return Entries{{.fields = {{"type", text == "-" ? "tar" : "local"}, {"dest", text}}}};
  }
  TRY_ASSIGN(Entry entry, FromFields(kind, parts, text));
  return Entries{std::move(entry)};
}

Entries WithoutDuplicates(EntryKind kind, const Entries& entries) {
  Entries kept;
  for (const Entry& entry : entries) {
    auto same = std::ranges::find_if(kept, [&](const Entry& other) {
      if (kind == EntryKind::kSecret || kind == EntryKind::kSsh) return other.Get("id") == entry.Get("id");
      if (kind == EntryKind::kAttest) return other.Get("type") == entry.Get("type");
      return other == entry;
    });
    if (same == kept.end()) {
      kept.push_back(entry);
    } else {
      *same = entry;
    }
  }
  return kept;
}

Json EntryJson(EntryKind kind, const Entry& entry) {
  Json json = Json::EmptyObject();
  if (kind == EntryKind::kSecret || kind == EntryKind::kSsh) {
    for (const char* name : {"id", "src", "env"}) json.SetIf(!entry.Get(name).empty(), name, entry.Get(name));
    json.SetIf(!entry.paths.empty(), "paths", Json::Strings(entry.paths));
    return json;
  }
  for (const auto& [name, value] : entry.fields) {
    bool flag = kind == EntryKind::kAttest && name == "disabled";
    json.Set(name, flag ? Json(true) : Json(value));
  }
  if (kind == EntryKind::kPolicy) {
    for (const char* name : {"reset", "disabled", "strict"}) {
      if (auto flag = ParseBool(entry.Get(name))) json.Set(name, *flag);
    }
  }
  return json;
}

std::string EntryText(EntryKind kind, const Entry& entry) {
  if (kind == EntryKind::kSsh) {
    return entry.Get("id") + (entry.paths.empty() ? "" : "=" + Join(entry.paths, ","));
  }
  std::vector<std::string> parts;
  if (!entry.Get("type").empty()) parts.push_back(CsvField("type=" + entry.Get("type")));
  for (const auto& [name, value] : entry.fields) {
    if (name != "type") parts.push_back(CsvField(name + "=" + value));
  }
  return Join(parts, ",");
}

std::string AttestText(const std::string& type, const std::string& value) {
  if (value.empty()) return "";
  if (auto wanted = ParseBool(value)) return fmt::format("type={},disabled={}", type, !*wanted);
  return fmt::format("type={},{}", type, value);
}

}  // namespace varve::bake
