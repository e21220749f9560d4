// The images of a project that a patch could change: what has to be built before and after to know
// that they stay the same.
//
//   for (const TouchedImage& image : ImagesTouchedBy(project, patch)) …
//
// Pure. A file touches an image when it is its Dockerfile or its ignore file, or when it lies in
// its context and nothing shields it from there.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "doctor/patch.h"
#include "doctor/project.h"

namespace varve::doctor {

struct TouchedImage {
  std::string name;        // for people: "Dockerfile", "api/Dockerfile, target test"
  std::string context;     // relative to the project; "" is its top
  std::string dockerfile;  // relative to the project
  std::string target;
  // As the calls give them. A value that only the place of the build knows (`$TAG`, `${{ … }}`) is
  // there as written, unless the Dockerfile has a default for it.
  std::vector<std::pair<std::string, std::string>> args;
  std::set<std::string> files;  // of the patch that touch it
  bool definition = false;      // its Dockerfile or its ignore file is among them
  std::string unbuildable;      // why it cannot be built here; empty: it may be

  bool operator==(const TouchedImage&) const = default;
};

// In the order of the project's calls, then the Dockerfiles that nobody calls.
std::vector<TouchedImage> ImagesTouchedBy(const Project& project, const Patch& patch);

}  // namespace varve::doctor
