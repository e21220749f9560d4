// From a build's result to an image: config, layers as blobs, manifest.
//
// Nothing is compressed before somebody asks for blobs, and a layer that has a fitting blob already,
// made here or pulled, is not touched again.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "archive/codec.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "export/output.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "snapshot/layer_store.h"

namespace varve::exporter {

// What a build gives to export.
struct ImageInput {
  cache::Rootfs rootfs;
  oci::ImageConfig config;            // of the front end: everything but rootfs.diff_ids
  size_t base_layers = 0;             // leading layers that the base image brought
  size_t base_history = 0;            // leading history entries that are the base image's
  // When the layer of each history entry was made; nothing for entries without one. A cached build
  // dates its layers as the build that made them did, so that it gives the same image.
  std::vector<std::optional<Timestamp>> made = {};
};

// Fetches the blob of a base layer that is not in the blob store: the puller does. kNotFound where it
// cannot be had.
using FetchBlob = std::function<Status(const cache::LayerBlob& blob, std::stop_token stop)>;

struct ExportStores {
  snapshot::LayerStore& layers;
  cache::LocalStore& local;
  cas::BlobStore& blobs;
  FetchBlob fetch;
  Clock& clock;
};

struct Image {
  Digest config_digest;
  std::string config;
  oci::Manifest manifest;
  std::string manifest_text;
  Digest manifest_digest;
  oci::Descriptor descriptor;         // of the manifest, with platform
};

// The config as it is stored: diff ids, one history entry per layer, creation times. With an epoch,
// nothing that this build added is later than it (reference exporters.md §5); with Timestamps::kSet
// all of it is from then.
oci::ImageConfig FinishConfig(const ImageInput& input, const std::vector<DiffId>& diff_ids,
                              const Output& output, Clock& clock);

// The config that MakeImage would give, without making blobs: its digest is the image's ID.
Result<oci::ImageConfig> MakeConfig(const ImageInput& input, const Output& output,
                                    const ExportStores& stores, std::stop_token stop);

// An image whose layers are named by their uncompressed tars and stay unpacked: what the image store
// keeps. No blob is made, except of layers whose times the output rewrites.
Result<Image> MakeStoredImage(const ImageInput& input, const Output& output,
                              const ExportStores& stores, std::stop_token stop);

// An image whose layers are blobs in the blob store, in the output's compression.
Result<Image> MakeImage(const ImageInput& input, const Output& output, const ExportStores& stores,
                        const OnProgress& on_progress, std::stop_token stop);

}  // namespace varve::exporter
