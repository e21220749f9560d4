// Fixes as changed files, and as a patch that `git apply` and `patch -p1` take.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/project.h"

namespace varve::doctor {

struct ChangedFile {
  std::string path;    // relative to the project
  std::string before;  // empty where `is_new`
  std::string after;
  bool is_new = false;
};

struct Patch {
  std::vector<ChangedFile> files;         // by path
  std::vector<const Finding*> fixed;      // whose fix is in it
  std::vector<const Finding*> postponed;  // whose lines another fix changes already: run again afterwards
};

// All fixes together. Edits that overlap are not merged: the first finding's wins.
Patch MakePatch(const Project& project, const std::vector<Finding>& findings);

// `text` with the edits made; they do not overlap. Line ends stay what they are.
std::string ApplyEdits(const std::string& text, std::vector<Edit> edits);

// Unified format with three lines of context, paths below a/ and b/.
std::string ToUnifiedDiff(const Patch& patch);

}  // namespace varve::doctor
