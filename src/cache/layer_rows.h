// What the index knows of layers, image names, base images' stacks and small facts; see
// local_store.h for the meaning.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "cache/index.h"
#include "cache/local_store.h"

namespace varve::cache {

// Safe from any thread.
class LayerRows {
 public:
  LayerRows(Index& index, Clock& clock) : index_(index), clock_(clock) {}

  Status Note(const DiffId& layer, uint64_t tar_size);
  void Used(const DiffId& layer);
  Status Flush();
  Result<std::vector<LayerUse>> List();
  Status NoteDiskBytes(std::span<const MeasuredLayer> measured);
  Status Forget(const DiffId& layer);

  Result<std::vector<std::vector<LayerBlob>>> Blobs(const std::vector<DiffId>& layers);  // of each
  Status PutBlob(const DiffId& layer, const LayerBlob& blob);
  Result<std::vector<std::pair<DiffId, Digest>>> StoredBlobs();

  Result<std::optional<Digest>> ChainTree(const ChainId& chain);
  Status PutChainTree(const ChainId& chain, const Digest& tree_root);
  Result<std::vector<std::pair<ChainId, Digest>>> ChainTrees();
  Status ForgetChainTree(const ChainId& chain);

 private:
  Index& index_;
  Clock& clock_;
  Guarded<std::map<DiffId, int64_t>> uses_;
};

}  // namespace varve::cache
