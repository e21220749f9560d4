// A tier in a bucket: any object store whose keys can be listed.
//
//   <blobs_prefix>sha256:<hex>                    blobs, named as BuildKit names its own
//   <manifests_prefix><name>.groups/<entry>       one object per group: its manifest
//   entry := <manifest hex> "." <manifest size> "." <records hex> "." <records size>
//
// The list of groups is the listing of the keys: writers that share a name write different keys, so
// that nothing has to be merged and no condition is needed. All names share the blobs.
//
// When groups were replaced, blobs that no group of any name leads to are removed, if they are older
// than an hour and touch_refresh by the store's clock. What BuildKit's manifests under the same prefix
// lead to stays; a manifest of a kind that is not known keeps everything.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "objects/object_store.h"
#include "tier/storage.h"

namespace varve::tier {

struct BucketLayout {
  std::string manifests_prefix = "manifests/";
  std::string blobs_prefix = "blobs/";
  // At least one. A group counts when it is listed under all of them.
  std::vector<std::string> names = {"varve"};
  // A blob that is to be named again is made young when it is older.
  Nanos touch_refresh = std::chrono::minutes(10);
};

std::unique_ptr<BlobStorage> MakeBucketStorage(std::unique_ptr<objects::ObjectStore> store, BucketLayout layout);

}  // namespace varve::tier
