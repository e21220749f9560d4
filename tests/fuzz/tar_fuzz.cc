// Layers and ADD's archives from foreign hands: whatever the bytes are, reading ends with entries or an
// error, within the limits; an entry in our own form is written back byte for byte.
//
// The corpus has uncompressed tars of each dialect and small streams of each compression.
#include <cstdint>
#include <string_view>
#include <vector>

#include "archive/foreign.h"

namespace {

using varve::archive::ForeignArchive;

constexpr uint64_t kLimit = 4 << 20;

void ReadAllEntries(ForeignArchive& archive) {
  std::vector<char> buffer(64 << 10);
  uint64_t bytes = 0;
  while (true) {
    auto entry = archive.tar().Next();
    if (!entry || !*entry) {
      if (entry) (void)archive.tar().Drain().has_value();
      return;
    }
    uint64_t size = 0;
    while (true) {
      auto n = archive.tar().content().Read(buffer);
      if (!n) return;
      if (*n == 0) break;
      size += *n;
    }
    CHECK(size == (*entry)->size);
    bytes += size;
    CHECK(bytes <= kLimit);
    (void)varve::archive::EncodeTarHeader(**entry).size();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  varve::StringReader in(input);
  varve::archive::ForeignLimits limits;
  limits.expansion.bytes = 2 * kLimit;
  limits.tar.bytes = kLimit;
  limits.tar.entries = 1000;
  auto archive = ForeignArchive::Open(in, limits);
  if (archive) ReadAllEntries(**archive);
  varve::StringReader again(input);
  auto plain = varve::archive::MakeDecompressor(again, limits.expansion);
  varve::NullWriter nowhere;
  if (plain) (void)varve::Copy(**plain, nowhere).has_value();
  return 0;
}
