// Digests, base64, JSON, CSV, URLs, UUIDs, secrets.
#include <crypt.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include <cstring>

#include "base/hex.h"
#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

std::string DigestOf(const EVP_MD* kind, std::string_view data) {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  CHECK(EVP_Digest(data.data(), data.size(), bytes, &length, kind, nullptr) == 1);
  return {reinterpret_cast<char*>(bytes), length};
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

std::string Base64(const std::string& text) {
  std::string out(4 * ((text.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                  static_cast<int>(text.size()));
  return out;
}

// Go's base64.StdEncoding: padded, line ends are passed over.
Result<std::string> FromBase64(std::string text) {
  std::erase_if(text, [](char c) { return c == '\n' || c == '\r'; });
  std::string out(text.size() / 4 * 3, '\0');
  bool good = text.size() % 4 == 0;
  size_t pad = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  good = good && text.find('=') >= text.size() - pad && text.find_first_of(" \t-") == text.npos;
  if (text.empty()) return std::string();
  if (!good ||
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size())) < 0) {
    return Invalid("failed to decode base64 data");
  }
  out.resize(out.size() - pad);
  return out;
}

// go-cty-funcs' URLEncode is Go's url.QueryEscape.
std::string UrlEncode(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (isalnum(static_cast<unsigned char>(c)) || std::string_view("-_.~").find(c) != std::string_view::npos) {
      out += c;
    } else if (c == ' ') {
      out += '+';
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string UuidText(std::string bytes, int version) {
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | version << 4);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  std::string hex = Hex(std::string_view(bytes).substr(0, 16));
  for (size_t at : {20, 16, 12, 8}) hex.insert(at, 1, '-');
  return hex;
}

std::optional<std::string> UuidBytes(std::string text) {
  if (text.size() != 36) return std::nullopt;
  std::erase(text, '-');
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    auto byte = ParseInt(std::string_view(text).substr(i, 2), 16);
    if (!byte) return std::nullopt;
    bytes += static_cast<char>(*byte);
  }
  return bytes.size() == 16 ? std::optional(bytes) : std::nullopt;
}

Result<Value> UuidV5(const Arguments& a) {
  static const std::map<std::string, std::string> kKnown = {{"dns", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
                                                            {"url", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"},
                                                            {"oid", "6ba7b812-9dad-11d1-80b4-00c04fd430c8"},
                                                            {"x500", "6ba7b814-9dad-11d1-80b4-00c04fd430c8"}};
  auto known = kKnown.find(a[0].as_string());
  auto space = UuidBytes(known == kKnown.end() ? a[0].as_string() : known->second);
  if (!space)
    return Invalid("uuidv5() doesn't support namespace {}: use dns, url, oid, x500 or a UUID", a[0].as_string());
  return Value(UuidText(DigestOf(EVP_sha1(), *space + a[1].as_string()), 5));
}

Result<Value> Bcrypt(const Arguments& a) {
  int64_t cost = 10;
  if (a.size() > 2) return Invalid("bcrypt() takes no more than two arguments");
  if (a.size() > 1) {
    TRY_ASSIGN(cost, WholeNumber(a[1], "the cost"));
  }
  if (cost < 4) cost = 10;  // as Go's bcrypt does
  if (cost > 31) return Invalid("error occurred generating password: cost {} is outside allowed range (4,31)", cost);
  if (a[0].as_string().size() > 72)
    return Invalid("error occurred generating password: password length exceeds 72 bytes");
  char salt[CRYPT_GENSALT_OUTPUT_SIZE];
  crypt_data data{};
  if (crypt_gensalt_rn("$2a$", static_cast<unsigned long>(cost), nullptr, 0, salt, sizeof salt) == nullptr)
    return Invalid("this machine's crypt library has no bcrypt");
  const char* hash = crypt_r(a[0].as_string().c_str(), salt, &data);
  if (hash == nullptr || hash[0] == '*') return Invalid("this machine's crypt library has no bcrypt");
  return Value(hash);
}

Result<Value> RsaDecrypt(const Arguments& a) {
  TRY_ASSIGN(std::string cipher, FromBase64(a[0].as_string()));
  const std::string& pem = a[1].as_string();
  std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  auto no_password = [](char*, int, int, void*) { return 0; };
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr), EVP_PKEY_free);
  if (!key) return Invalid("failed to parse key: no key found");
  std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key.get(), nullptr),
                                                                      EVP_PKEY_CTX_free);
  std::string out(8192, '\0');
  size_t length = out.size();
  bool good = context && EVP_PKEY_decrypt_init(context.get()) > 0 &&
              EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) > 0 &&
              EVP_PKEY_decrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &length,
                               reinterpret_cast<const unsigned char*>(cipher.data()), cipher.size()) > 0;
  if (!good) return Invalid("failed to decrypt: the key does not fit, or the text is damaged");
  return Value(out.substr(0, length));
}

