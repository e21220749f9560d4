// FakeBucket with BucketOptions::bazel_remote: what bazel-remote 2 answers over HTTP (its server/http.go and
// utils/validate), with the validation of its action cache on.
#include <fmt/core.h>

#include <regex>

#include "base/digest.h"
#include "base/percent.h"
#include "objects/testing/fake_bucket.h"

namespace varve::objects::testing {

using net::testing::ServerReply;
using net::testing::ServerRequest;

namespace {

ServerReply Refused(int status, const std::string& why) { return {.status = status, .body = why + "\n"}; }

// A message of protobuf's wire format, field by field; of an ActionResult as far as its fields' types go.
bool IsActionResult(std::string_view message, bool* has_worker) {
  size_t at = 0;
  auto varint = [&](uint64_t* value) {
    *value = 0;
    for (int n = 0; n < 10 && at < message.size(); ++n) {
      auto byte = static_cast<unsigned char>(message[at++]);
      *value |= uint64_t{byte & 0x7fu} << (7 * n);
      if (byte < 128) return true;
    }
    return false;
  };
  while (at < message.size()) {
    uint64_t tag = 0, size = 0;
    if (!varint(&tag) || tag >> 3 == 0 || (tag & 7) > 5 || (tag & 7) == 3 || (tag & 7) == 4) return false;
    const uint64_t field = tag >> 3, type = tag & 7;
    const bool known = field >= 2 && field <= 12;
    if (known && type != (field == 4 ? 0u : 2u)) return false;
    if (field == 9) *has_worker = true;
    if (type == 0 && !varint(&size)) return false;
    if (type == 2 && !varint(&size)) return false;
    if (type == 0) size = 0;
    if (type == 1) size = 8;
    if (type == 5) size = 4;
    if (size > message.size() - at) return false;
    at += size;
  }
  return true;
}

}  // namespace

ServerReply FakeBucket::CarryOutAsBazelRemote(State& state, const ServerRequest& request) {
  static const std::regex kName("^/?(.*/)?(ac/|cas/)([a-f0-9]{64})$");
  const std::string path = PercentDecode(request.path);
  std::smatch parts;
  if (!std::regex_match(path, parts, kName)) return Refused(400, "resource name must be a SHA256 hash in hex");
  const std::string key = path.substr(options_.bucket.size() + 2);
  const bool action = parts[2] == "ac/";
  if (request.method == "PUT") {
    std::string body = request.body;
    bool has_worker = false;
    if (request.Header("content-length").empty()) return Refused(400, "PUT without Content-Length");
    if (std::string encoding = request.Header("content-encoding"); !encoding.empty() && encoding != "identity") {
      return Refused(400, "Unsupported content-encoding");
    }
    if (action && (body.empty() || !IsActionResult(body, &has_worker))) {
      return Refused(400, "Failed to add worker metadata: proto: cannot parse invalid wire-format data");
    }
    if (!action && Digest::Of(body).Hex() != parts[3]) return Refused(500, "checksums don't match");
    // execution_metadata { worker: "127.0.0.1:9" }
    if (action && !has_worker)
      body +=
          "\x4a\x0d\x0a\x0b"
          "127.0.0.1:9";
    state.objects[key] = MakeObject(state, std::move(body));
    return {};
  }
  if (request.method != "GET" && request.method != "HEAD") {
    return Refused(405, "Method '" + request.method + "' not supported.");
  }
  auto found = state.objects.find(key);
  bool has_worker = false;
  const bool valid = found != state.objects.end() && (!action || IsActionResult(found->second.bytes, &has_worker));
  if (!valid) return Refused(404, "Not found");
  // Neither ETag nor Last-Modified, and a Range is not looked at.
  ServerReply reply{.headers = {{"Content-Type", "application/octet-stream"}}, .body = found->second.bytes};
  if (request.method == "HEAD") {
    reply.headers = {{"Content-Length", std::to_string(reply.body.size())}};
    reply.body.clear();
  }
  return reply;
}

}  // namespace varve::objects::testing
