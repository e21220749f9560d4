// A tier on a web server: an object store that cannot be listed, with GET, HEAD and PUT.
//
//   index.json             the index of the groups (storage.h)
//   blobs/sha256/<hex>     blobs, manifests of groups among them
//
// Where the server honours If-Match and If-None-Match the index is replaced under a condition, so that
// no writer overwrites another; elsewhere it is read back (read_back.h).
//
// Blobs that a replaced group was the last to lead to are noted in an annotation of the index, with the
// time by the server's clock, and deleted by the first export an hour later. Meanwhile an exporter that
// is about to name one sends it again.
#pragma once

#include <memory>

#include "net/retry.h"
#include "objects/object_store.h"
#include "tier/storage.h"

namespace varve::tier {

std::unique_ptr<BlobStorage> MakeWebStorage(std::unique_ptr<objects::ObjectStore> store,
                                            net::Sleeper& sleeper = net::SystemSleeper());

}  // namespace varve::tier
