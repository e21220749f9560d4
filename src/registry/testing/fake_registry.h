// A distribution registry in memory, on a loopback socket, with switches for what goes wrong.
//
//   testing::FakeRegistry server;
//   Digest image = server.AddImage("library/node", "20", "linux/amd64", {"layer one"});
//   server.Fail({.pattern = "GET /v2/.*/blobs/", .times = 1, .cut_after = 100});
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/guarded.h"
#include "net/testing/http_server.h"
#include "oci/manifest.h"

namespace varve::registry::testing {

// What to do to the first `times` requests whose "METHOD /path?query" the pattern (POSIX extended)
// is found in.
struct Fault {
  std::string pattern;
  int times = 1 << 30;
  int status = 0;  // answers this
  std::string retry_after = {};
  std::string body = R"({"errors":[{"code":"TOOMANY","message":"not now"}]})";
  std::optional<size_t> cut_after = {};   // closes in the middle of the body
  std::optional<size_t> cut_upload = {};  // closes after that much of the request's body
  bool wrong_bytes = false;
  std::chrono::milliseconds delay{0};
  std::string redirect = {};  // 307 to this URL
  bool lose_answer = false;   // does it, and closes without an answer's body or head
};

struct RegistryOptions {
  bool ranges = true;
  bool referrers_api = true;
  bool head = true;  // false: HEAD of manifests answers 405
  bool digest_header = true;
  bool mount = true;
  bool hosted_rules = false;        // manifests are refused as hosted registries do (hosted_rules.h)
  size_t largest_piece = SIZE_MAX;  // of an upload, when it says where it belongs: else 416, as GHCR does
  size_t least_piece = 0;           // told by OCI-Chunk-Min-Length
  bool deletes = true;              // false: DELETE of manifests answers 405
  std::string basic = {};           // "name:password"
  std::string bearer = {};          // "name:password", or "anonymous"; tokens come from /token
  std::string refresh_token = {};   // POST /token takes it
  int token_seconds = 300;
  std::optional<net::testing::ServerTls> tls = {};
};

class FakeRegistry {
 public:
  explicit FakeRegistry(RegistryOptions options = {});
  ~FakeRegistry();

  std::string Address() const;
  std::string Url(const std::string& path) const;
  void Stop();

  void Fail(Fault fault);
  Digest AddBlob(const std::string& repository, const std::string& content);
  void AddManifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                   const std::string& text);
  // Config, gzip-typed layers and manifest; the tag may be empty. Returns the manifest.
  oci::Descriptor AddImage(const std::string& repository, const std::string& tag, const std::string& platform,
                           const std::vector<std::string>& layers);

  std::optional<std::string> Blob(const std::string& repository, const Digest& digest) const;
  std::optional<std::string> Manifest(const std::string& repository, const std::string& name) const;
  // "METHOD /path?query" of every request.
  std::vector<std::string> Requests() const;
  int CountRequests(const std::string& pattern) const;
  size_t OpenUploads() const;
  void RevokeTokens();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::registry::testing
