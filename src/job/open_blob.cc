#include "job/open_blob.h"

#include <algorithm>
#include <vector>

namespace varve::job {

Result<std::unique_ptr<Reader>> OpenBlobAt(cas::BlobStore& blobs, const Digest& blob, uint64_t offset) {
  TRY_ASSIGN(auto reader, blobs.Open(blob));
  std::vector<char> buffer(64 << 10);
  while (offset > 0) {
    size_t want = std::min<uint64_t>(buffer.size(), offset);
    TRY_ASSIGN(size_t n, reader->Read(std::span(buffer.data(), want)));
    if (n == 0) return Corrupt("blob {} is shorter than it was", blob.ToString());
    offset -= n;
  }
  return reader;
}

}  // namespace varve::job
