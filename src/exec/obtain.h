// The layers of a record onto this machine: from the registries of the base images that the build
// resolved, and from wherever else blobs can be had (cache tiers).
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <vector>

#include "base/byte_progress.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "snapshot/layer_store.h"
#include "source/image.h"

namespace varve::exec {

// Brings a layer's blob into the blob store, verified; nothing: nobody has it.
using FetchLayer = std::function<Result<std::optional<cache::LayerBlob>>(
    const DiffId& layer, const OnProgress& on_progress, std::stop_token stop)>;

// One serves a build. Safe from any thread.
class LayerObtainer {
 public:
  LayerObtainer(snapshot::LayerStore& layers, cache::LocalStore& local, source::ImageStore& images,
                cas::BlobStore& blobs, FetchLayer fetch)
      : layers_(layers), local_(local), images_(images), blobs_(blobs), fetch_(std::move(fetch)) {}

  // Blobs are fetched in parallel before the first is unpacked, and base images pulled only when all
  // other layers can be had. The outputs' trees are made from the layers' own files: kCorrupt when one
  // is not what the record says. kNotFound when a layer cannot be had. The layers are leased.
  Status Obtain(const std::vector<cache::Rootfs>& outputs, const std::vector<source::ResolvedImage>& images,
                const OnProgress& on_progress, std::stop_token stop);

  // One layer of a stack, without those below it; of a base image all of its own. Otherwise as above.
  Status ObtainLayer(const cache::Rootfs& output, size_t layer, const std::vector<source::ResolvedImage>& images,
                     const OnProgress& on_progress, std::stop_token stop);

  // The tree of a stack whose layers are all unpacked here; kNotFound when one is not.
  Result<Digest> TreeOf(const std::vector<DiffId>& layers, const std::vector<source::ResolvedImage>& images);

 private:
  Status ObtainStack(const cache::Rootfs& output, const std::vector<source::ResolvedImage>& images,
                     const OnProgress& on_progress, std::stop_token stop);
  Result<cache::LayerBlob> FetchBlob(const DiffId& layer, const OnProgress& on_progress, std::stop_token stop);
  Status UnpackLayer(const cache::Rootfs& output, size_t layer, const cache::LayerBlob& blob,
                     const OnProgress& on_progress, std::stop_token stop);
  Result<Digest> TreeOn(const source::ResolvedImage* base, const std::vector<DiffId>& layers);

  snapshot::LayerStore& layers_;
  cache::LocalStore& local_;
  source::ImageStore& images_;
  cas::BlobStore& blobs_;
  const FetchLayer fetch_;
  // Stacks share their lower layers: those are pulled and unpacked by one step, not by each.
  std::mutex unpacking_;
};

}  // namespace varve::exec
