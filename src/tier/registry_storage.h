// A tier in a registry's repository: an OCI artifact under a tag.
//
// The tag's index is read, merged and pushed again, and read back (read_back.h): the distribution
// protocol has no conditional PUT.
//
// Manifests and indexes that are replaced are noted in the index and deleted by their digests an hour
// later, where the registry lets them be deleted; what only they named goes with its next collection.
// Each says which tag it belongs to, so that no other tag's manifest is deleted.
#pragma once

#include <memory>

#include "base/clock.h"
#include "net/retry.h"
#include "oci/reference.h"
#include "registry/client.h"
#include "tier/storage.h"

namespace varve::tier {

// The client must outlive the storage.
std::unique_ptr<BlobStorage> MakeRegistryStorage(registry::Client& client, oci::Reference reference,
                                                 net::Sleeper& sleeper = net::SystemSleeper(),
                                                 Clock& clock = SystemClock());

}  // namespace varve::tier
