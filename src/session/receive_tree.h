// The receiver of fsutil's file transfer: makes a directory what the sender's is, asking only for the files whose
// type, permissions, size or time of modification differ from what is there.
//
//   sender    STAT for each entry, directories before their content, names in order of bytes; a STAT without an
//             entry at the end
//   receiver  REQ with the index of a STAT, for each regular file that it lacks, while STATs still come
//   sender    DATA for what was asked, files interleaved as it likes; an empty one ends a file
//   receiver  FIN once it has all, and the sender answers FIN; ERR from either side ends the transfer
//
// The sender is not trusted. Every path is a chain of directories that this transfer made or found as such: nothing
// follows a symlink, and nothing outside of the directory is named. Paths that are absolute, not clean, out of order or
// whose directory was not sent end the transfer, and so do devices, and more than the limits allow.
//
// Owners and extended attributes are not kept: clients zero the one, and a build context is read without the other
// (source/context.h).
//
// A transfer that breaks off leaves a directory in which every file with the sender's time has the sender's content: a
// file gets its time last. The next transfer mends the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "base/result.h"
#include "session/packet_stream.h"

namespace varve::session {

struct ReceiveOptions {
  uint64_t max_entries = 10'000'000;
  uint64_t max_bytes = uint64_t{1} << 40;
  // Asks for all files, also those that look the same.
  bool always_ask = false;
  // What has arrived so far, protocol included; ten times a second at most, and at the end.
  std::function<void(uint64_t bytes)> on_progress = {};
};

struct Received {
  uint64_t entries = 0;  // that the sender has
  uint64_t files = 0;    // that were asked for
  uint64_t bytes = 0;    // that arrived, protocol included
  uint64_t removed = 0;  // entries that the sender does not have any more, directories counted once
};

// `directory`: open for reading, and nobody else's meanwhile. Uses this thread and a few more, which are gone on
// return. kInvalid for what a sender may not send and for what it reports; kUnavailable when it leaves; kCancelled.
Result<Received> ReceiveTree(PacketStream& stream, int directory, const ReceiveOptions& options, std::stop_token stop);

}  // namespace varve::session
