#include "base/redact.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <string>
#include <vector>

#include "base/strings.h"

namespace varve {

namespace {

// The words of "npmAuthToken", "NPM_AUTH_TOKEN", "npm.auth-token": npm, auth, token.
std::vector<std::string> WordsOf(std::string_view name) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < name.size(); ++i) {
    auto c = static_cast<unsigned char>(name[i]);
    bool hump = std::isupper(c) && i > 0 && std::islower(static_cast<unsigned char>(name[i - 1]));
    if ((!std::isalnum(c) || hump) && !words.back().empty()) words.emplace_back();
    if (std::isalnum(c)) words.back() += static_cast<char>(std::tolower(c));
  }
  return words;
}

constexpr std::string_view kSecretWords[] = {
    "token", "tokens",        "secret",      "secrets", "password", "passwd", "pass",   "passphrase",
    "pwd",   "credential",    "credentials", "cred",    "creds",    "key",    "apikey", "privatekey",
    "auth",  "authorization", "bearer",      "cookie",  "pat",      "dsn",    "webhook"};
constexpr std::string_view kSecretEndings[] = {"token", "secret", "password", "passwd", "apikey"};

constexpr std::string_view kSecretPrefixes[] = {
    "ghp_",  "gho_",      "ghs_",  "ghu_", "ghr_",     "github_pat_", "glpat-",    "npm_", "pypi-",
    "xoxb-", "xoxp-",     "xoxa-", "sk-",  "sk_live_", "rk_live_",    "AKIA",      "ASIA", "AIza",
    "eyJ",   "dckr_pat_", "hf_",   "SG.",  "Bearer ",  "Basic ",      "-----BEGIN"};

// Of letters and digits mixed without order: keys and tokens, but neither words nor digests of
// content (those have a prefix or are hexadecimal of a usual length and say nothing secret).
bool LooksRandom(std::string_view value) {
  if (value.size() < 24) return false;
  std::array<int, 256> counts{};
  bool upper = false, lower = false, digit = false;
  for (char c : value) {
    auto byte = static_cast<unsigned char>(c);
    if (!std::isalnum(byte) && c != '_' && c != '-' && c != '+' && c != '/' && c != '=') return false;
    upper |= std::isupper(byte) != 0;
    lower |= std::islower(byte) != 0;
    digit |= std::isdigit(byte) != 0;
    ++counts[byte];
  }
  double entropy = 0;
  for (int count : counts) {
    if (count == 0) continue;
    double p = static_cast<double>(count) / static_cast<double>(value.size());
    entropy -= p * std::log2(p);
  }
  return upper && lower && digit && entropy > 3.8 && value.find('/') == value.npos;
}

}  // namespace

bool NameLooksSecret(std::string_view name) {
  for (const std::string& word : WordsOf(name)) {
    if (std::ranges::find(kSecretWords, word) != std::end(kSecretWords)) return true;
    if (std::ranges::any_of(kSecretEndings, [&](std::string_view e) { return word.ends_with(e); })) {
      return true;
    }
  }
  return false;
}

bool ValueLooksSecret(std::string_view value) {
  for (std::string_view prefix : kSecretPrefixes) {
    if (value.starts_with(prefix) && value.size() >= prefix.size() + 8) return true;
  }
  // https://user:password@host
  size_t scheme = value.find("://");
  if (scheme != value.npos) {
    std::string_view authority = value.substr(scheme + 3);
    authority = authority.substr(0, authority.find('/'));
    size_t at = authority.rfind('@');
    if (at != authority.npos && authority.substr(0, at).find(':') != authority.npos) return true;
  }
  return LooksRandom(value);
}

std::string Redacted(std::string_view name, std::string_view value) {
  if (!value.empty() && (NameLooksSecret(name) || ValueLooksSecret(value))) return std::string(kHidden);
  return std::string(value);
}

std::string RedactedText(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    size_t end = text.find_first_of(" \t\n\r\"'`,;");
    std::string_view word = text.substr(0, end);
    size_t eq = word.find('=');
    if (eq != word.npos) {
      out.append(word.substr(0, eq + 1)) += Redacted(word.substr(0, eq), word.substr(eq + 1));
    } else {
      out += ValueLooksSecret(word) ? kHidden : word;
    }
    if (end == text.npos) break;
    out += text[end];
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace varve
