#include "objects/object_store.h"

namespace varve::objects {

namespace {

// A Reader that owns what it reads.
class OwnedBytes final : public Reader {
 public:
  explicit OwnedBytes(std::shared_ptr<const std::string> bytes) : bytes_(std::move(bytes)), reader_(*bytes_) {}
  Result<size_t> Read(std::span<char> buffer) override { return reader_.Read(buffer); }

 private:
  std::shared_ptr<const std::string> bytes_;
  StringReader reader_;
};

class BoundedString final : public Writer {
 public:
  BoundedString(const std::string& key, uint64_t limit) : key_(key), limit_(limit) {}
  Status Write(std::string_view data) override {
    if (data.size() > limit_ - text.size()) {
      return Invalid("object {} is larger than {} bytes", key_, limit_);
    }
    text.append(data);
    return Ok();
  }
  std::string text;

 private:
  const std::string& key_;
  uint64_t limit_;
};

}  // namespace

Body BodyOf(std::string bytes) {
  auto shared = std::make_shared<const std::string>(std::move(bytes));
  return {.open = [shared]() -> Result<std::unique_ptr<Reader>> { return std::make_unique<OwnedBytes>(shared); },
          .size = shared->size()};
}

Result<std::optional<std::string>> GetString(ObjectStore& store, const std::string& key, uint64_t limit,
                                             std::stop_token stop) {
  BoundedString out(key, limit);
  TRY_ASSIGN(std::optional<ObjectInfo> info, store.Get(key, {}, out, stop));
  if (!info) return std::optional<std::string>();
  return std::optional<std::string>(std::move(out.text));
}

}  // namespace varve::objects
