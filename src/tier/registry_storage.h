// A tier in a registry's repository: an OCI artifact under a tag.
//
// The tag's index is read, merged and pushed again. The distribution protocol has no conditional PUT,
// so a writer that was overtaken finds out afterwards: it reads the tag back, and merges again when its
// group is not there. Whoever read the index before another's PUT has done his own PUT by then, since
// reading back waits longer than a merge takes.
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