// RFC 4180: records end with a line, quoted fields may have line ends.
Result<std::vector<std::vector<std::string>>> CsvRecords(const std::string& text) {
  std::vector<std::vector<std::string>> records;
  std::vector<std::string> record;
  std::string field;
  bool quoted = false, any = false;
  auto end_record = [&] {
    if (any || !field.empty() || !record.empty()) {
      record.push_back(std::exchange(field, {}));
      records.push_back(std::exchange(record, {}));
    }
    any = false;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (quoted) {
      if (c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
        field += text[i++];
      } else if (c == '"') {
        quoted = false;
      } else {
        field += c;
      }
    } else if (c == '"') {
      if (!field.empty()) return Invalid("invalid CSV: bare \" in a field that has no quotes");
      quoted = any = true;
    } else if (c == ',') {
      record.push_back(std::exchange(field, {}));
      any = true;
    } else if (c == '\n') {
      if (field.ends_with('\r')) field.pop_back();
      end_record();
    } else {
      field += c;
    }
  }
  if (quoted) return Invalid("invalid CSV: a quoted field does not end");
  end_record();
  return records;
}

Result<Value> CsvDecode(const Arguments& a) {
  TRY_ASSIGN(auto records, CsvRecords(a[0].as_string()));
  if (records.empty()) return Invalid("missing header line");
  const auto& names = records[0];
  for (size_t i = 0; i < names.size(); ++i) {
    if (std::find(names.begin(), names.begin() + static_cast<ptrdiff_t>(i), names[i]) !=
        names.begin() + static_cast<ptrdiff_t>(i)) {
      return Invalid("duplicate column name \"{}\"", names[i]);
    }
  }
  Value::Items rows;
  for (size_t r = 1; r < records.size(); ++r) {
    if (records[r].size() != names.size())
      return Invalid("invalid CSV: record {} has another number of fields than the header", r + 1);
    Value::Members row;
    for (size_t i = 0; i < names.size(); ++i) row[names[i]] = records[r][i];
    rows.push_back(Value::Object(std::move(row)));
  }
  return Convert(Value::Tuple(std::move(rows)), Type::List(Type::Any()));
}

}  // namespace

void AddEncodingFunctions(FunctionTable& table) {
  const Type text = Type::String();
  for (auto [name, kind] :
       {std::pair{"md5", &EVP_md5}, {"sha1", &EVP_sha1}, {"sha256", &EVP_sha256}, {"sha512", &EVP_sha512}}) {
    Define(table, name, {{text}}, [kind = kind](const Arguments& a) -> Result<Value> {
      return Value(Hex(DigestOf(kind(), a[0].as_string())));
    });
  }
  Define(table, "base64encode", {{text}},
         [](const Arguments& a) -> Result<Value> { return Value(Base64(a[0].as_string())); });
  Define(table, "base64decode", {{text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(std::string plain, FromBase64(a[0].as_string()));
    return Value(std::move(plain));
  });
  Define(table, "urlencode", {{text}},
         [](const Arguments& a) -> Result<Value> { return Value(UrlEncode(a[0].as_string())); });
  Signature any{{Type::Any()}};
  any.nulls = true;
  Define(table, "jsonencode", any, [](const Arguments& a) -> Result<Value> {
    return Value(ToJson(a[0]).Dump({.sort_keys = true, .escape_html = true}));
  });
  Define(table, "jsondecode", {{text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Json json, Json::Parse(a[0].as_string()));
    return FromJson(json);
  });
  Define(table, "csvdecode", {{text}}, CsvDecode);
  Define(table, "uuidv4", {{}}, [](const Arguments&) -> Result<Value> {
    std::string bytes(16, '\0');
    CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), 16) == 1);
    return Value(UuidText(std::move(bytes), 4));
  });
  Define(table, "uuidv5", {{text, text}}, UuidV5);
  Define(table, "bcrypt", {{text}, Type::Number()}, Bcrypt);
  Define(table, "rsadecrypt", {{text, text}}, RsaDecrypt);
}

}  // namespace varve::hcl
