// package.json and package-lock.json (docs.npmjs.com/cli, "package.json", "package-lock.json").
#include <array>

#include "base/json.h"
#include "packages/forms.h"

namespace varve::packages {
namespace {

// For people, for publishing, and for tools that read them when they are run.
constexpr std::array<std::string_view, 33> kIgnored = {
    "version",    "description",  "keywords",    "homepage",     "bugs",         "license",  "licenses",
    "author",     "contributors", "maintainers", "funding",      "repository",   "scripts",  "files",
    "main",       "module",       "browser",     "types",        "typings",      "exports",  "sideEffects",
    "man",        "readme",       "jest",        "eslintConfig", "eslintIgnore", "prettier", "stylelint",
    "commitlint", "lint-staged",  "nyc",         "ava",          "mocha"};

// npm ci and npm install run these of the project itself (docs.npmjs.com, "Life Cycle Operation
// Order"), and what they run may read anything.
constexpr std::array<std::string_view, 11> kLifeCycle = {
    "preinstall",  "install",      "postinstall",     "prepublish",       "preprepare",        "prepare",
    "postprepare", "dependencies", "predependencies", "postdependencies", "pnpm:devPreinstall"};

}  // namespace

Form FormOfPackageJson(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json || !json->is_object()) return Invalid("it is no JSON object");
  for (std::string_view script : kLifeCycle) {
    const Json* scripts = json->Find("scripts");
    if (scripts != nullptr && scripts->Find(script) != nullptr)
      return Invalid("it runs \"{}\" at installation", script);
  }
  if (json->Find("workspaces") != nullptr) return Invalid("it has workspaces");
  for (std::string_view name : kIgnored) json->Erase(name);
  return json->DumpCanonical();
}

Form FormOfPackageLock(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json || !json->is_object()) return Invalid("it is no JSON object");
  json->Erase("version");
  // The project itself, from lockfileVersion 2 on.
  Json* packages = json->Find("packages");
  Json* own = packages == nullptr || !packages->is_object() ? nullptr : packages->Find("");
  if (own != nullptr && own->is_object()) {
    if (own->Find("workspaces") != nullptr) return Invalid("it has workspaces");
    own->Erase("version");
    own->Erase("license");
    own->Erase("funding");
  }
  return json->DumpCanonical();
}

}  // namespace varve::packages
