#include "base/small_blob.h"

namespace varve {

Result<std::optional<std::string>> ReadSmallBlob(RemoteBlobs& store, const Digest& blob, uint64_t limit,
                                                 std::stop_token stop) {
  TRY_ASSIGN(auto size, store.Size(blob, stop));
  if (!size) return std::optional<std::string>();
  if (*size > limit) return Invalid("blob {} has {} bytes, more than {}", blob.ToString(), *size, limit);
  TRY_ASSIGN(std::string text, store.ReadPart(blob, 0, *size, std::move(stop)));
  if (Digest::Of(text) != blob) return Corrupt("blob {} arrived damaged", blob.ToString());
  return std::optional(std::move(text));
}

}  // namespace varve
