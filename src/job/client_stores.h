// The content stores of a daemon's client, for what a build of this machine would look for in directories: caches of
// type=local ("local:DIRECTORY") and OCI layouts ("oci:NAME").
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/remote_blobs.h"
#include "base/result.h"
#include "exec/runner.h"

namespace varve::job {

// `session`: of another client, whose build this one goes on with; empty: of the build's own. Null for builds of this
// machine. Safe from several threads.
using ClientStores =
    std::function<Result<std::shared_ptr<RemoteBlobs>>(const std::string& store, const std::string& session)>;

// The image of the client's layout, which must be named by its digest: only the client has an index.json to look into.
Result<source::ResolvedImage> ResolveClientLayout(const ClientStores& client, const graph::OciLayoutSource& layout,
                                                  const oci::Platform& platform, source::ImageStore& images,
                                                  std::stop_token stop);

// The same for a runner; null for builds of this machine. `images` must outlive it.
exec::LayoutImage LayoutsOf(ClientStores client, source::ImageStore& images);

// Layouts as content stores, for single blobs of them; null for builds of this machine.
exec::ContentStore BlobsOf(ClientStores client);

}  // namespace varve::job
