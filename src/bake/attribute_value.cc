#include "bake/attribute_value.h"

#include "bake/target.h"

namespace varve::bake {

using hcl::Attribute;
using hcl::ErrorAt;
using hcl::Type;
using hcl::Value;

Result<Value> ConvertAt(const Value& value, const Type& type, const Attribute& attribute) {
  auto converted = hcl::Convert(value, type);
  if (converted) return converted;
  return ErrorAt(attribute.value->range, "Unsuitable value type", "Unsuitable value: " + converted.error().message);
}

Result<std::map<std::string, std::string>> FieldsOf(const Value& value, const Attribute& attribute) {
  std::map<std::string, std::string> fields;
  for (const auto& [name, member] : value.members()) {
    if (member.is_null() || member.is_sequence()) continue;
    TRY_ASSIGN(Value text, ConvertAt(member, Type::String(), attribute));
    fields[name] = text.as_string();
  }
  return fields;
}

Result<Entries> EntriesOf(EntryKind kind, const Value& value, const Attribute& attribute) {
  Entries all;
  if (!value.is_sequence())
    return ErrorAt(attribute.value->range, "Unsuitable value type",
                   fmt::format("Unsuitable value: list of {} required",
                               kind == EntryKind::kSsh ? "texts or objects" : "CSV texts or objects"));
  for (const Value& item : value.items()) {
    if (item.is_null()) continue;
    if (item.is_mapping()) {
      TRY_ASSIGN(auto fields, FieldsOf(item, attribute));
      Strings paths;
      if (auto it = item.members().find("paths"); it != item.members().end() && it->second.is_sequence()) {
        TRY_ASSIGN(Value list, ConvertAt(it->second, Type::List(Type::String()), attribute));
        for (const Value& path : list.items()) paths.push_back(path.as_string());
      }
      auto entry = MakeEntry(kind, std::move(fields), std::move(paths));
      if (!entry) return ErrorAt(attribute.value->range, "Invalid " + attribute.name, entry.error().message);
      all.push_back(std::move(*entry));
      continue;
    }
    TRY_ASSIGN(Value text, ConvertAt(item, Type::String(), attribute));
    if (text.as_string().empty()) continue;
    auto entries = ParseEntries(kind, text.as_string());
    if (!entries) return ErrorAt(attribute.value->range, "Invalid " + attribute.name, entries.error().message);
    all.insert(all.end(), entries->begin(), entries->end());
  }
  return all;
}

Value EntriesValue(EntryKind kind, const Entries& entries) {
  Value::Items items;
  for (const Entry& entry : entries) {
    Value::Members members;
    for (const auto& [name, value] : entry.fields) members[name] = value;
    if (kind == EntryKind::kSsh) {
      members["paths"] = Value::Strings(entry.paths);
      items.push_back(Value::Object(std::move(members)));
    } else {
      items.push_back(Value::Map(Type::String(), std::move(members)));
    }
  }
  return Value::Tuple(std::move(items));
}

}  // namespace varve::bake
