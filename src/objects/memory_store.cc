#include "objects/memory_store.h"

#include <fmt/core.h>

namespace varve::objects {

Result<std::optional<ObjectInfo>> MemoryStore::Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                                   std::stop_token) {
  Object object;
  {
    auto state = state_.Lock();
    auto found = state->objects.find(key);
    if (found == state->objects.end()) return std::optional<ObjectInfo>();
    object = found->second;
  }
  std::string_view bytes = object.bytes;
  if (range) {
    if (range->length == 0 || range->offset + range->length > bytes.size()) {
      return Invalid("{} has no bytes {}+{}", key, range->offset, range->length);
    }
    bytes = bytes.substr(range->offset, range->length);
  }
  TRY(out.Write(bytes));
  return std::optional(InfoOf(object));
}

Result<std::optional<ObjectInfo>> MemoryStore::Head(const std::string& key, std::stop_token) {
  auto state = state_.Lock();
  auto found = state->objects.find(key);
  if (found == state->objects.end()) return std::optional<ObjectInfo>();
  return std::optional(InfoOf(found->second));
}

ObjectInfo MemoryStore::InfoOf(const Object& object) {
  ObjectInfo info = object.info;
  info.now = SystemClock().Now();
  return info;
}

void MemoryStore::Store(State& state, const std::string& key, std::string bytes) {
  ObjectInfo info{
      .size = bytes.size(), .etag = fmt::format("\"{}\"", ++state.versions), .modified = SystemClock().Now()};
  state.objects[key] = Object{std::move(bytes), std::move(info)};
}

Status MemoryStore::Put(const std::string& key, const Body& body, std::stop_token) {
  TRY_ASSIGN(std::unique_ptr<Reader> in, body.open());
  TRY_ASSIGN(std::string bytes, ReadAll(*in, body.size));
  Store(*state_.Lock(), key, std::move(bytes));
  return Ok();
}

Result<bool> MemoryStore::PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                                std::stop_token) {
  auto state = state_.Lock();
  auto found = state->objects.find(key);
  // Both of one type: "" would make them a std::string that is gone at the end of the line.
  std::string_view there = found == state->objects.end() ? std::string_view() : found->second.info.etag;
  if (there != condition.etag) return false;
  Store(*state, key, std::string(bytes));
  return true;
}

Result<std::vector<ListedObject>> MemoryStore::List(const std::string& prefix, std::stop_token) {
  std::vector<ListedObject> listed;
  auto state = state_.Lock();
  for (auto it = state->objects.lower_bound(prefix); it != state->objects.end() && it->first.starts_with(prefix);
       ++it) {
    listed.push_back({it->first, InfoOf(it->second)});
  }
  return listed;
}

Result<bool> MemoryStore::Refresh(const std::string& key, std::stop_token) {
  auto state = state_.Lock();
  auto found = state->objects.find(key);
  if (found == state->objects.end()) return false;
  found->second.info.modified = SystemClock().Now();
  return true;
}

Status MemoryStore::Delete(const std::vector<std::string>& keys, std::stop_token) {
  auto state = state_.Lock();
  for (const std::string& key : keys) state->objects.erase(key);
  return Ok();
}

}  // namespace varve::objects
