// Streams that tell somebody how much has passed: one line of progress for each download,
// compression or upload.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/io.h"

namespace varve {

// Bytes so far of a part of the work named `id`, of `total` (0: unknown). Called on the thread that
// does the work, several of them at once for different parts.
using OnProgress = std::function<void(const std::string& id, uint64_t current, uint64_t total, bool done)>;

// Counts, and tells every mebibyte; never that it is done, which only the caller knows. An empty
// function is told nothing. The function must outlive it.
class ByteProgress {
 public:
  ByteProgress(const OnProgress& tell, std::string id, uint64_t total, uint64_t current = 0)
      : tell_(tell), id_(std::move(id)), total_(total), current_(current), told_(current) {}
  void Add(uint64_t bytes) {
    current_ += bytes;
    if (!tell_ || current_ - told_ < kStep) return;
    told_ = current_;
    tell_(id_, current_, total_, false);
  }

 private:
  static constexpr uint64_t kStep = 1 << 20;
  const OnProgress& tell_;
  const std::string id_;
  const uint64_t total_;
  uint64_t current_, told_;
};

class ProgressWriter final : public Writer {
 public:
  ProgressWriter(Writer& out, ByteProgress progress) : out_(out), progress_(std::move(progress)) {}
  Status Write(std::string_view data) override {
    TRY(out_.Write(data));
    progress_.Add(data.size());
    return Ok();
  }

 private:
  Writer& out_;
  ByteProgress progress_;
};

class ProgressReader final : public Reader {
 public:
  ProgressReader(std::unique_ptr<Reader> in, ByteProgress progress)
      : in_(std::move(in)), progress_(std::move(progress)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    TRY_ASSIGN(size_t n, in_->Read(buffer));
    progress_.Add(n);
    return n;
  }

 private:
  std::unique_ptr<Reader> in_;
  ByteProgress progress_;
};

}  // namespace varve
