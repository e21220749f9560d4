// A tier in an OCI image layout that a daemon's client keeps (type=local through the daemon): the same layout as that
// of directory_storage.h, seen through the client's content store.
//
// A content store has no names. The client reads its index.json and tells the digest under the tag; the daemon answers
// with the descriptor that the client lists under the tag then. Blobs that nothing leads to any more are the client's
// to remove.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/remote_blobs.h"
#include "tier/storage.h"

namespace varve::tier {

struct ClientLayout {
  std::shared_ptr<RemoteBlobs> blobs;
  std::optional<Digest> top;  // what the tag leads to; nothing: a new layout, or a new tag
  // Gets a line for people when what the tag leads to is no cache of varve's: it is not used, and the next export
  // takes its place, as BuildKit's does.
  std::function<void(std::string line)> note = nullptr;
  // Gets what the tag is to lead to, after each Replace.
  std::function<void(const oci::Descriptor& top)> listed = nullptr;
};

std::unique_ptr<BlobStorage> MakeClientStorage(ClientLayout layout);

// All that `top`, which a Replace made in `from`, leads to. Clients list one descriptor in all layouts that a build
// wrote, so that each of them must have what is behind it.
Status CopyClientLayout(const oci::Descriptor& top, RemoteBlobs& from, RemoteBlobs& to, std::stop_token stop);

}  // namespace varve::tier
