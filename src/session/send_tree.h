// The sender of fsutil's file transfer, for outputs that the client writes as files (receive_tree.h has the protocol).
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/result.h"
#include "session/packet_stream.h"

namespace varve::session {

struct SendOptions {
  std::function<void(uint64_t bytes)> on_progress = {};  // content sent so far
};

// Sends what is below `directory` (open for reading): types, permissions, owners, times, extended attributes, hard
// links. Returns the bytes of content that the receiver asked for. The tree must not change meanwhile; a file that
// cannot be read any more is an error, never a short file. kInvalid with the receiver's words when it refuses.
Result<uint64_t> SendTree(PacketStream& stream, int directory, const SendOptions& options, std::stop_token stop);

}  // namespace varve::session
