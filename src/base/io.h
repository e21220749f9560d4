// Byte streams. Anything that may be large goes from a Reader to a Writer in one pass, with hashing,
// compression and indexing in between; nothing here buffers a whole stream unless its name says so.
//
// Streams are used by one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace varve {

class Reader {
 public:
  virtual ~Reader() = default;
  // Fills at most buffer.size() bytes and returns how many; 0 is the end of the stream.
  virtual Result<size_t> Read(std::span<char> buffer) = 0;
};

class Writer {
 public:
  virtual ~Writer() = default;
  // Takes all of `data`, or fails.
  virtual Status Write(std::string_view data) = 0;
};

// Copies until the end of `in`; returns the bytes copied.
Result<uint64_t> Copy(Reader& in, Writer& out);

// The whole rest of the stream, or kInvalid once it exceeds `limit` bytes.
Result<std::string> ReadAll(Reader& in, uint64_t limit);

// Fills the buffer; kCorrupt ("unexpected end of …") when the stream ends before.
Status ReadExactly(Reader& in, std::span<char> buffer);

class StringReader final : public Reader {
 public:
  explicit StringReader(std::string_view data) : rest_(data) {}
  Result<size_t> Read(std::span<char> buffer) override;

 private:
  std::string_view rest_;
};

class StringWriter final : public Writer {
 public:
  Status Write(std::string_view data) override {
    text.append(data);
    return Ok();
  }
  std::string text;
};

class NullWriter final : public Writer {
 public:
  Status Write(std::string_view) override { return Ok(); }
};

// Passes everything through to `out` (may be null), counting and hashing it.
class HashingWriter final : public Writer {
 public:
  explicit HashingWriter(Writer* out) : out_(out) {}
  Status Write(std::string_view data) override;
  uint64_t size() const { return size_; }
  Digest Finish() { return hash_.Finish(); }

 private:
  Writer* out_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

// Passes everything through from `in`, counting and hashing it.
class HashingReader final : public Reader {
 public:
  explicit HashingReader(Reader* in) : in_(in) {}
  Result<size_t> Read(std::span<char> buffer) override;
  uint64_t size() const { return size_; }
  Digest Finish() { return hash_.Finish(); }

 private:
  Reader* in_;
  Sha256 hash_;
  uint64_t size_ = 0;
};

}  // namespace varve
