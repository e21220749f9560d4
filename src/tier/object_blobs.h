// The blobs of the tiers that lie in an object store, one object each: what is the same whatever their list
// of groups is.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "objects/object_store.h"
#include "tier/storage.h"

namespace varve::tier {

class ObjectBlobs : public BlobStorage {
 public:
  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) override;
  bool HasParts() const override { return true; }
  Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out,
                 std::stop_token stop) override;
  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) override;

 protected:
  explicit ObjectBlobs(std::unique_ptr<objects::ObjectStore> store) : store_(std::move(store)) {}

  virtual std::string KeyOf(const Digest& digest) const = 0;

  // Removes those that `is_named` does not keep, now.
  Result<Freed> FreeUnnamed(const std::vector<oci::Descriptor>& blobs,
                            const std::function<bool(const oci::Descriptor&)>& is_named, std::stop_token stop);
  // An error is only that the export was cancelled: what cannot be removed now goes with a later export.
  Status RemoveUnused(const std::vector<std::string>& keys, std::stop_token stop);

  const std::unique_ptr<objects::ObjectStore> store_;
};

}  // namespace varve::tier
