// pyproject.toml (packaging.python.org, "pyproject.toml specification").
#include <array>
#include <sstream>

#include "base/json.h"
#include "base/toml.h"
#include "packages/forms.h"

namespace varve::packages {
namespace {

constexpr std::array<std::string_view, 10> kIgnoredOfProject = {
    "version", "description", "readme",   "license",     "license-files",
    "authors", "maintainers", "keywords", "classifiers", "urls"};
constexpr std::array<std::string_view, 11> kIgnoredOfPoetry = {
    "version",  "description", "license",       "authors",  "maintainers", "readme",
    "homepage", "repository",  "documentation", "keywords", "classifiers"};
// Tools that check, format, test and release: none of them installs.
constexpr std::array<std::string_view, 23> kIgnoredTools = {
    "black",      "ruff",        "isort",     "mypy",      "pytest",     "coverage",         "pylint",
    "pyright",    "flake8",      "bandit",    "towncrier", "commitizen", "semantic_release", "bumpversion",
    "bumpver",    "tox",         "codespell", "djlint",    "vulture",    "autopep8",         "yapf",
    "pydocstyle", "cibuildwheel"};

Json ToJson(const toml::node& node) {
  if (const toml::table* table = node.as_table()) {
    Json json = Json::EmptyObject();
    for (const auto& [key, value] : *table) json.Set(key.str(), ToJson(value));
    return json;
  }
  if (const toml::array* array = node.as_array()) {
    Json json = Json::EmptyArray();
    for (const toml::node& item : *array) json.Append(ToJson(item));
    return json;
  }
  if (const auto* text = node.as_string()) return Json(text->get());
  if (const auto* flag = node.as_boolean()) return Json(flag->get());
  if (const auto* number = node.as_integer()) return Json(number->get());
  // Floats and dates as they print: an object, so that no string is the same.
  std::ostringstream text;
  if (const auto* value = node.as_floating_point()) text << value->get();
  if (const auto* value = node.as_date()) text << value->get();
  if (const auto* value = node.as_time()) text << value->get();
  if (const auto* value = node.as_date_time()) text << value->get();
  return Json().Set("toml", text.str());
}

template <size_t N>
void EraseAll(Json* table, const std::array<std::string_view, N>& names) {
  if (table == nullptr || !table->is_object()) return;
  for (std::string_view name : names) table->Erase(name);
}

}  // namespace

Form FormOfPyproject(std::string_view text) {
  auto table = ParseToml(text);
  if (!table) return Invalid("it is no TOML: {}", table.error().message);
  Json json = ToJson(*table);
  EraseAll(json.Find("project"), kIgnoredOfProject);
  Json* tool = json.Find("tool");
  EraseAll(tool, kIgnoredTools);
  if (tool != nullptr) {
    EraseAll(tool->Find("poetry"), kIgnoredOfPoetry);
    Json* uv = tool->Find("uv");
    if (uv != nullptr && uv->Find("workspace") != nullptr) return Invalid("it has a workspace");
  }
  return json.DumpCanonical();
}

}  // namespace varve::packages
