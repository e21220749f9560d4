#include "chunk/cutter.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/digest.h"

namespace varve::chunk {

namespace {

using Gear = std::array<uint64_t, 256>;
constexpr int kNormalisation = 2;
constexpr size_t kWindow = 64;  // bytes that a 64-bit gear hash depends on

const Gear& TheGear() {
  static const Gear gear = [] {
    Gear made;
    for (size_t i = 0; i < made.size(); ++i) {
      Digest digest = Digest::Of("varve gear " + std::string(1, static_cast<char>(i)));
      made[i] = 0;
      for (size_t n = 0; n < 8; ++n) made[i] |= uint64_t{digest.bytes()[n]} << (8 * n);
    }
    return made;
  }();
  return gear;
}

// The top bits, on which the most bytes have had their effect.
uint64_t Mask(int bits) { return ~uint64_t{0} << (64 - bits); }

}  // namespace

Cutter::Cutter(Sizes sizes, Sink sink)
    : sizes_(sizes), sink_(std::move(sink)), before_(Mask(std::countr_zero(sizes.normal) + kNormalisation)),
      after_(Mask(std::countr_zero(sizes.normal) - kNormalisation)) {
  CHECK(std::has_single_bit(sizes.normal) && std::has_single_bit(sizes.object));
  CHECK(sizes.min < sizes.normal && sizes.normal < sizes.max);
  chunk_.reserve(sizes.max);
}

// How much of `data` still belongs to the chunk.
size_t Cutter::Scan(std::string_view data, bool* cut) {
  const Gear& gear = TheGear();
  const size_t have = chunk_.size();
  const size_t end = std::min(data.size(), sizes_.max - have);
  size_t i = have < sizes_.min ? std::min(end, sizes_.min - have) : 0;
  auto run = [&](size_t until, uint64_t mask) {
    uint64_t hash = hash_;
    for (; i < until; ++i) {
      hash = (hash << 1) + gear[static_cast<unsigned char>(data[i])];
      if ((hash & mask) == 0) {
        *cut = true;
        ++i;
        break;
      }
    }
    hash_ = hash;
  };
  size_t normal = have < sizes_.normal ? std::min(end, sizes_.normal - have) : 0;
  run(normal, before_);
  if (!*cut) run(end, after_);
  if (have + i == sizes_.max) *cut = true;
  return i;
}

Status Cutter::Write(std::string_view data) {
  while (!data.empty()) {
    bool cut = false;
    size_t n = Scan(data, &cut);
    chunk_.append(data.substr(0, n));
    data.remove_prefix(n);
    if (cut) TRY(Emit());
  }
  return Ok();
}

Status Cutter::EndOfObject() {
  if (chunk_.empty()) return Ok();
  uint64_t hash = 0;
  const Gear& gear = TheGear();
  for (size_t i = chunk_.size() - std::min(kWindow, chunk_.size()); i < chunk_.size(); ++i) {
    hash = (hash << 1) + gear[static_cast<unsigned char>(chunk_[i])];
  }
  // A cut at some length is a cut at every greater one: two streams that differ before this point
  // agree about it as soon as both chunks are long enough.
  uint64_t threshold = hash >> (64 - std::countr_zero(sizes_.object));
  return threshold < chunk_.size() ? Emit() : Ok();
}

Status Cutter::Finish() { return chunk_.empty() ? Ok() : Emit(); }

Status Cutter::Emit() {
  Status taken = sink_(chunk_);
  chunk_.clear();
  hash_ = 0;
  return taken;
}

}  // namespace varve::chunk
