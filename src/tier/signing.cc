#include "tier/signing.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/fd.h"
#include "tier/group.h"

namespace varve::tier {

namespace {

constexpr size_t kKeySize = 32, kSignatureSize = 64, kNameDigits = 16;
constexpr uint64_t kMaxKeyText = 64 << 10;

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

EVP_PKEY* KeyOf(const std::shared_ptr<void>& key) { return static_cast<EVP_PKEY*>(key.get()); }
std::shared_ptr<void> Owned(EVP_PKEY* key) {
  return {key, [](void* owned) { EVP_PKEY_free(static_cast<EVP_PKEY*>(owned)); }};
}

// Never asks a terminal for the password of a key that has one.
int NoPassword(char*, int, int, void*) { return -1; }

// Signatures of varve's caches are of nothing else, whatever else the key is used for.
std::string MessageOf(const Digest& statement) { return "varve-cache-v1 " + statement.ToString(); }

const unsigned char* Bytes(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Result<std::string> NameOf(EVP_PKEY* key) {
  std::array<unsigned char, kKeySize> raw;
  size_t size = raw.size();
  if (EVP_PKEY_get_raw_public_key(key, raw.data(), &size) != 1 || size != kKeySize) {
    return Internal("a key without its public half");
  }
  return Digest::Of({reinterpret_cast<const char*>(raw.data()), size}).Hex().substr(0, kNameDigits);
}

bool IsEd25519(EVP_PKEY* key) { return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519; }

Error NoKey(std::string_view kind) {
  Error error = Invalid("there is no ed25519 {} key in it", kind);
  error.hint = "varve cache key generate makes a pair";
  return error;
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

bool Verifies(EVP_PKEY* key, const Digest& statement, const std::string& value) {
  if (value.size() != kSignatureSize) return false;
  DigestContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string message = MessageOf(statement);
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), Bytes(value), value.size(), Bytes(message), message.size()) == 1;
}

const std::vector<Signature>& Of(const Signatures& signatures, const Digest& statement) {
  static const std::vector<Signature> kNone;
  auto it = signatures.find(statement);
  return it == signatures.end() ? kNone : it->second;
}

}  // namespace

Result<VerifyKeys> VerifyKeys::Parse(std::string_view pem) {
  VerifyKeys keys;
  Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  while (EVP_PKEY* read = PEM_read_bio_PUBKEY(in.get(), nullptr, NoPassword, nullptr)) {
    auto key = Owned(read);
    if (!IsEd25519(read)) return NoKey("public");
    TRY_ASSIGN(std::string name, NameOf(read));
    keys.keys_.emplace(std::move(name), std::move(key));
  }
  if (keys.keys_.empty()) return NoKey("public");
  return keys;
}

bool VerifyKeys::Signed(const Signatures& signatures, const Digest& statement) const {
  return std::ranges::any_of(Of(signatures, statement), [&](const Signature& signature) {
    auto key = keys_.find(signature.key);
    return key != keys_.end() && Verifies(KeyOf(key->second), statement, signature.value);
  });
}

std::string VerifyKeys::WhyNot(const Signatures& signatures, const Digest& statement) const {
  const auto& there = Of(signatures, statement);
  if (there.empty()) return "it is not signed";
  for (const Signature& signature : there) {
    if (keys_.contains(signature.key)) return "its signature is wrong";
  }
  return fmt::format("it is signed by another key, {}", there.front().key);
}

Result<SigningKey> SigningKey::Parse(std::string_view pem) {
  Bio in(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  EVP_PKEY* read = PEM_read_bio_PrivateKey(in.get(), nullptr, NoPassword, nullptr);
  if (read == nullptr) return NoKey("private");
  SigningKey key;
  key.key_ = Owned(read);
  if (!IsEd25519(read)) return NoKey("private");
  TRY_ASSIGN(key.name_, NameOf(read));
  return key;
}

Result<SigningKey> SigningKey::Generate() {
  EVP_PKEY* made = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  if (made == nullptr) return Internal("OpenSSL makes no ed25519 key");
  SigningKey key;
  key.key_ = Owned(made);
  TRY_ASSIGN(key.name_, NameOf(made));
  return key;
}

Result<std::string> SigningKey::PrivatePem() const {
  Bio out(BIO_new(BIO_s_mem()), BIO_free);
  if (PEM_write_bio_PKCS8PrivateKey(out.get(), KeyOf(key_), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
    return Internal("OpenSSL does not write the private key");
  }
  return TextOf(out.get());
}

Result<std::string> SigningKey::PublicPem() const {
  Bio out(BIO_new(BIO_s_mem()), BIO_free);
  if (PEM_write_bio_PUBKEY(out.get(), KeyOf(key_)) != 1) {
    return Internal("OpenSSL does not write the public key");
  }
  return TextOf(out.get());
}

VerifyKeys SigningKey::verify_keys() const {
  VerifyKeys keys;
  keys.keys_.emplace(name_, key_);
  return keys;
}

Result<Signature> SigningKey::Sign(const Digest& statement) const {
  DigestContext context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  std::string message = MessageOf(statement);
  std::array<unsigned char, kSignatureSize> value;
  size_t size = value.size();
  if (EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, KeyOf(key_)) != 1 ||
      EVP_DigestSign(context.get(), value.data(), &size, Bytes(message), message.size()) != 1) {
    return Internal("OpenSSL does not sign with key {}", name_);
  }
  return Signature{name_, std::string(reinterpret_cast<const char*>(value.data()), size)};
}

Result<std::string> ReadKeyText(const std::string& place) {
  constexpr std::string_view kVariable = "env:";
  if (!place.starts_with(kVariable)) {
    auto text = ReadFile(place, kMaxKeyText);
    if (!text) return Invalid("{}", text.error().message);
    return text;
  }
  std::string name = place.substr(kVariable.size());
  const char* value = std::getenv(name.c_str());
  if (value == nullptr || *value == '\0') return Invalid("the environment variable {} is not set", name);
  return std::string(value);
}

Digest StatementOf(const cache::StepRecord& record) { return Digest::Of("record\n" + TravellingText(record)); }

Digest StatementOf(const StoredLayer& layer) {
  return Digest::Of(
      fmt::format("layer\n{} {} {}", layer.layer.ToString(), layer.blob.digest.ToString(), layer.blob.media_type));
}

Digest StatementOf(const StoredMount& mount) {
  const StoredLayer& tar = mount.tar;
  return Digest::Of(fmt::format("mount\n{} {} {} {}\n{}", FormatTime(mount.created), tar.layer.ToString(),
                                tar.blob.digest.ToString(), tar.blob.media_type, mount.key));
}

Digest StatementOf(const DisownedKey& key) {
  return Digest::Of(fmt::format("disowned\n{}\n{}", key.weak_key.ToString(), key.why));
}

Status SignGroup(Group& group, const SigningKey& key) {
  auto sign = [&](const Digest& statement) -> Status {
    TRY_ASSIGN(Signature signature, key.Sign(statement));
    auto& there = group.signatures[statement];
    std::erase_if(there, [&](const Signature& old) { return old.key == signature.key; });
    there.push_back(std::move(signature));
    return Ok();
  };
  for (const cache::StepRecord& record : group.records) TRY(sign(StatementOf(record)));
  for (const StoredLayer& layer : group.layers) TRY(sign(StatementOf(layer)));
  for (const StoredMount& mount : group.mounts) TRY(sign(StatementOf(mount)));
  for (const DisownedKey& disowned : group.disowned) TRY(sign(StatementOf(disowned)));
  return Ok();
}

std::string SignersOf(const Signatures& signatures, const Digest& statement) {
  std::string names;
  for (const Signature& signature : Of(signatures, statement)) names += signature.key + " ";
  return names;
}

}  // namespace varve::tier
