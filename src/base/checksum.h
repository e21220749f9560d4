// What somebody says that bytes hash to, in any algorithm that the OCI image-spec registers
// (descriptor.md, "Registered Algorithms") and Dockerfiles use: sha256, sha384, sha512.
//
// For checking what came from elsewhere. What varve itself names bytes by is a Digest.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/io.h"
#include "base/result.h"

namespace varve {

class Checksum {
 public:
  Checksum(const Digest& digest) : text_(digest.ToString()) {}  // NOLINT: a sha256 checksum

  // "sha512:<128 lower-case hex digits>" and the like; kInvalid for other algorithms and lengths.
  static Result<Checksum> Parse(std::string_view text);

  // Of the rest of the stream, in this checksum's algorithm: equal to this if the bytes are right.
  Result<Checksum> Of(Reader& content) const;

  bool IsSha256() const { return text_.starts_with("sha256:"); }
  const std::string& ToString() const { return text_; }

  auto operator<=>(const Checksum&) const = default;

 private:
  explicit Checksum(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace varve
