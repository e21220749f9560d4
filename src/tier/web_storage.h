// A tier on a web server: an object store that cannot be listed, with GET, HEAD and PUT.
//
//   index.json             the index of the groups (storage.h)
//   blobs/sha256/<hex>     blobs, manifests of groups among them
//
// Where the server honours If-Match and If-None-Match the index is replaced under a condition, so that
// no writer overwrites another; elsewhere it is read back (read_back.h).
//
// bazel-remote's paths are of another form (its README, "HTTP/1.1 REST API"): a content-addressable store,
// which checks digests itself, and an action cache, which holds the index as an action's output (action_result.h):
//
//   ac/<hex of sha256("varve cache index 1")>        cas/<hex>
//
// It knows neither conditions nor deletion: its own limit of bytes drops what was used longest ago.
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

enum class WebLayout { kPlain, kBazel };

std::unique_ptr<BlobStorage> MakeWebStorage(std::unique_ptr<objects::ObjectStore> store,
                                            WebLayout layout = WebLayout::kPlain,
                                            net::Sleeper& sleeper = net::SystemSleeper());

}  // namespace varve::tier
