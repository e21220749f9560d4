// A tier in a directory: an OCI image layout that other tools can read.
//
//   oci-layout, blobs/sha256/<hex>   as the image-spec says (image-layout.md)
//   index.json                       one entry per tag; its blob is the index of the groups (storage.h)
//   index.json.lock                  flock(2), held while index.json is read, merged and replaced
//
// Blobs appear by rename, before the index that leads to them. Several jobs may share the directory.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "tier/storage.h"

namespace varve::tier {

struct DirectoryOptions {
  std::string path;
  std::string tag = "latest";
  std::optional<Digest> digest = {};  // read instead of what the tag leads to
  bool reset = false;                 // Replace removes blobs that nothing leads to whatever their age
};

// Nothing is touched before the first call; the directory is made by the first Put.
std::unique_ptr<BlobStorage> MakeDirectoryStorage(DirectoryOptions options);

}  // namespace varve::tier
