// A root directory opened for one job: its stores, the registries, and a lease on what the job uses.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "cache/lease.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "job/global_flags.h"
#include "job/registries.h"
#include "snapshot/layer_store.h"
#include "source/build_answers.h"
#include "source/image.h"
#include "sys/tempdir.h"

namespace varve::job {

// Members are in the order in which they are opened; they close in the opposite one.
struct Workspace {
  std::string root;
  cache::OpenedStore local;
  std::unique_ptr<cas::BlobStore> blobs;
  std::unique_ptr<snapshot::LayerStore> layers;
  std::unique_ptr<cache::JobLease> lease;
  std::unique_ptr<Registries> registries;
  std::unique_ptr<source::ImageStore> images;
  std::unique_ptr<source::BuildAnswers> answers = std::make_unique<source::BuildAnswers>();
  sys::LazyTempDir scratch;

  // Opens --root, else $VARVE_ROOT, else the user's default, and makes what is not there yet.
  static Result<Workspace> Open(const GlobalFlags& global, RegistryOptions registries = {});
};

// For downloads of the build that the workspace is open for.
source::HttpPlace HttpPlaceOf(Workspace& workspace);

}  // namespace varve::job
