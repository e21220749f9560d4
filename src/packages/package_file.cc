#include "packages/package_file.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/strings.h"
#include "packages/forms.h"

namespace varve::packages {

std::optional<Kind> KindOf(std::string_view name) {
  if (name == "package.json") return Kind::kNpm;
  if (name == "package-lock.json" || name == "npm-shrinkwrap.json") return Kind::kNpmLock;
  if (name == "pyproject.toml") return Kind::kPyproject;
  if (name == "pom.xml") return Kind::kMaven;
  if (name == "go.mod") return Kind::kGoMod;
  bool pip = name.ends_with(".txt") && (name.starts_with("requirements") || name.starts_with("constraints") ||
                                        name.ends_with("requirements.txt"));
  if (pip) return Kind::kPip;
  return std::nullopt;
}

bool IsCompanion(std::string_view name) {
  static constexpr std::array<std::string_view, 13> kNames = {
      "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", ".npmrc",       ".yarnrc", ".yarnrc.yml",
      "uv.lock",   "poetry.lock",    "pip.conf", "go.sum",    "settings.xml", "pdm.lock"};
  return std::ranges::find(kNames, name) != kNames.end();
}

bool Reads(std::string_view program, Kind kind) {
  if (program == "npm" || program == "yarn" || program == "pnpm" || program == "bun") {
    return kind == Kind::kNpm || kind == Kind::kNpmLock;
  }
  if (program == "pip") return kind == Kind::kPip;
  if (program == "uv") return kind == Kind::kPip || kind == Kind::kPyproject;
  if (program == "poetry") return kind == Kind::kPyproject;
  if (program == "mvn") return kind == Kind::kMaven;
  if (program == "go") return kind == Kind::kGoMod;
  return false;
}

Canonical CanonicalForm(Kind kind, std::string_view text) {
  Form form;
  switch (kind) {
    case Kind::kNpm:
      form = FormOfPackageJson(text);
      break;
    case Kind::kNpmLock:
      form = FormOfPackageLock(text);
      break;
    case Kind::kPip:
      form = FormOfRequirements(text);
      break;
    case Kind::kPyproject:
      form = FormOfPyproject(text);
      break;
    case Kind::kMaven:
      form = FormOfPom(text);
      break;
    case Kind::kGoMod:
      form = FormOfGoMod(text);
      break;
  }
  if (form) return {std::move(*form), ""};
  return {std::string(text), std::move(form).error().message};
}

}  // namespace varve::packages
