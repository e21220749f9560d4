#include "chunk/tar_seam.h"

#include <algorithm>

#include "archive/tar_format.h"

namespace varve::chunk {

namespace {

constexpr uint64_t kBlock = archive::kTarBlock;
constexpr uint64_t kMaxPax = 1 << 20;
constexpr uint64_t kMaxSize = uint64_t{1} << 60;
constexpr size_t kSizeOffset = 124, kSizeLength = 12, kTypeOffset = 156;

uint64_t Padding(uint64_t size) { return (kBlock - size % kBlock) % kBlock; }

}  // namespace

size_t TarSeam::TakeHeaders(std::string_view data) {
  size_t taken = 0;
  while (taken < data.size() && contents_ == 0) {
    std::string_view rest = data.substr(taken);
    if (lost_) return data.size();
    if (payload_ > 0) {
      size_t n = std::min<uint64_t>(payload_, rest.size());
      if (in_pax_) pax_.append(rest.substr(0, n));
      payload_ -= n;
      taken += n;
      if (payload_ > 0 || !in_pax_) continue;
      in_pax_ = false;
      archive::PaxRecords records;
      pax_.resize(pax_size_);
      if (archive::ParsePaxRecords(pax_, records)) {
        auto size = records.find("size");
        if (size != records.end()) {
          auto parsed = archive::ParseDecimal(size->second);
          if (parsed) next_size_ = *parsed;
          else lost_ = true;
        }
      } else {
        lost_ = true;
      }
      continue;
    }
    size_t n = std::min(kBlock - block_.size(), rest.size());
    block_.append(rest.substr(0, n));
    taken += n;
    if (block_.size() == kBlock) EndOfHeader();
  }
  return taken;
}

void TarSeam::EndOfHeader() {
  archive::TarBlock block;
  std::copy(block_.begin(), block_.end(), block.begin());
  block_.clear();
  if (archive::IsZero(block)) return;
  auto size = archive::ParseTarNumber(archive::Field(block, kSizeOffset, kSizeLength));
  if (!archive::CheckHeader(block) || !size || *size < 0) {
    lost_ = true;
    return;
  }
  auto bytes = static_cast<uint64_t>(*size);
  char type = block[kTypeOffset];
  bool payload = type == 'x' || type == 'g' || type == 'L' || type == 'K';
  if (!payload && next_size_) bytes = *next_size_;
  if (!payload) next_size_.reset();
  if (bytes > kMaxSize || type == 'S' || (type == 'x' && bytes > kMaxPax)) {
    lost_ = true;
  } else if (payload) {
    in_pax_ = type == 'x' && bytes > 0;
    pax_.clear();
    pax_size_ = bytes;
    payload_ = bytes + Padding(bytes);
  } else if (type == '0' || type == '\0' || type == '7') {
    contents_ = bytes;
    payload_ = Padding(bytes);
  }
}

}  // namespace varve::chunk
