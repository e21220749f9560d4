#include "base/checksum.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "base/hex.h"

namespace varve {

namespace {

struct Algorithm {
  std::string_view name;
  size_t hex_digits;
  const EVP_MD* (*evp)();
};

constexpr Algorithm kAlgorithms[] = {
    {"sha256", 64, EVP_sha256}, {"sha384", 96, EVP_sha384}, {"sha512", 128, EVP_sha512}};

const Algorithm* FindAlgorithm(std::string_view name) {
  auto found = std::ranges::find(kAlgorithms, name, &Algorithm::name);
  return found == std::end(kAlgorithms) ? nullptr : &*found;
}

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

Result<Checksum> Checksum::Parse(std::string_view text) {
  const size_t colon = text.find(':');
  const Algorithm* algorithm = colon == text.npos ? nullptr : FindAlgorithm(text.substr(0, colon));
  if (algorithm == nullptr) {
    Error error = Invalid("checksum \"{}\" names no known algorithm", text.substr(0, 200));
    error.hint = "write sha256:<hex digits>, sha384:… or sha512:…";
    return error;
  }
  const std::string_view hex = text.substr(colon + 1);
  if (hex.size() != algorithm->hex_digits || hex.find_first_not_of("0123456789abcdef") != hex.npos) {
    return Invalid("\"{}\" is no {} checksum: {} lower-case hex digits expected", hex.substr(0, 200), algorithm->name,
                   algorithm->hex_digits);
  }
  return Checksum(std::string(text));
}

Result<Checksum> Checksum::Of(Reader& content) const {
  const std::string name = text_.substr(0, text_.find(':'));
  const Algorithm* algorithm = FindAlgorithm(name);
  CHECK(algorithm != nullptr);
  std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  CHECK(context != nullptr);
  CHECK(EVP_DigestInit_ex(context.get(), algorithm->evp(), nullptr) == 1);
  std::vector<char> buffer(256 << 10);
  while (true) {
    TRY_ASSIGN(size_t n, content.Read(buffer));
    if (n == 0) break;
    CHECK(EVP_DigestUpdate(context.get(), buffer.data(), n) == 1);
  }
  unsigned char raw[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(EVP_DigestFinal_ex(context.get(), raw, &size) == 1);
  return Checksum(name + ":" + HexEncode({reinterpret_cast<const char*>(raw), size}));
}

}  // namespace varve
