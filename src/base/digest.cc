#include "base/digest.h"

// The functions below OpenSSL's EVP layer, deprecated there in favour of it: the same assembly, but
// EVP's first digest reads openssl.cnf and starts a provider, a millisecond in a no-op build that takes 5.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/hex.h"

namespace varve {

Digest Digest::Of(std::string_view data) {
  // Not SHA256(), which goes through EVP.
  Bytes out;
  SHA256_CTX ctx;
  SHA256_Init(&ctx);
  SHA256_Update(&ctx, data.data(), data.size());
  SHA256_Final(out.data(), &ctx);
  return Digest(out);
}

Result<Digest> Digest::Parse(std::string_view text) {
  constexpr std::string_view kPrefix = "sha256:";
  if (!text.starts_with(kPrefix)) {
    return Invalid("digest \"{}\" is not of the form sha256:<64 hex digits>", text.substr(0, 100));
  }
  return ParseHex(text.substr(kPrefix.size()));
}

Result<Digest> Digest::ParseHex(std::string_view hex) {
  std::string raw;
  bool lower = hex.find_first_of("ABCDEF") == hex.npos;
  if (hex.size() != 2 * kSize || !lower || !HexDecode(hex, &raw)) {
    return Invalid("\"{}\" is not a sha256 digest: 64 lower-case hex digits expected", hex.substr(0, 100));
  }
  return FromBytes(raw);
}

Digest Digest::FromBytes(std::string_view raw) {
  CHECK(raw.size() == kSize);
  Bytes bytes;
  std::memcpy(bytes.data(), raw.data(), kSize);
  return Digest(bytes);
}

std::string Digest::ToString() const { return "sha256:" + Hex(); }
std::string Digest::Hex() const { return HexEncode(raw()); }
std::string Digest::Short() const { return Hex().substr(0, 12); }

ChainId ExtendChain(const ChainId& below, const DiffId& top) {
  if (below.empty()) return ChainId(top.value);
  return ChainId(Digest::Of(below.ToString() + " " + top.ToString()));
}

void Sha256::Free::operator()(void* ctx) const { delete static_cast<SHA256_CTX*>(ctx); }

Sha256::Sha256() : ctx_(new SHA256_CTX) { SHA256_Init(static_cast<SHA256_CTX*>(ctx_.get())); }
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::string_view data) {
  SHA256_Update(static_cast<SHA256_CTX*>(ctx_.get()), data.data(), data.size());
}

void Sha256::Update(std::span<const std::byte> data) {
  Update(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
}

Digest Sha256::Finish() {
  Digest::Bytes out;
  auto* ctx = static_cast<SHA256_CTX*>(ctx_.get());
  SHA256_Final(out.data(), ctx);
  SHA256_Init(ctx);
  return Digest(out);
}

}  // namespace varve
