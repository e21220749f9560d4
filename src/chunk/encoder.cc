#include "chunk/encoder.h"

#include <algorithm>

#include "base/thread_pool.h"

namespace varve::chunk {

namespace {

constexpr size_t kHashAtOnce = 4 << 20;

}  // namespace

Splitter::Splitter(OnChunk on_chunk, Sizes sizes)
    : on_chunk_(std::move(on_chunk)),
      headers_(sizes, [this](std::string_view bytes) { return Collect(Part::kHeaders, bytes); }),
      contents_(sizes, [this](std::string_view bytes) { return Collect(Part::kContents, bytes); }) {}

Status Splitter::Write(std::string_view data) {
  size_ += data.size();
  while (!data.empty()) {
    if (uint64_t more = seam_.contents(); more > 0) {
      std::string_view piece = data.substr(0, std::min<uint64_t>(more, data.size()));
      TRY(contents_.Write(piece));
      seam_.TakeContents(piece.size());
      if (seam_.contents() == 0) TRY(contents_.EndOfObject());
      data.remove_prefix(piece.size());
    } else {
      size_t n = seam_.TakeHeaders(data);
      TRY(headers_.Write(data.substr(0, n)));
      data.remove_prefix(n);
    }
  }
  return Ok();
}

Status Splitter::Finish() {
  TRY(headers_.Finish());
  TRY(contents_.Finish());
  return Flush();
}

Status Splitter::Collect(Part part, std::string_view bytes) {
  cuts_.push_back({.part = part, .offset = collected_.size(), .size = bytes.size(), .digest = {}});
  collected_.append(bytes);
  return collected_.size() >= kHashAtOnce ? Flush() : Ok();
}

Status Splitter::Flush() {
  auto bytes = [&](const Cut& cut) { return std::string_view(collected_).substr(cut.offset, cut.size); };
  TRY(ParallelFor(cuts_.size(), CpuCount(), [&](size_t i) -> Status {
    cuts_[i].digest = Digest::Of(bytes(cuts_[i]));
    return Ok();
  }));
  for (const Cut& cut : cuts_) TRY(on_chunk_(cut.part, cut.digest, bytes(cut)));
  cuts_.clear();
  collected_.clear();
  return Ok();
}

Encoder::Encoder(Packer& packer, Sizes sizes)
    : splitter_(
          [this, &packer](Part part, const Digest& digest, std::string_view bytes) -> Status {
            TRY_ASSIGN(uint32_t number, packer.Add(digest, bytes));
            (part == Part::kHeaders ? stream_.headers : stream_.contents).push_back(number);
            return Ok();
          },
          sizes),
      packer_(packer) {}

Result<Stream> Encoder::Finish(const Digest& digest) {
  TRY(splitter_.Finish());
  TRY(packer_.EndOfStream());
  stream_.digest = digest;
  stream_.size = splitter_.size();
  return std::move(stream_);
}

}  // namespace varve::chunk
