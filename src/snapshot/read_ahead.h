// A stream read by one thread, hashed by another and parsed by the caller, so that decompression,
// digest and files cost the time of the slowest of them instead of the sum.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/io.h"

namespace varve::snapshot {

class ReadAhead final : public Reader {
 public:
  // Starts reading `in`, which belongs to this object's thread until the destructor, which waits
  // for a read that is under way.
  explicit ReadAhead(Reader& in);
  ~ReadAhead() override;

  Result<size_t> Read(std::span<char> buffer) override;

  // After the end was read: digest and length of the whole stream.
  Digest Finish();
  uint64_t size() const { return size_; }

 private:
  using Block = std::shared_ptr<std::vector<char>>;

  void ReadBlocks();
  void HashBlocks();

  static constexpr size_t kBlock = 1 << 20;
  static constexpr size_t kBlocks = 6;

  Reader& in_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Block> to_parse_, to_hash_;
  bool ended_ = false, stopped_ = false;
  std::optional<Error> error_;

  Block current_;  // the caller's
  size_t at_ = 0;
  uint64_t size_ = 0;
  Digest digest_;  // HashBlocks's until it ends
  std::jthread reader_, hasher_;
};

}  // namespace varve::snapshot
