// A blob of the store from an offset on, for uploads that go on after a failure.
#pragma once

#include <memory>

#include "base/io.h"
#include "cas/blob_store.h"

namespace varve::job {

// Passes over what comes before: readers of a store cannot seek.
Result<std::unique_ptr<Reader>> OpenBlobAt(cas::BlobStore& blobs, const Digest& blob, uint64_t offset);

}  // namespace varve::job
