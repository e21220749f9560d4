// Small documents out of somebody else's store, who may say anything of them.
#pragma once

#include "base/remote_blobs.h"

namespace varve {

// The whole blob, verified; nothing when it is not there. Never more than `limit` bytes are taken: kInvalid when the
// blob is larger, kCorrupt when it is not what the digest names.
Result<std::optional<std::string>> ReadSmallBlob(RemoteBlobs& store, const Digest& blob, uint64_t limit,
                                                 std::stop_token stop);

}  // namespace varve
