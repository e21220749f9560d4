// Named contexts: what --build-context puts in the place of stages, base images and --from names
// (reference dockerfile.md §7).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/lower.h"
#include "graph/graph.h"
#include "oci/platform.h"

namespace varve::dockerfile {

// The context that replaces `name` on `platform`: "name::platform" before "name". `name` and the
// contexts' names are compared as image references, so that "alpine" is "docker.io/library/alpine".
// Null when there is none; "scratch" and "context" are never replaced.
const NamedContext* FindNamedContext(const std::vector<NamedContext>& contexts, std::string_view name,
                                     const oci::Platform& platform);

// What a context's value asks for.
struct ContextSource {
  enum class Kind { kScratch, kImage, kLayout, kFiles, kInput };
  Kind kind = Kind::kFiles;
  std::string reference;          // kImage: normalised, with a tag or digest
  graph::OciLayoutSource layout;  // kLayout
  graph::Op files;                // kFiles: LocalSource, GitSource or HttpSource
  std::string input;              // kInput
  std::string step_name;          // "[context base] load from client"
};
Result<ContextSource> ReadNamedContext(const NamedContext& context);

}  // namespace varve::dockerfile
