// SHA-256 digests, and the kinds of thing they name.
//
// A Digest names bytes. DiffId, ChainId and StepKey are digests of other things and do not convert
// into each other: a diff id must not compile as a blob digest.
//
// Text form: "sha256:" and 64 lower-case hex digits (OCI image-spec, descriptor.md, "Digests").
// Other algorithms that the spec allows (sha512) are refused with kInvalid.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve {

class Digest {
 public:
  static constexpr size_t kSize = 32;
  using Bytes = std::array<uint8_t, kSize>;

  Digest() = default;  // all zero: "no digest"
  explicit Digest(const Bytes& bytes) : bytes_(bytes) {}

  static Digest Of(std::string_view data);
  static Result<Digest> Parse(std::string_view text);    // "sha256:<64 hex>"
  static Result<Digest> ParseHex(std::string_view hex);  // "<64 hex>"
  static Digest FromBytes(std::string_view raw);         // CHECKs that raw is 32 bytes

  bool empty() const { return *this == Digest(); }
  std::string ToString() const;  // "sha256:<hex>"
  std::string Hex() const;
  std::string Short() const;  // first 12 hex digits, for people
  std::string_view raw() const { return {reinterpret_cast<const char*>(bytes_.data()), kSize}; }
  const Bytes& bytes() const { return bytes_; }

  auto operator<=>(const Digest&) const = default;

 private:
  Bytes bytes_{};
};

// A digest of one kind of thing. Tag only makes types distinct.
template <class Tag>
struct DigestOf {
  Digest value;

  DigestOf() = default;
  explicit DigestOf(const Digest& d) : value(d) {}
  bool empty() const { return value.empty(); }
  std::string ToString() const { return value.ToString(); }
  std::string Hex() const { return value.Hex(); }
  auto operator<=>(const DigestOf&) const = default;
};

using DiffId = DigestOf<struct DiffIdTag>;    // an uncompressed layer tar
using ChainId = DigestOf<struct ChainIdTag>;  // a stack of layers (image-spec config.md, ChainID)
using StepKey = DigestOf<struct StepKeyTag>;  // the inputs of a build step

// ChainId of `top` applied on `below` (empty: no layer below).
ChainId ExtendChain(const ChainId& below, const DiffId& top);

// Incremental SHA-256. Not safe for use from several threads at once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::string_view data);
  void Update(std::span<const std::byte> data);
  Digest Finish();  // resets: the object may be used for a next digest

 private:
  struct Free {
    void operator()(void* ctx) const;
  };
  std::unique_ptr<void, Free> ctx_;
};

}  // namespace varve

template <>
struct std::hash<varve::Digest> {
  size_t operator()(const varve::Digest& d) const noexcept {
    size_t h;
    std::memcpy(&h, d.bytes().data(), sizeof(h));
    return h;
  }
};
template <class Tag>
struct std::hash<varve::DigestOf<Tag>> {
  size_t operator()(const varve::DigestOf<Tag>& d) const noexcept { return std::hash<varve::Digest>()(d.value); }
};
