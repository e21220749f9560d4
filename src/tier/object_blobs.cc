#include "tier/object_blobs.h"

#include "base/log.h"

namespace varve::tier {

Status ObjectBlobs::Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop) {
  TRY_ASSIGN(auto there, store_->Get(KeyOf(blob.digest), {}, out, stop));
  if (!there) return NotFound("{} has no blob {}", store_->Name(), blob.digest.ToString());
  return Ok();
}

Status ObjectBlobs::GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out,
                            std::stop_token stop) {
  const std::string key = KeyOf(blob.digest);
  auto got = store_->Get(key, objects::ByteRange{.offset = offset, .length = size}, out, stop);
  if (got && *got) return Ok();
  if (got) return NotFound("{} has no {}", store_->Name(), key);
  if (got.error().code != Code::kInvalid) return std::move(got).error();
  // Cut short: what there is of the range is less than was asked for, and whoever asked finds out.
  TRY_ASSIGN(auto there, store_->Head(key, stop));
  if (there && there->size < offset + size) return Ok();
  return std::move(got).error();
}

Result<bool> ObjectBlobs::Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) {
  if (if_there == IfThere::kKeep) {
    TRY_ASSIGN(bool there, Has(blob, stop));
    if (there) return false;
  }
  TRY(store_->Put(KeyOf(blob.digest), {.open = [&] { return open(0); }, .size = blob.size}, stop));
  return true;
}

Result<Freed> ObjectBlobs::FreeUnnamed(const std::vector<oci::Descriptor>& blobs,
                                       const std::function<bool(const oci::Descriptor&)>& is_named,
                                       std::stop_token stop) {
  std::vector<std::string> dead;
  Freed freed;
  for (const oci::Descriptor& blob : blobs) {
    if (is_named(blob)) continue;
    dead.push_back(KeyOf(blob.digest));
    ++freed.count;
    freed.bytes += blob.size;
  }
  if (!dead.empty()) TRY(store_->Delete(dead, stop));
  return freed;
}

Status ObjectBlobs::RemoveUnused(const std::vector<std::string>& keys, std::stop_token stop) {
  if (keys.empty()) return Ok();
  Status deleted = store_->Delete(keys, stop);
  if (deleted || deleted.error().code == Code::kCancelled) return deleted;
  LOG_WARN("{}: unused blobs stay: {}", store_->Name(), deleted.error().message);
  return Ok();
}

}  // namespace varve::tier
