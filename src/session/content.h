// Blobs that the client keeps: local caches ("local:<directory>"), OCI layouts ("oci:<name>"), and outputs that are no
// archive ("export"). containerd's content service, served by the client.
//
// Safe from any thread; every call is one of its own to the client.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/digest.h"
#include "base/io.h"
#include "base/remote_blobs.h"
#include "base/result.h"
#include "session/session.h"

namespace varve::session {

class ClientContent final : public RemoteBlobs {
 public:
  ClientContent(std::shared_ptr<Session> session, std::string store)
      : session_(std::move(session)), store_(std::move(store)) {}

  Result<std::optional<uint64_t>> Size(const Digest& blob, std::stop_token stop) override;
  Status Read(const Digest& blob, Writer& out, std::stop_token stop) override;
  Result<std::string> ReadPart(const Digest& blob, uint64_t offset, uint64_t size, std::stop_token stop) override;
  Status Write(const Digest& blob, uint64_t size, Reader& in, std::stop_token stop) override;

 private:
  Status ReadRange(const Digest& blob, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop);

  const std::shared_ptr<Session> session_;
  const std::string store_;
};

}  // namespace varve::session
