// A root opened by those that look after it (du, prune, clear, fsck, cache-mount): no lease, so
// that nothing is spared for their own sake, and no registries.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "job/global_flags.h"
#include "snapshot/layer_store.h"
#include "upkeep/inventory.h"
#include "upkeep/prune.h"

namespace varve::job {

struct UpkeepStores {
  std::string root;
  cache::OpenedStore local;
  std::unique_ptr<cas::BlobStore> blobs;
  std::unique_ptr<snapshot::LayerStore> layers;

  static Result<UpkeepStores> Open(const GlobalFlags& global);
  upkeep::Stores view() const;
};

// "ERROR: …" with the hint, of a command that builds nothing; the exit code that goes with it.
int FailWith(const Error& error);

// Shows `question` and waits for y or yes on stdin; anything else, and its end, is no.
bool Confirm(std::string_view question);

}  // namespace varve::job
