// Blobs that somebody else keeps and hands out by digest: the content store of a daemon's client, in which its local
// caches and OCI layouts lie.
//
// All methods block, end with the stop, and are safe from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>

#include "base/digest.h"
#include "base/io.h"
#include "base/result.h"

namespace varve {

class RemoteBlobs {
 public:
  virtual ~RemoteBlobs() = default;

  // Of a blob; nothing when it is not there. kNotFound when there is no such store.
  virtual Result<std::optional<uint64_t>> Size(const Digest& blob, std::stop_token stop) = 0;

  // Writes the whole blob to `out`. kCorrupt, after the bytes, when they are not what the digest names; kNotFound.
  virtual Status Read(const Digest& blob, Writer& out, std::stop_token stop) = 0;
  // `size` bytes from `offset` on; they cannot be verified. kCorrupt when there are fewer.
  virtual Result<std::string> ReadPart(const Digest& blob, uint64_t offset, uint64_t size, std::stop_token stop) = 0;

  // Gives a blob of that size. One that is there already is fine, and nothing is sent then. What is sent is verified
  // there, and shown to nobody before.
  virtual Status Write(const Digest& blob, uint64_t size, Reader& in, std::stop_token stop) = 0;
};

}  // namespace varve
