// Package files by what they install: package.json without its scripts, requirements.txt without
// its comments. doc/package-files.md says for each kind what counts.
//
// What is left out is a list, and everything else counts: a member that this version has never
// heard of can cost a step that need not have run, never an image with the wrong packages.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace varve::packages {

enum class Kind { kNpm, kNpmLock, kPip, kPyproject, kMaven, kGoMod };

// By the file's name, without its folder: "package.json", "requirements-dev.txt".
std::optional<Kind> KindOf(std::string_view name);
// Lock files and settings of the same programs: they count as they are, and may be copied together
// with package files.
bool IsCompanion(std::string_view name);

// Whether the program, "npm", reads files of this kind when it installs.
bool Reads(std::string_view program, Kind kind);

struct Canonical {
  // Two files with the same form install the same. Of a file that is refused: its content.
  std::string form;
  // Why the whole file counts: `it runs "postinstall" at installation`. Empty: it does not.
  std::string refused;
};
Canonical CanonicalForm(Kind kind, std::string_view text);

}  // namespace varve::packages
