#include "objects/s3_answer.h"

#include "net/http_date.h"
#include "net/retry.h"
#include "objects/xml.h"

namespace varve::objects {

S3Error ReadS3Error(std::string_view body) {
  // Most answers are no XML at all: blobs are not parsed to find that out.
  if (body.find("<Error") == body.npos) return {};
  auto xml = ParseXml(body);
  if (!xml || xml->name != "Error") return {};
  return {.code = std::string(xml->Text("Code")),
          .message = std::string(xml->Text("Message")),
          .region = std::string(xml->Text("Region"))};
}

Error S3Failure(const std::string& what, int status, const S3Error& error) {
  std::string said = std::to_string(status);
  if (!error.code.empty()) said += " " + error.code;
  if (!error.message.empty()) said += ": " + error.message;
  if (status == 429 || net::IsRetryableStatus(status)) return Unavailable("{}: {}", what, said);
  if (error.code == "NoSuchBucket") {
    Error missing = Invalid("{}: {}", what, said);
    missing.hint = "create the bucket, or correct bucket= and region=";
    return missing;
  }
  if (status == 404) return NotFound("{}: {}", what, said);
  if (status == 401 || status == 403) {
    Error denied = Invalid("{}: denied: {}", what, said);
    if (error.code == "SignatureDoesNotMatch") {
      denied.hint = "the secret access key is not the one of this access key id";
    } else if (error.code == "AccessDenied" || error.code.empty()) {
      denied.hint =
          "the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects and "
          "s3:ListBucket on the bucket, without which absent objects look forbidden";
    }
    return denied;
  }
  return Invalid("{}: refused: {}", what, said);
}

std::optional<int64_t> ClockSkew(const net::Response& head, Timestamp now) {
  auto date = net::ParseHttpDate(head.Header("Date"));
  if (!date) return {};
  return date->seconds() - now.seconds();
}

AwsKeys SignedWith(const net::Request& request) {
  AwsKeys keys;
  for (const auto& [name, value] : request.headers) {
    if (name == "x-amz-security-token") keys.session_token = value;
    constexpr std::string_view kCredential = "Credential=";
    if (size_t at = value.find(kCredential); name == "Authorization" && at != value.npos) {
      size_t begin = at + kCredential.size();
      keys.access_key_id = value.substr(begin, value.find('/', begin) - begin);
    }
  }
  return keys;
}

}  // namespace varve::objects
