#include "cli/bake_lists.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::cli {

namespace {

using Row = std::vector<std::string>;

// As Go's tabwriter with tabs of eight: the bytes that scripts read.
std::string Table(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], (row[i].size() + 1 + 7) / 8 * 8);
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      text += row[i] + std::string((widths[i] - row[i].size() + 7) / 8, '\t');
    }
    text += row.back() + "\n";
  }
  return text;
}

std::string Targets(const bake::Definition& definition, bool json) {
  struct Item {
    std::string name, description;
    bool group;
  };
  std::vector<Item> items;
  for (const bake::Target& target : definition.targets) items.push_back({target.name, target.description, false});
  for (const bake::Group& group : definition.groups) {
    bake::Strings members = group.targets;
    std::ranges::sort(members);
    std::string names = Join(members, ", ");
    bool both = !group.description.empty() && !names.empty();
    items.push_back({group.name, both ? group.description + " (" + names + ")" : group.description + names, true});
  }
  std::erase_if(items, [](const Item& item) { return item.name.starts_with('_'); });
  std::ranges::stable_sort(items, {}, &Item::name);
  Json array = Json::EmptyArray();
  std::vector<Row> rows{{"TARGET", "DESCRIPTION"}};
  for (const Item& item : items) {
    rows.push_back({item.name, item.description});
    array.Append(Json()
                     .Set("name", item.name)
                     .SetIf(!item.description.empty(), "description", item.description)
                     .SetIf(item.group, "group", true));
  }
  return json ? array.Dump({.indent = 2, .escape_html = true}) + "\n" : Table(rows);
}

std::string Variables(const bake::Definition& definition, bool json) {
  std::vector<bake::Variable> variables = definition.variables;
  std::ranges::sort(variables, {}, &bake::Variable::name);
  Json array = Json::EmptyArray();
  std::vector<Row> rows{{"VARIABLE", "TYPE", "VALUE", "DESCRIPTION"}};
  for (const bake::Variable& variable : variables) {
    rows.push_back({variable.name, variable.type, variable.value.value_or("<null>"), variable.description});
    array.Append(Json()
                     .Set("name", variable.name)
                     .SetIf(!variable.description.empty(), "description", variable.description)
                     .SetIf(!variable.type.empty(), "type", variable.type)
                     .SetIf(variable.value.has_value(), "value", variable.value.value_or("")));
  }
  return json ? array.Dump({.indent = 2, .escape_html = true}) + "\n" : Table(rows);
}

}  // namespace

Result<std::string> ListOf(const bake::Definition& definition, const std::string& what) {
  TRY_ASSIGN(auto fields, ParseCsvRecord(what));
  std::string type, format = "table";
  if (fields.size() == 1 && fields[0].find('=') == std::string::npos) {
    type = fields[0];
  } else {
    for (const std::string& field : fields) {
      size_t eq = field.find('=');
      std::string key = field.substr(0, eq), value = eq == field.npos ? "" : field.substr(eq + 1);
      if (key == "type") type = value;
      else if (key == "format" && (value == "table" || value == "json")) format = value;
      else return Invalid("invalid --list \"{}\": use targets, variables, or type=…,format=table|json", what);
    }
  }
  if (type == "targets") return Targets(definition, format == "json");
  if (type == "variables") return Variables(definition, format == "json");
  return Invalid("invalid --list type \"{}\": use targets or variables", type);
}

}  // namespace varve::cli
