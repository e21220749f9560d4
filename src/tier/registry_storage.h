// A tier in a registry's repository: an OCI artifact under a tag.
//
// The tag's index is read, merged and pushed again, and read back (read_back.h): the distribution
// protocol has no conditional PUT.
#pragma once

#include <memory>

#include "net/retry.h"
#include "oci/reference.h"
#include "registry/client.h"
#include "tier/storage.h"

namespace varve::tier {

// The client must outlive the storage.
std::unique_ptr<BlobStorage> MakeRegistryStorage(registry::Client& client, oci::Reference reference,
                                                 net::Sleeper& sleeper = net::SystemSleeper());

}  // namespace varve::tier
