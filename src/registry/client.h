// A client of the OCI distribution protocol (distribution-spec v1.1), as docker.io and its kin
// speak it.
//
//   net::HttpClient http;
//   registry::Client client(http, {.config = config});
//   TRY_ASSIGN(auto ref, oci::ParseReference("node:20"));
//   TRY_ASSIGN(auto image, client.Resolve(ref, platform, stop));
//   ref.digest = image.digest;
//   TRY_ASSIGN(auto manifest, client.FetchManifest(ref, stop));
//
// Reads ask the mirrors of the registry in order, then the registry itself; writes go to the
// registry. Everything that has a digest is verified. 429, 5xx and connections that fail are tried
// again with growing pauses. Safe from several threads.
//
// Errors:
//   kNotFound     no host has it; the hint lists the hosts
//   kInvalid      access denied (the hint says how to log in), no manifest for the platform, a
//                 request that the registry refuses, a certificate that is not trusted
//   kUnavailable  no host answered, or answers 429 or 5xx after all attempts
//   kCorrupt      bytes that do not match their digest
//   kCancelled    `stop` was requested
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/io.h"
#include "net/http_client.h"
#include "net/retry.h"
#include "oci/descriptor.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "registry/config.h"
#include "registry/credentials.h"

namespace varve::registry {

struct ClientOptions {
  Config config = {};
  std::string docker_config;               // directory of config.json; empty: DockerConfigDirectory()
  CredentialLookup credentials = nullptr;  // instead of docker_config
  TokenLookup tokens = nullptr;            // before those, where a registry wants bearer tokens
  net::RetryPolicy retry = {};
  net::Timeouts timeouts = {};
  // Uploads go up whole, and in pieces of this size after a failure; 0 would be one piece. GitHub's registry takes
  // no larger ones (416, "the maximum permissible limit of 4.00MiB"; oras-project/rust-oci-client#35).
  uint64_t chunk_size = 4 << 20;
  bool always_chunk = false;  // for registries behind proxies that limit a request's body
  Clock* clock = &SystemClock();
  net::Sleeper* sleeper = &net::SystemSleeper();
};

struct Document {
  oci::Descriptor descriptor;  // media type, digest, size
  std::string text;            // exactly the bytes that the digest names
};

// Opens the content at an offset; called again when an upload goes on after a failure.
using OpenAt = std::function<Result<std::unique_ptr<Reader>>(uint64_t offset)>;

enum class Pushed { kExisted, kMounted, kUploaded };

class Client {
 public:
  Client(net::HttpClient& http, ClientOptions options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // What the reference names at this moment. With a platform, an index gives its manifest for it
  // (with the platform set); without, the index itself.
  Result<oci::Descriptor> Resolve(const oci::Reference& reference, const std::optional<oci::Platform>& platform,
                                  std::stop_token stop);

  // The manifest or index under the reference's digest, else its tag; at most 4 MiB.
  Result<Document> FetchManifest(const oci::Reference& reference, std::stop_token stop);

  // `blob.size` may be oci::kUnknownSize.
  // Streams a blob, going on where a connection broke off, if need be at the next host. On kCorrupt
  // the writer has received wrong bytes: drop them and call again; the host that sent them is then
  // asked last.
  Status FetchBlob(const oci::Reference& repository, const oci::Descriptor& blob, Writer& out, std::stop_token stop);

  // `size` bytes of it from `offset` on, fewer at its end; they cannot be verified here. A registry that
  // knows no ranges sends the whole blob, which must fit into memory. kNotFound as above.
  Result<std::string> FetchBlobPart(const oci::Reference& repository, const oci::Descriptor& blob, uint64_t offset,
                                    uint64_t size, std::stop_token stop);

  // A blob as a string: configs and the like. kInvalid when it is larger than `limit`.
  Result<std::string> FetchSmallBlob(const oci::Reference& repository, const oci::Descriptor& blob, uint64_t limit,
                                     std::stop_token stop);

  // Whether the registry itself (no mirror) has it.
  Result<bool> HasBlob(const oci::Reference& repository, const Digest& digest, std::stop_token stop);

  // Uploads unless it is there already. `mount_from`: repositories of the same registry that may
  // have it ("library/node"), tried first; then one that this client has seen it in.
  Result<Pushed> PushBlob(const oci::Reference& repository, const oci::Descriptor& blob, const OpenAt& open,
                          const std::vector<std::string>& mount_from, std::stop_token stop);

  // Uploads although it is there: what was fetched had other bytes. Some registries keep what they have all
  // the same.
  Status ReplaceBlob(const oci::Reference& repository, const oci::Descriptor& blob, const OpenAt& open,
                     std::stop_token stop);

  // Stores a manifest under the reference's tag, or under its digest when there is no tag. A
  // manifest with a subject is listed in the referrers tag of registries without a referrers API.
  Result<oci::Descriptor> PushManifest(const oci::Reference& reference, const std::string& media_type,
                                       const std::string& text, std::stop_token stop);

  // Removes the manifest under the reference's digest, also when it is tagged. False: the registry
  // does not let it be removed (many do not). Absent is fine.
  Result<bool> DeleteManifest(const oci::Reference& reference, std::stop_token stop);

  // The manifests whose subject is `subject`; `artifact_type` filters unless empty. From the
  // referrers API, else from the tag that stands in for it ("sha256-<hex>").
  Result<std::vector<oci::Descriptor>> Referrers(const oci::Reference& repository, const Digest& subject,
                                                 const std::string& artifact_type, std::stop_token stop);

  struct Impl;  // client_impl.h

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::registry
