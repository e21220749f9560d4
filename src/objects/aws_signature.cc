#include "objects/aws_signature.h"

#include <fmt/core.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <time.h>

#include <algorithm>

#include "base/digest.h"
#include "base/hex.h"
#include "base/strings.h"
#include "net/url.h"

namespace varve::objects {

namespace {

std::string Hmac(std::string_view key, std::string_view text) {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &size) != nullptr);
  return {reinterpret_cast<const char*>(out), size};
}

// "20130524T000000Z"
std::string AmzDate(Timestamp time) {
  time_t seconds = time.seconds();
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, strftime(text, sizeof(text), "%Y%m%dT%H%M%SZ", &parts)};
}

// Runs of blanks count as one.
std::string CanonicalValue(std::string_view value) {
  std::string out;
  for (char c : TrimSpace(value)) {
    if (c == ' ' && out.ends_with(' ')) continue;
    out += c;
  }
  return out;
}

}  // namespace

std::string EscapePath(std::string_view path) {
  std::vector<std::string> parts = Split(path, '/');
  for (std::string& part : parts) part = net::PercentEncode(part);
  return Join(parts, "/");
}

std::string CanonicalQuery(const std::vector<std::pair<std::string, std::string>>& query) {
  std::vector<std::pair<std::string, std::string>> escaped;
  for (const auto& [name, value] : query) {
    escaped.emplace_back(net::PercentEncode(name), net::PercentEncode(value));
  }
  std::sort(escaped.begin(), escaped.end());
  std::string out;
  for (const auto& [name, value] : escaped) {
    out += (out.empty() ? "" : "&") + name + "=" + value;
  }
  return out;
}

net::Headers SignAwsRequest(const AwsRequest& request, const AwsKeys& keys, std::string_view region,
                            std::string_view service, Timestamp now) {
  const std::string date = AmzDate(now);
  const std::string day = date.substr(0, 8);
  net::Headers headers = request.headers;
  headers.emplace_back("x-amz-date", date);
  if (service == "s3") headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
  if (!keys.session_token.empty()) {
    headers.emplace_back("x-amz-security-token", keys.session_token);
  }

  std::vector<std::pair<std::string, std::string>> canonical{{"host", request.authority}};
  for (const auto& [name, value] : headers) {
    canonical.emplace_back(ToLower(name), CanonicalValue(value));
  }
  std::sort(canonical.begin(), canonical.end());
  std::string lines, names;
  for (const auto& [name, value] : canonical) {
    lines += name + ":" + value + "\n";
    names += (names.empty() ? "" : ";") + name;
  }

  const std::string canonical_request =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, EscapePath(request.path), CanonicalQuery(request.query),
                  lines, names, request.payload_sha256);
  const std::string scope = fmt::format("{}/{}/{}/aws4_request", day, region, service);
  const std::string to_sign =
      fmt::format("AWS4-HMAC-SHA256\n{}\n{}\n{}", date, scope, Digest::Of(canonical_request).Hex());
  std::string key = "AWS4" + keys.secret_access_key;
  for (std::string_view part : {std::string_view(day), region, service, std::string_view("aws4_request")}) {
    key = Hmac(key, part);
  }
  headers.emplace_back("Authorization", fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}",
                                                    keys.access_key_id, scope, names, HexEncode(Hmac(key, to_sign))));
  return headers;
}

}  // namespace varve::objects
