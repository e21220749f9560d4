#include "job/client_stores.h"

namespace varve::job {

Result<source::ResolvedImage> ResolveClientLayout(const ClientStores& client, const graph::OciLayoutSource& layout,
                                                  const oci::Platform& platform, source::ImageStore& images,
                                                  std::stop_token stop) {
  if (!layout.digest) return Invalid("oci-layout reference \"{}\" has no digest", layout.path);
  TRY_ASSIGN(auto store, client("oci:" + layout.path, layout.session));
  return images.ResolveStored(std::move(store), *layout.digest, platform, std::move(stop));
}

exec::LayoutImage LayoutsOf(ClientStores client, source::ImageStore& images) {
  if (!client) return nullptr;
  return [client = std::move(client), &images](const graph::OciLayoutSource& layout, const oci::Platform& platform,
                                               std::stop_token stop) {
    return ResolveClientLayout(client, layout, platform, images, std::move(stop));
  };
}

exec::ContentStore BlobsOf(ClientStores client) {
  if (!client) return nullptr;
  return [client = std::move(client)](const std::string& store, const std::string& session) {
    return client("oci:" + store, session);
  };
}

}  // namespace varve::job
