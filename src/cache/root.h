// The state root: where everything that varve remembers lies (ARCHITECTURE.md, "Where state
// lives").
#pragma once

#include <string>

#include "base/result.h"

namespace varve::cache {

inline constexpr int kRootVersion = 1;

// `flag` if given, else $VARVE_ROOT, else /var/lib/varve for root, else $XDG_DATA_HOME/varve or
// ~/.local/share/varve. Absolute, wherever the caller goes later.
std::string RootDirectory(const std::string& flag);

// Creates what is missing. kInvalid, with the remedy, when the root is read-only, is no directory,
// or was made by a newer varve.
Status PrepareRoot(const std::string& root);

}  // namespace varve::cache
