// What a walk of a directory found, copied into another directory on all cores, as `cp -a` would copy it.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/upper_walk.h"

namespace varve::exporter {

// `to` exists, and gets the attributes of `from` itself, too. Modes, hard links, holes, extended attributes and
// the entries' times are kept, and owners as far as this process may set them. A file in the way is replaced;
// a directory in the way of something else, or the other way round, is kInvalid. No symlink is followed, also
// none that is in `to` already.
Status CopyEntries(const std::string& from, const std::vector<snapshot::UpperEntry>& entries, const std::string& to,
                   std::stop_token stop);

}  // namespace varve::exporter
