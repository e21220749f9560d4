#include "exec/obtain.h"

#include <algorithm>

#include "archive/codec.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "tree/layer_index.h"

namespace varve::exec {

namespace {

constexpr size_t kDownloads = 8;

bool StartsWith(const std::vector<DiffId>& layers, const std::vector<DiffId>& prefix) {
  return prefix.size() <= layers.size() && std::equal(prefix.begin(), prefix.end(), layers.begin());
}

// The image that the stack was built on; of several the one with most layers.
const source::ResolvedImage* BaseOf(const std::vector<DiffId>& layers,
                                    const std::vector<source::ResolvedImage>& images) {
  const source::ResolvedImage* base = nullptr;
  for (const source::ResolvedImage& image : images) {
    if (!StartsWith(layers, image.diff_ids)) continue;
    if (base == nullptr || image.diff_ids.size() > base->diff_ids.size()) base = &image;
  }
  return base;
}

}  // namespace

Status LayerObtainer::Obtain(const std::vector<cache::Rootfs>& outputs,
                             const std::vector<source::ResolvedImage>& images, const OnProgress& on_progress,
                             std::stop_token stop) {
  for (const cache::Rootfs& output : outputs) TRY(ObtainStack(output, images, on_progress, stop));
  return Ok();
}

Status LayerObtainer::ObtainStack(const cache::Rootfs& output, const std::vector<source::ResolvedImage>& images,
                                  const OnProgress& on_progress, std::stop_token stop) {
  METRIC("exec.obtain");
  const source::ResolvedImage* base = BaseOf(output.layers, images);
  size_t base_layers = base != nullptr ? base->diff_ids.size() : 0;
  std::vector<size_t> missing;
  for (size_t i = base_layers; i < output.layers.size(); ++i) {
    TRY_ASSIGN(bool here, layers_.Has(output.layers[i]));
    if (!here) missing.push_back(i);
  }
  std::vector<cache::LayerBlob> blobs(missing.size());
  auto fetch = [&](size_t n) -> Status {
    TRY_ASSIGN(blobs[n], FetchBlob(output.layers[missing[n]], on_progress, stop));
    return Ok();
  };
  TRY(ParallelFor(missing.size(), kDownloads, fetch));

  std::lock_guard one_at_a_time(unpacking_);
  if (base != nullptr) TRY(images_.Pull(*base, on_progress, stop));
  for (size_t n = 0; n < missing.size(); ++n) {
    TRY(UnpackLayer(output, missing[n], blobs[n], on_progress, stop));
  }
  if (missing.empty() || output.tree_root.empty()) return Ok();
  // Invariant I1: keys of later steps rest on this tree.
  TRY_ASSIGN(Digest root, TreeOn(base, output.layers));
  if (root == output.tree_root) return Ok();
  return Corrupt("the layers of the step's record give the tree {}, not {}", root.Short(), output.tree_root.Short());
}

Status LayerObtainer::ObtainLayer(const cache::Rootfs& output, size_t layer,
                                  const std::vector<source::ResolvedImage>& images, const OnProgress& on_progress,
                                  std::stop_token stop) {
  METRIC("exec.obtain_layer");
  const source::ResolvedImage* base = BaseOf(output.layers, images);
  if (base != nullptr && layer < base->diff_ids.size()) {
    std::lock_guard one_at_a_time(unpacking_);
    TRY(images_.Pull(*base, on_progress, stop));
    return Ok();
  }
  TRY_ASSIGN(auto blob, FetchBlob(output.layers[layer], on_progress, stop));
  std::lock_guard one_at_a_time(unpacking_);
  return UnpackLayer(output, layer, blob, on_progress, stop);
}

Result<cache::LayerBlob> LayerObtainer::FetchBlob(const DiffId& layer, const OnProgress& on_progress,
                                                  std::stop_token stop) {
  std::optional<cache::LayerBlob> blob;
  if (fetch_) {
    TRY_ASSIGN(blob, fetch_(layer, on_progress, stop));
  }
  if (!blob) return NotFound("layer {} of the step's record is not in the store", layer.ToString());
  return std::move(*blob);
}

Status LayerObtainer::UnpackLayer(const cache::Rootfs& output, size_t layer, const cache::LayerBlob& blob,
                                  const OnProgress& on_progress, std::stop_token stop) {
  TRY_ASSIGN(bool here, layers_.Has(output.layers[layer]));
  if (here) return Ok();  // by another step, or another build of this root
  auto packed = blobs_.OpenVerified(blob.blob);
  if (!packed && packed.error().code == Code::kNotFound) {  // another build was faster, and removed it below
    TRY_ASSIGN(here, layers_.Has(output.layers[layer]));
    if (here) return Ok();
  }
  if (!packed) return std::move(packed).error();
  TRY_ASSIGN(auto tar, archive::MakeDecompressor(**packed));
  std::vector<DiffId> below(output.layers.begin(), output.layers.begin() + static_cast<ptrdiff_t>(layer));
  std::string id = "extracting sha256:" + blob.blob.Short();
  if (on_progress) on_progress(id, 0, 0, false);
  TRY_ASSIGN(auto unpacked, layers_.Unpack(output.layers[layer], below, *tar, stop));
  TRY(local_.NoteLayer(unpacked.diff_id, unpacked.tar_size));
  if (on_progress) on_progress(id, unpacked.tar_size, unpacked.tar_size, true);
  if (blob.blob != unpacked.diff_id.value) return Ok();
  // A plain tar, as chunks are joined to one: the layer's files have all that is in it, if it can be made again.
  TRY_ASSIGN(bool reproducible, layers_.Reproducible(unpacked.diff_id));
  return reproducible ? blobs_.Remove(blob.blob) : Ok();
}

Result<Digest> LayerObtainer::TreeOf(const std::vector<DiffId>& layers,
                                     const std::vector<source::ResolvedImage>& images) {
  return TreeOn(BaseOf(layers, images), layers);
}

Result<Digest> LayerObtainer::TreeOn(const source::ResolvedImage* base, const std::vector<DiffId>& layers) {
  Digest root = tree::EmptyTree();
  size_t first = 0;
  if (base != nullptr) {
    TRY_ASSIGN(auto known, images_.FindLocally(*base));
    if (known && !known->tree_root.empty()) {
      root = known->tree_root;
      first = base->diff_ids.size();
    }
  }
  for (size_t i = first; i < layers.size(); ++i) {
    TRY_ASSIGN(tree::LayerIndex index, layers_.Index(layers[i]));
    TRY_ASSIGN(root, tree::ApplyLayer(local_, root, index));
  }
  return root;
}

}  // namespace varve::exec
