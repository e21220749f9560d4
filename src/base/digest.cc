#include "base/digest.h"

#include <openssl/evp.h>

#include "base/hex.h"

namespace varve {

namespace {

// Fetched once: EVP_sha256() looks the algorithm up in the provider at every use (about 1 µs).
const EVP_MD* Algorithm() {
  static EVP_MD* const md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CHECK(md != nullptr);
  return md;
}

}  // namespace

Digest Digest::Of(std::string_view data) {
  Bytes out;
  unsigned size = kSize;
  CHECK(EVP_Digest(data.data(), data.size(), out.data(), &size, Algorithm(), nullptr) == 1);
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
    return Invalid("\"{}\" is not a sha256 digest: 64 lower-case hex digits expected",
                   hex.substr(0, 100));
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

void Sha256::Free::operator()(void* ctx) const { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(ctx)); }

Sha256::Sha256() : ctx_(EVP_MD_CTX_new()) {
  CHECK(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(ctx_.get()), Algorithm(), nullptr) == 1);
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(std::string_view data) {
  CHECK(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(ctx_.get()), data.data(), data.size()) == 1);
}

void Sha256::Update(std::span<const std::byte> data) {
  Update(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
}

Digest Sha256::Finish() {
  Digest::Bytes out;
  unsigned size = out.size();
  auto* ctx = static_cast<EVP_MD_CTX*>(ctx_.get());
  CHECK(EVP_DigestFinal_ex(ctx, out.data(), &size) == 1);
  CHECK(EVP_DigestInit_ex(ctx, Algorithm(), nullptr) == 1);
  return Digest(out);
}

}  // namespace varve
