#include "base/small_blob.h"

#include <gtest/gtest.h>

namespace varve {
namespace {

// Says of every blob what it was told to.
class Liar final : public RemoteBlobs {
 public:
  Result<std::optional<uint64_t>> Size(const Digest&, std::stop_token) override { return size; }
  Status Read(const Digest&, Writer& out, std::stop_token) override { return out.Write(text); }
  Result<std::string> ReadPart(const Digest&, uint64_t, uint64_t wanted, std::stop_token) override {
    if (text.size() != wanted) return Corrupt("not as long as that");
    return text;
  }
  Status Write(const Digest&, uint64_t, Reader&, std::stop_token) override { return Ok(); }

  std::optional<uint64_t> size;
  std::string text;
};

TEST(SmallBlob, IsVerifiedAndBounded) {
  Liar store;
  const Digest digest = Digest::Of("text");
  EXPECT_EQ(ReadSmallBlob(store, digest, 100, {}).value(), std::nullopt);
  store.size = 4;
  store.text = "text";
  EXPECT_EQ(ReadSmallBlob(store, digest, 100, {}).value(), "text");
  EXPECT_EQ(ReadSmallBlob(store, digest, 3, {}).error().code, Code::kInvalid);
  store.text = "tent";
  EXPECT_EQ(ReadSmallBlob(store, digest, 100, {}).error().code, Code::kCorrupt);
  store.text = "text and more";
  EXPECT_EQ(ReadSmallBlob(store, digest, 100, {}).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace varve
