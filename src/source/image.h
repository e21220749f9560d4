// Base images: from a name to a config and a stack of layers, and the layers onto this machine.
//
// Resolving needs the manifest and the config, kilobytes; layers are pulled only when a step or an
// export needs them. What a tag pointed to is remembered with its documents, so that a build whose
// registry does not answer goes on with what it knew, and says so.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "graph/graph.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "registry/client.h"
#include "snapshot/layer_store.h"

namespace varve::source {

struct ResolvedImage {
  std::string reference;            // normalised, as asked for
  Digest manifest_digest;
  oci::Manifest manifest;
  oci::ImageConfig config;
  std::vector<DiffId> diff_ids;     // as many as manifest.layers
  ChainId chain;
  // Where blobs are fetched from; nothing: all are in the blob store (a local image, an OCI layout).
  std::string repository;           // "docker.io/library/node"
  std::string layout;               // directory of an OCI layout
  std::string notice;               // not empty: "the registry did not answer; …"
};

// Bytes so far of a part, as engine::StepSink::Progress.
using OnProgress = std::function<void(const std::string& id, uint64_t current, uint64_t total, bool done)>;

class ImageStore {
 public:
  ImageStore(registry::Client& registry, cache::LocalStore& local, cas::BlobStore& blobs,
             snapshot::LayerStore& layers, Clock& clock);

  // kNotFound: no such image (the hint lists where it was looked for); kInvalid: not for this
  // platform, or a login is needed; kUnavailable: the registry does not answer and nothing is known.
  // Safe from several threads; equal questions within one build are asked once.
  Result<ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform,
                                graph::ResolveMode mode, std::stop_token stop);

  // An image of an OCI layout directory; `reference`: tag or digest in its index, or empty.
  Result<ResolvedImage> ResolveLayout(const std::string& directory, const std::string& reference,
                                      const oci::Platform& platform);

  // Downloads, verifies and unpacks what is missing, several layers at once, and makes the tree of
  // the whole stack known.
  Result<cache::Rootfs> Pull(const ResolvedImage& image, const OnProgress& on_progress,
                             std::stop_token stop);

  // The stack with its tree, when all layers are unpacked here and the tree is known.
  Result<std::optional<cache::Rootfs>> FindLocally(const ResolvedImage& image);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace varve::source
