#include "base/io.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>

namespace varve {

namespace {

constexpr size_t kCopyBuffer = 256 << 10;

// Not filled with zeros: of the 64 pages a small file touches one.
struct CopyBuffer {
  std::unique_ptr<char[]> bytes = std::make_unique_for_overwrite<char[]>(kCopyBuffer);
  std::span<char> span() { return {bytes.get(), kCopyBuffer}; }
};

}  // namespace

Result<uint64_t> Copy(Reader& in, Writer& out) {
  CopyBuffer buffer;
  uint64_t total = 0;
  while (true) {
    TRY_ASSIGN(size_t n, in.Read(buffer.span()));
    if (n == 0) return total;
    TRY(out.Write({buffer.bytes.get(), n}));
    total += n;
  }
}

Result<std::string> ReadAll(Reader& in, uint64_t limit) {
  std::string out;
  // Most of what is read whole fits here. A file of /proc/sys costs the kernel a buffer of the size that is asked for.
  std::array<char, 16 << 10> small;
  std::optional<CopyBuffer> large;
  while (true) {
    if (out.size() >= small.size() && !large) large.emplace();
    std::span<char> buffer = large ? large->span() : std::span<char>(small);
    TRY_ASSIGN(size_t n, in.Read(buffer));
    if (n == 0) return out;
    if (out.size() + n > limit) return Invalid("more than the {} bytes that are accepted", limit);
    out.append(buffer.data(), n);
  }
}

Status ReadExactly(Reader& in, std::span<char> buffer) {
  while (!buffer.empty()) {
    TRY_ASSIGN(size_t n, in.Read(buffer));
    if (n == 0) return Corrupt("unexpected end of data");
    buffer = buffer.subspan(n);
  }
  return Ok();
}

Result<size_t> StringReader::Read(std::span<char> buffer) {
  size_t n = std::min(buffer.size(), rest_.size());
  std::memcpy(buffer.data(), rest_.data(), n);
  rest_.remove_prefix(n);
  return n;
}

Status HashingWriter::Write(std::string_view data) {
  hash_.Update(data);
  size_ += data.size();
  return out_ ? out_->Write(data) : Ok();
}

Result<size_t> HashingReader::Read(std::span<char> buffer) {
  TRY_ASSIGN(size_t n, in_->Read(buffer));
  hash_.Update(std::string_view(buffer.data(), n));
  size_ += n;
  return n;
}

}  // namespace varve
