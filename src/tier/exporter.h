// One export to a storage: what an offer has and the place has not is sent, then listed.
//
//   TRY_ASSIGN(auto there, LoadContents(…));
//   return Export({.storage = …, …}, *there, offer, on_progress, stop);
//
// Blobs go before the records that name them (invariant I4), so an export that breaks off leaves blobs that
// nothing names, and the list as it was.
#pragma once

#include <memory>
#include <set>

#include "base/clock.h"
#include "tier/chunked.h"
#include "tier/contents.h"
#include "tier/export_choice.h"
#include "tier/packed_tier.h"
#include "tier/tier.h"

namespace varve::tier {

// Chunks of layers that were sent before the export that names them.
struct ChunksAhead {
  ChunkSender sender;
  std::set<DiffId> layers;
};

// What an export writes to. All must outlive it.
struct ExportTarget {
  Wire& wire;
  ChunkLists& lists;
  const PackedOptions& options;
  Clock& clock;
  Rates rates;  // as far as they are known
  Note note;    // lines for people; called from this thread
  std::unique_ptr<ChunksAhead> chunks = nullptr;
};

struct Exported {
  size_t left_out = 0;  // layers that the offer's bounds had no room for
};

// Blocks. `there`: what the place has, as whoever has the key of this export sees it.
Result<Exported> Export(ExportTarget& to, const Contents& there, const Offer& offer, const OnProgress& on_progress,
                        std::stop_token stop);

}  // namespace varve::tier
