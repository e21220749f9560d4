// From a build's result to an image: config, layers as blobs, manifest; for several platforms, an
// index of the manifests.
//
// Nothing is compressed before somebody asks for blobs, and a layer that has a fitting blob already,
// made here or pulled, is not touched again.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "archive/codec.h"
#include "attest/statement.h"
#include "base/byte_progress.h"
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
  oci::ImageConfig config;  // of the front end: everything but rootfs.diff_ids
  size_t base_layers = 0;   // leading layers that the base image brought
  size_t base_history = 0;  // leading history entries that are the base image's
  // When the layer of each history entry was made; nothing for entries without one. A cached build
  // dates its layers as the build that made them did, so that it gives the same image.
  std::vector<std::optional<Timestamp>> made = {};
  // The same by layer, for entries that nobody knows the time of; shorter, or nothing, where it is not known.
  std::vector<std::optional<Timestamp>> layers_made = {};
};

struct PlatformInput {
  oci::Platform platform;  // as asked for: what the index says
  ImageInput input;
  std::vector<attest::Attestation> attestations = {};
};

struct BuildResult {
  std::vector<PlatformInput> platforms;  // at least one; the order is the index's
  bool multi_platform = false;           // an index is made, also of one platform
};

// Fetches the blob of a base layer that is not in the blob store: the puller does. kNotFound where it
// cannot be had.
using FetchBlob = std::function<Status(const cache::LayerBlob& blob, std::stop_token stop)>;

// Layers that are not on this machine, for an output that may not need them here: a push to a registry that
// has them.
struct LayersElsewhere {
  // As what a layer is to be had. Nothing: nobody has it.
  std::function<std::optional<cache::LayerBlob>(const DiffId& layer, std::stop_token stop)> describe;
  // Brings its blob into the blob store.
  std::function<Result<std::optional<cache::LayerBlob>>(const DiffId& layer, std::stop_token stop)> fetch;
};

struct ExportStores {
  snapshot::LayerStore& layers;
  cache::LocalStore& local;
  cas::BlobStore& blobs;
  FetchBlob fetch;
  Clock& clock;
  std::optional<LayersElsewhere> elsewhere = {};  // nothing: all layers are here
};

// The blob of a layer that is not in the blob store.
struct AbsentBlob {
  std::string repository;                        // that has it, as far as that is known
  std::function<Status(std::stop_token)> bring;  // into the blob store
};

struct Image {
  Digest config_digest;
  std::string config;
  oci::Manifest manifest;
  std::string manifest_text;
  Digest manifest_digest;
  oci::Descriptor descriptor;                // of the manifest, with platform
  std::set<Digest> fresh;                    // blobs that were written just now, and need no verification
  std::map<Digest, AbsentBlob> absent = {};  // only where ExportStores has layers elsewhere
};

// The whole of it: what a name points to, and everything below.
struct ImageSet {
  std::vector<Image> images;        // in the order of the platforms
  std::optional<oci::Index> index;  // none: a bare manifest, images[0]
  std::string index_text;
  oci::Descriptor descriptor;            // of the index, or of the only manifest
  std::vector<Image> attestations = {};  // manifests of what is attested; their layers are statements

  // What a user calls the image's id: the config of a bare manifest, else the index.
  const Digest& id() const { return index ? descriptor.digest : images[0].config_digest; }
};

// Those that go into this output: an inline-only one is for images.
std::vector<attest::Attestation> KeptAttestations(const std::vector<attest::Attestation>& all, const Output& output);

// What can be said before a build: kInvalid for annotations of a platform that is not among the
// results, or of an index where there is none, and for a docker archive of several platforms or with
// attestations, which the format cannot hold. `attested`: attestations will go into the output.
Status CheckOutput(const Output& output, const std::vector<oci::Platform>& platforms, bool multi_platform,
                   bool attested = false);

// The config as it is stored: diff ids, one history entry per layer, creation times. With an epoch,
// nothing that this build added is later than it (reference exporters.md §5); with Timestamps::kSet
// all of it is from then.
oci::ImageConfig FinishConfig(const ImageInput& input, const std::vector<DiffId>& diff_ids, const Output& output,
                              Clock& clock);

// The config that MakeImages would give, without making blobs: its digest is the ID of an image of one
// platform.
Result<oci::ImageConfig> MakeConfig(const ImageInput& input, const Output& output, const ExportStores& stores,
                                    std::stop_token stop);

// The layer as a blob in the blob store, in the output's compression: one that is there already, or made
// now. kNotFound: the layer is not on this machine.
Result<oci::Descriptor> MakeLayerBlob(const DiffId& layer, const Output& output, const ExportStores& stores,
                                      const OnProgress& on_progress, std::stop_token stop);

// Images whose layers are named by their uncompressed tars and stay unpacked: what the image store
// keeps. No blob of a layer is made, except of layers whose times the output rewrites.
Result<ImageSet> MakeStoredImages(const BuildResult& result, const Output& output, const ExportStores& stores,
                                  std::stop_token stop);

// Images whose layers are blobs in the blob store, in the output's compression.
Result<ImageSet> MakeImages(const BuildResult& result, const Output& output, const ExportStores& stores,
                            const OnProgress& on_progress, std::stop_token stop);

}  // namespace varve::exporter
