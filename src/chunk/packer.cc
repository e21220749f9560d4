#include "chunk/packer.h"

#include <algorithm>

#include "archive/codec.h"
#include "base/metric.h"
#include "base/thread_pool.h"

namespace varve::chunk {

namespace {

constexpr size_t kFramesAtOnce = 16;
constexpr size_t kPacksAtOnce = 4;
constexpr size_t kSmallFrame = 64 << 10;  // raw

Result<std::string> Compressed(std::string_view raw, std::optional<int> level) {
  StringWriter out;
  TRY_ASSIGN(auto zstd, archive::MakeCompressor(out, archive::Compression::kZstd, level, 1));
  TRY(zstd->Write(raw));
  TRY(zstd->Finish());
  return std::move(out.text);
}

}  // namespace

void Packer::Know(const ChunkList& list, const std::function<bool(const Pack&)>& usable) {
  std::vector<std::optional<uint32_t>> packs(list.packs.size()), frames(list.frames.size());
  for (size_t i = 0; i < list.packs.size(); ++i) {
    if (!usable(list.packs[i])) continue;
    auto [it, is_new] = known_packs_.try_emplace(list.packs[i].digest, packs_.size());
    if (is_new) packs_.push_back(list.packs[i]);
    packs[i] = it->second;
  }
  for (size_t i = 0; i < list.frames.size(); ++i) {
    Frame frame = list.frames[i];
    if (!packs[frame.pack]) continue;
    frame.pack = *packs[frame.pack];
    auto [it, is_new] = known_frames_.try_emplace({frame.pack, frame.offset}, frames_.size());
    if (is_new) frames_.push_back(frame);
    frames[i] = it->second;
  }
  for (Chunk chunk : list.chunks) {
    if (!frames[chunk.frame]) continue;
    chunk.frame = *frames[chunk.frame];
    if (numbers_.try_emplace(chunk.digest, chunks_.size()).second) chunks_.push_back(chunk);
  }
}

Result<uint32_t> Packer::Add(const Digest& digest, std::string_view bytes) {
  auto [it, is_new] = numbers_.try_emplace(digest, chunks_.size());
  uint32_t number = it->second;
  if (!is_new) return number;
  if (frame_.empty()) frames_.emplace_back();
  chunks_.push_back({.digest = digest,
                     .size = static_cast<uint32_t>(bytes.size()),
                     .frame = static_cast<uint32_t>(frames_.size() - 1),
                     .offset = static_cast<uint32_t>(frame_.size())});
  frame_.append(bytes);
  if (frame_.size() >= options_.frame) TRY(CloseFrame());
  return number;
}

Status Packer::EndOfStream() { return frame_.size() >= kSmallFrame ? CloseFrame() : Ok(); }

Status Packer::CloseFrame() {
  if (frame_.empty()) return Ok();
  auto number = static_cast<uint32_t>(frames_.size() - 1);
  frames_[number].raw = static_cast<uint32_t>(frame_.size());
  waiting_.push_back({number, std::exchange(frame_, {})});
  return waiting_.size() >= kFramesAtOnce ? CompressFrames() : Ok();
}

Status Packer::CompressFrames() {
  METRIC("chunk.compress");
  std::vector<std::string> packed(waiting_.size());
  TRY(ParallelFor(waiting_.size(), CpuCount(), [&](size_t i) -> Status {
    TRY_ASSIGN(packed[i], Compressed(waiting_[i].raw, options_.level));
    return Ok();
  }));
  for (size_t i = 0; i < packed.size(); ++i) {
    if (!pack_number_) {
      pack_number_ = static_cast<uint32_t>(packs_.size());
      packs_.emplace_back();
    }
    Frame& frame = frames_[waiting_[i].number];
    frame.pack = *pack_number_;
    frame.offset = pack_.size();
    frame.packed = static_cast<uint32_t>(packed[i].size());
    pack_ += packed[i];
    if (pack_.size() >= options_.pack) TRY(ClosePack());
  }
  waiting_.clear();
  return Ok();
}

Status Packer::ClosePack() {
  if (!pack_number_) return Ok();
  closed_.emplace_back(*pack_number_, std::exchange(pack_, {}));
  pack_number_.reset();
  return closed_.size() >= kPacksAtOnce ? PutPacks() : Ok();
}

Status Packer::PutPacks() {
  if (failure_) return Error(*failure_);
  Status put = ParallelFor(closed_.size(), kPacksAtOnce, [&](size_t i) -> Status {
    Pack& pack = packs_[closed_[i].first];
    pack = {.digest = Digest::Of(closed_[i].second), .size = closed_[i].second.size()};
    return put_(pack, std::move(closed_[i].second));
  });
  if (!put) failure_ = put.error();
  closed_.clear();
  return put;
}

Status Packer::EndOfPack() {
  TRY(CloseFrame());
  TRY(CompressFrames());
  return ClosePack();
}

Status Packer::Finish() {
  TRY(EndOfPack());
  return PutPacks();
}

ChunkList Packer::ListOf(const Stream& stream) const {
  ChunkList list{.digest = stream.digest, .size = stream.size};
  std::vector<uint32_t> used;
  used.insert(used.end(), stream.headers.begin(), stream.headers.end());
  used.insert(used.end(), stream.contents.begin(), stream.contents.end());
  std::ranges::sort(used);
  auto [first, last] = std::ranges::unique(used);
  used.erase(first, last);
  // By the pack's digest, not by its number: the same chunks in the same packs are the same list, in
  // whatever order the packs became known.
  auto place = [&](uint32_t number) {
    const Chunk& chunk = chunks_[number];
    const Frame& frame = frames_[chunk.frame];
    return std::tuple(packs_[frame.pack].digest, frame.offset, chunk.offset);
  };
  std::ranges::sort(used, {}, place);
  std::unordered_map<uint32_t, uint32_t> renumbered;
  std::optional<uint32_t> pack, frame;
  for (uint32_t number : used) {
    Chunk chunk = chunks_[number];
    const Frame& in = frames_[chunk.frame];
    if (pack != in.pack) {
      pack = in.pack;
      list.packs.push_back(packs_[in.pack]);
    }
    if (frame != chunk.frame) {
      frame = chunk.frame;
      list.frames.push_back(in);
      list.frames.back().pack = static_cast<uint32_t>(list.packs.size() - 1);
    }
    renumbered[number] = static_cast<uint32_t>(list.chunks.size());
    chunk.frame = static_cast<uint32_t>(list.frames.size() - 1);
    list.chunks.push_back(chunk);
  }
  for (uint32_t number : stream.headers) list.headers.push_back(renumbered[number]);
  for (uint32_t number : stream.contents) list.contents.push_back(renumbered[number]);
  return list;
}

}  // namespace varve::chunk
