#include "tier/object_blobs.h"

#include "base/log.h"

namespace varve::tier {

Status GetPartOf(objects::ObjectStore& store, const std::string& key, objects::ByteRange range, Writer& out,
                 std::stop_token stop) {
  auto got = store.Get(key, range, out, stop);
  if (got && *got) return Ok();
  if (got) return NotFound("{} has no {}", store.Name(), key);
  if (got.error().code != Code::kInvalid) return std::move(got).error();
  // Cut short: what there is of the range is less than was asked for, and whoever asked finds out.
  TRY_ASSIGN(auto there, store.Head(key, stop));
  if (there && there->size < range.offset + range.length) return Ok();
  return std::move(got).error();
}

Status RemoveUnused(objects::ObjectStore& store, const std::vector<std::string>& keys, std::stop_token stop) {
  if (keys.empty()) return Ok();
  Status deleted = store.Delete(keys, stop);
  if (deleted || deleted.error().code == Code::kCancelled) return deleted;
  LOG_WARN("{}: unused blobs stay: {}", store.Name(), deleted.error().message);
  return Ok();
}

}  // namespace varve::tier
