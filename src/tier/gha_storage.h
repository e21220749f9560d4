// A tier in GitHub's cache service.
//
// An entry there is written once, counts against 200 uploads a minute, and is found by the beginning of its
// key; nothing lists or deletes. So what is sent waits for others, the export's own until its Replace, and goes in few
// packs (gha/packs.h), whose index names the groups and the blobs that each needs:
//
//   blob/sha256:…    a layer, a tree pack, a group's records
//   group/sha256:…   the records, under the digest of the group's manifest, which is not stored itself
//
// A job reads what its token lets it read: its own branch's groups, its base's and the default branch's; it
// writes its own. A group of another branch that is merged into one of its own is hidden for this branch.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "gha/packs.h"
#include "gha/service_address.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "tier/storage.h"

namespace varve::tier {

// A repository has 10 GB, from which GitHub drops what was used longest ago: other caches and what merged
// groups left behind have the rest.
inline constexpr uint64_t kGhaMaxSize = 8'000'000'000;

struct GhaOptions {
  gha::ServiceAddress address;
  gha::Packs::Options packs;            // the user's scope among them
  Nanos retry_budget{600'000'000'000};  // of one request with its repetitions, pauses of a 429 included
};

// `http`, `clock` and `sleeper` must outlive the storage.
std::unique_ptr<BlobStorage> MakeGhaStorage(net::HttpClient& http, GhaOptions options, Clock& clock,
                                            net::Sleeper& sleeper = net::SystemSleeper());

}  // namespace varve::tier
