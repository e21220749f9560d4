// Signatures of what a tier says: ed25519 (RFC 8032), keys in PEM as `openssl genpkey -algorithm ed25519`
// writes them (RFC 8410), so that keys of other tools do as well.
//
//   TRY_ASSIGN(auto text, ReadKeyText("ci.key"));
//   TRY_ASSIGN(auto key, SigningKey::Parse(text));
//   SignGroup(group, key);                       // before it is encoded
//   if (verifier.Signed(group.signatures, StatementOf(record))) …
//
// What is signed is a statement, each by itself, so that groups can be merged by those who have no key:
//
//   record   the record's text as it travels (group.h): key, outputs, layers by diff id, preimage
//   layer    diff id, and the digest and media type of the blob that holds it
//   mount    key, time and tar digest of a cache mount's content, and the blob that holds it
//   disowned a weak key whose runs stand for no others, and why
//
// A signature moved to another record, or to another blob, is of another statement. An old record can
// be put back, which is no harm: it was true for its key, which names all inputs; so can an old content of
// a cache mount, whose steps must do with any. Tree packs are not signed: their objects are named by their
// digests, and the root is in the record. Nor are packs of chunks: the list, which is, names each chunk by
// its digest.
//
// All are values, safe from any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace varve::cache {
struct StepRecord;
}

namespace varve::tier {

struct Group;
struct StoredLayer;
struct StoredMount;
struct DisownedKey;

struct Signature {
  std::string key;    // which: see VerifyKeys
  std::string value;  // 64 bytes
  bool operator==(const Signature&) const = default;
};

// By the statement that they are of.
using Signatures = std::map<Digest, std::vector<Signature>>;

// Public keys. A key is named by the first 16 hex digits of the SHA-256 of its 32 bytes.
class VerifyKeys {
 public:
  // One or more PEM blocks "PUBLIC KEY"; text between them is passed over. kInvalid.
  static Result<VerifyKeys> Parse(std::string_view pem);

  // Whether one of these keys has signed the statement.
  bool Signed(const Signatures& signatures, const Digest& statement) const;
  // "its record is not signed", "… is signed by another key (1f2e…)", "the signature … is not of these bytes"
  std::string WhyNot(const Signatures& signatures, const Digest& statement) const;

 private:
  friend class SigningKey;
  std::map<std::string, std::shared_ptr<void>> keys_;  // EVP_PKEY by name
};

class SigningKey {
 public:
  static Result<SigningKey> Parse(std::string_view pem);  // one block "PRIVATE KEY"; kInvalid
  static Result<SigningKey> Generate();

  Result<std::string> PrivatePem() const;
  Result<std::string> PublicPem() const;
  const std::string& name() const { return name_; }
  VerifyKeys verify_keys() const;
  Result<Signature> Sign(const Digest& statement) const;

 private:
  std::shared_ptr<void> key_;  // EVP_PKEY
  std::string name_;
};

// What a key option names: a file, or with "env:NAME" an environment variable's value. kInvalid.
Result<std::string> ReadKeyText(const std::string& place);

Digest StatementOf(const cache::StepRecord& record);
Digest StatementOf(const StoredLayer& layer);
Digest StatementOf(const StoredMount& mount);
Digest StatementOf(const DisownedKey& key);

// Adds a signature for each record, layer, mount and disowned key.
Status SignGroup(Group& group, const SigningKey& key);
// The names of those who say that they signed it, for keeping theirs apart: "", "1f2e…".
std::string SignersOf(const Signatures& signatures, const Digest& statement);

}  // namespace varve::tier
