// Sends an image to a registry.
#pragma once

#include <functional>
#include <stop_token>

#include "cas/blob_store.h"
#include "engine/interfaces.h"
#include "export/image.h"
#include "oci/reference.h"

namespace varve::job {

class Pusher {
 public:
  virtual ~Pusher() = default;
  // Blobs that the registry lacks, then the manifests of an index by digest, last what the name is to
  // point to: who sees it finds all of it. `insecure`: plain http, unchecked certificates. `by_digest`:
  // without a tag.
  virtual Status Push(const exporter::ImageSet& set, const oci::Reference& name, bool insecure, bool by_digest,
                      cas::BlobStore& blobs, cache::LocalStore& local, engine::StepSink& sink,
                      std::stop_token stop) = 0;
};

}  // namespace varve::job
