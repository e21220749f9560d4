// Base images: from a name to a config and a stack of layers, and the layers onto this machine.
//
// Resolving needs the manifest and the config, kilobytes; layers are pulled only when a step or an
// export needs them. What a tag pointed to is remembered with its documents: it is not asked for again
// within the hour (ResolveMode::kPull asks always), and a build whose registry does not answer goes on
// with what was known, and says so.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "base/remote_blobs.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "graph/graph.h"
#include "oci/image_config.h"
#include "oci/manifest.h"
#include "oci/reference.h"
#include "snapshot/layer_store.h"

namespace varve::source {

// What is needed of a registry. Blocks; safe from several threads.
class Distribution {
 public:
  virtual ~Distribution() = default;
  // What a tag or digest names: the descriptor of a manifest or index. kNotFound, kInvalid (a login is
  // needed), kUnavailable.
  virtual Result<oci::Descriptor> Resolve(const oci::Reference& reference, std::stop_token stop) = 0;
  // A manifest or index, or a config blob: verified against the descriptor.
  virtual Result<std::string> FetchManifest(const oci::Reference& repository, const oci::Descriptor& descriptor,
                                            std::stop_token stop) = 0;
  virtual Result<std::string> FetchSmallBlob(const oci::Reference& repository, const oci::Descriptor& descriptor,
                                             std::stop_token stop) = 0;
  // A blob of any size; what arrives is verified by whoever writes it.
  virtual Status FetchBlob(const oci::Reference& repository, const oci::Descriptor& descriptor, Writer& out,
                           std::stop_token stop) = 0;
};

struct ResolvedImage {
  std::string reference;  // normalised, as asked for
  Digest manifest_digest;
  Digest named_digest;  // what the name leads to: an index, or the manifest. Empty: not known any more
  oci::Manifest manifest;
  oci::ImageConfig config;
  std::vector<DiffId> diff_ids;  // as many as manifest.layers
  ChainId chain;
  std::string repository;                        // "docker.io/library/node"; empty: made here, or of a layout
  std::string layout;                            // directory of an OCI layout
  std::shared_ptr<RemoteBlobs> store = nullptr;  // of a layout that is a content store
  std::string notice;                            // not empty: "the registry did not answer; …"
};

// Of an image that is used with its lowest layers only; all, if it has no more.
void LimitLayers(ResolvedImage& image, uint32_t layers);

class ImageStore {
 public:
  ImageStore(Distribution& registry, cache::LocalStore& local, cas::BlobStore& blobs, snapshot::LayerStore& layers,
             Clock& clock);

  // kNotFound: no such image; kInvalid: not for this platform, or a login is needed; kUnavailable: the
  // registry does not answer and nothing is known. Safe from several threads; equal questions of one
  // process are asked once.
  Result<ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform, graph::ResolveMode mode,
                                std::stop_token stop);

  // An image of an OCI layout directory; `reference`: tag or digest in its index, or empty.
  Result<ResolvedImage> ResolveLayout(const std::string& directory, const std::string& reference,
                                      const oci::Platform& platform);

  // An image of a content store; `digest` is that of a manifest or index. Its layers are had from the store as
  // long as this object lives.
  Result<ResolvedImage> ResolveStored(std::shared_ptr<RemoteBlobs> store, const Digest& digest,
                                      const oci::Platform& platform, std::stop_token stop);

  // Downloads (several layers at once), verifies and unpacks what is missing, and makes the tree of
  // the whole stack known.
  Result<cache::Rootfs> Pull(const ResolvedImage& image, const OnProgress& on_progress, std::stop_token stop);

  // The stack with its tree, when all layers are unpacked here and the tree is known.
  Result<std::optional<cache::Rootfs>> FindLocally(const ResolvedImage& image);

  // A content store of the build's client by its name, of `session` where it is not the build's own; null: it has none.
  using ContentStores =
      std::function<Result<std::shared_ptr<RemoteBlobs>>(const std::string& store, const std::string& session)>;
  // Any blob of a repository, or of a client's content store, into the blob store; its size.
  Result<uint64_t> FetchBlob(const graph::BlobSource& blob, const ContentStores& stores, const OnProgress& on_progress,
                             std::stop_token stop);
  // And from there into a new file.
  Status FetchBlobTo(const std::string& path, const graph::BlobSource& blob, const ContentStores& stores,
                     const OnProgress& on_progress, std::stop_token stop);

  // Brings a layer's blob, which came from `blob.repository`, into the blob store.
  Status FetchLayerBlob(const cache::LayerBlob& blob, std::stop_token stop);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace varve::source
