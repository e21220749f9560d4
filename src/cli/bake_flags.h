// A bake target as the flags of `varve build`.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "bake/selection.h"
#include "job/build_flags.h"

namespace varve::cli {

// Where a definition came from that is not of this directory; all empty for one that is.
struct BakeOrigin {
  std::string url;        // as named on the command line
  std::string directory;  // what was fetched from there
};

struct TargetFlags {
  job::BuildFlags flags;
  std::vector<std::pair<std::string, std::string>> links;  // named context, target
};

// Whether the text is a URL that something is fetched from.
bool IsRemoteUrl(const std::string& text);

// Cleans a target's context as --print shows it: cwd:// gone, "." of a remote definition its URL.
// kInvalid for standard input, which all targets would share.
Status PlaceContext(bake::Target& target, const BakeOrigin& origin);

// kInvalid, naming the target, for values that the build flags refuse.
Result<TargetFlags> FlagsOfTarget(const bake::Target& target, const BakeOrigin& origin);

}  // namespace varve::cli
