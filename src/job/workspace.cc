#include "job/workspace.h"

#include "base/clock.h"
#include "base/metric.h"
#include "cache/root.h"

namespace varve::job {

Result<Workspace> Workspace::Open(const GlobalFlags& global, RegistryOptions registries) {
  METRIC("build.open");
  Workspace opened{.root = cache::RootDirectory(global.root)};
  TRY(cache::PrepareRoot(opened.root));
  TRY_ASSIGN(opened.local, cache::OpenLocalStore(opened.root, SystemClock()));
  TRY_ASSIGN(opened.blobs, cas::OpenDiskStore(opened.root));
  TRY_ASSIGN(opened.layers, snapshot::OpenLayerStore(opened.root));
  TRY_ASSIGN(opened.lease, cache::JobLease::Begin(opened.root, SystemClock()));
  TRY_ASSIGN(opened.registries, Registries::Open(opened.root, std::move(registries)));
  opened.images = std::make_unique<source::ImageStore>(opened.registries->distribution(), *opened.local.store,
                                                       *opened.blobs, *opened.layers, SystemClock());
  opened.scratch = sys::LazyTempDir(opened.root + "/tmp", "build-");
  return opened;
}

source::HttpPlace HttpPlaceOf(Workspace& workspace) {
  return {workspace.registries->http(), *workspace.blobs, *workspace.local.store, SystemClock(),
          workspace.answers.get()};
}

}  // namespace varve::job
