// What the tiers in an object store have in common, whatever their list is: parts of blobs, and the removal
// of blobs that nothing names.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "objects/object_store.h"

namespace varve::tier {

// The bytes of the object that lie in the range; kNotFound when there is none.
Status GetPartOf(objects::ObjectStore& store, const std::string& key, objects::ByteRange range, Writer& out,
                 std::stop_token stop);

// An error is only that the export was cancelled: what cannot be removed now goes with a later export.
Status RemoveUnused(objects::ObjectStore& store, const std::vector<std::string>& keys, std::stop_token stop);

}  // namespace varve::tier
