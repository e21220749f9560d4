// ADD of a local archive: a tar, plain or compressed, recognised by its content, is extracted.
#pragma once

#include <optional>
#include <stop_token>

#include "exec/tree_copy.h"

namespace varve::exec {

// False when the file is no archive: nothing was written then, and it is to be copied. `dest` is
// resolved; it is made (0755) when missing. `owner`: --chown, for everything.
//
// What is in the way of an entry is removed, unless both are directories. Names with "..", and more
// than a thousand times the archive's size (at least 10 GiB), are refused. Links stay inside of the
// image.
Result<bool> UnpackArchive(int source_root, const RelPath& file, LayerWriter& writer, const RelPath& dest,
                           std::optional<Ownership> owner, std::stop_token stop);

}  // namespace varve::exec
