// AWS Signature Version 4 in the Authorization header, as S3 and STS want it.
//
// Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference. S3
// differs from other services: paths are escaped once and never normalised, and the digest of the
// body is a header of its own. Bodies are always signed: parts of an upload are in memory when they
// are sent, so that the chunked form (STREAMING-AWS4-HMAC-SHA256-PAYLOAD) has no use here.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/http_client.h"

namespace varve::objects {

struct AwsKeys {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty: long-lived keys
};

// What is signed. Path and query are unescaped; the signer and the sender escape them the same way.
struct AwsRequest {
  std::string method;
  std::string authority;  // the Host header
  std::string path;       // "/bucket/key"
  std::vector<std::pair<std::string, std::string>> query = {};
  net::Headers headers = {};   // all of them are signed, with Host and what SignAwsRequest adds
  std::string payload_sha256;  // hex
};

// "a=b&c=d", sorted and escaped as the signature wants it: what goes into the URL.
std::string CanonicalQuery(const std::vector<std::pair<std::string, std::string>>& query);
// "/" stays, everything but RFC 3986 "unreserved" is escaped.
std::string EscapePath(std::string_view path);

// The request's headers with x-amz-date, x-amz-content-sha256 (for s3), x-amz-security-token and
// Authorization.
net::Headers SignAwsRequest(const AwsRequest& request, const AwsKeys& keys, std::string_view region,
                            std::string_view service, Timestamp now);

}  // namespace varve::objects
