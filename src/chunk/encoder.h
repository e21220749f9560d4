// A tar, as it is written, becomes chunks.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/io.h"
#include "chunk/cutter.h"
#include "chunk/packer.h"
#include "chunk/tar_seam.h"

namespace varve::chunk {

enum class Part : uint8_t { kHeaders, kContents };

// Cuts a tar's headers and contents apart (tar_seam.h) and each of them into chunks, which it hashes
// on several cores. Which chunks there are depends on the bytes alone.
class Splitter final : public Writer {
 public:
  // In the order of the stream within a part.
  using OnChunk = std::function<Status(Part part, const Digest& digest, std::string_view bytes)>;

  explicit Splitter(OnChunk on_chunk, Sizes sizes = {});
  Status Write(std::string_view data) override;
  Status Finish();
  uint64_t size() const { return size_; }

 private:
  struct Cut {
    Part part;
    size_t offset, size;
    Digest digest;
  };
  Status Collect(Part part, std::string_view bytes);
  Status Flush();

  const OnChunk on_chunk_;
  TarSeam seam_;
  Cutter headers_, contents_;
  std::string collected_;  // chunks behind one another
  std::vector<Cut> cuts_;
  uint64_t size_ = 0;
};

// Splits a tar into a packer.
class Encoder final : public Writer {
 public:
  explicit Encoder(Packer& packer, Sizes sizes = {});
  Status Write(std::string_view data) override { return splitter_.Write(data); }
  // `digest`: the SHA-256 of what was written, which whoever wrote it knows.
  Result<Stream> Finish(const Digest& digest);

 private:
  Stream stream_;
  Splitter splitter_;
  Packer& packer_;
};

}  // namespace varve::chunk
