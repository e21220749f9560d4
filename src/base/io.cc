#include "base/io.h"

#include <algorithm>
#include <cstring>
#include <memory>

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
  CopyBuffer buffer;
  while (true) {
    TRY_ASSIGN(size_t n, in.Read(buffer.span()));
    if (n == 0) return out;
    if (out.size() + n > limit) return Invalid("more than the {} bytes that are accepted", limit);
    out.append(buffer.bytes.get(), n);
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
