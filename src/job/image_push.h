// Sends images to registries: the blobs that are not there yet, several at once, then the manifests.
//
// A blob that another repository of the same registry has is mounted instead of sent: those that the
// image's base layers were pulled from, those that hold an image of the local store with this blob,
// and those that this object has pushed to before. Where a mount fails the blob is sent.
//
// Safe from several threads.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/guarded.h"
#include "job/pusher.h"
#include "registry/client.h"

namespace varve::job {

class ImagePusher final : public Pusher {
 public:
  // The client for a registry, by its host; with `insecure`, one that speaks plain http and takes any
  // certificate. Lives as long as this object.
  using ClientFor = std::function<Result<registry::Client*>(const std::string& host, bool insecure)>;
  explicit ImagePusher(ClientFor client_for) : client_for_(std::move(client_for)) {}

  Status Push(const exporter::ImageSet& set, const oci::Reference& name, bool insecure, bool by_digest,
              cas::BlobStore& blobs, cache::LocalStore& local, engine::StepSink& sink, std::stop_token stop) override;

 private:
  using Repositories = std::map<Digest, std::set<std::string>>;  // paths, by blob

  // Where else on the registry the blobs of the images may be.
  Result<Repositories> Elsewhere(const exporter::ImageSet& set, const oci::Reference& name, cas::BlobStore& blobs,
                                 cache::LocalStore& local);

  const ClientFor client_for_;
  Guarded<std::map<std::string, Repositories>> pushed_;  // by host
};

}  // namespace varve::job
