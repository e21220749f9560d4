// What S3's refusals say.
//
// Source: Amazon S3 API Reference, "Error responses".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "net/http_client.h"
#include "objects/aws_signature.h"

namespace varve::objects {

struct S3Error {
  std::string code;  // "NoSuchKey"; empty when the body is no <Error>
  std::string message;
  std::string region;  // where the bucket is, or the credentials should be for
};
S3Error ReadS3Error(std::string_view body);

// "what: denied: 403 AccessDenied: …". kNotFound for 404 of an object alone, kUnavailable for 429
// and 5xx, else kInvalid.
Error S3Failure(const std::string& what, int status, const S3Error& error);

// The server's clock minus ours in seconds, by the Date header.
std::optional<int64_t> ClockSkew(const net::Response& head, Timestamp now);

// Key id and token that a request was signed with; the secret is not in it.
AwsKeys SignedWith(const net::Request& request);

}  // namespace varve::objects
