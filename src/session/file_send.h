// Outputs that the client writes: archives as streams of bytes, and directories.
//
// A client has an exporter number for each output that it wants (0 for the first, in the order of
// SolveRequest.exporters).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>

#include "base/io.h"
#include "base/result.h"
#include "session/send_tree.h"
#include "session/session.h"

namespace varve::session {

// Sends what `write` writes. `metadata` are keys of the exporter's response that the client wants to know before the
// bytes. Returns when the client has written all. An error of `write` ends the call and is returned; otherwise errors
// are in the client's words, kUnavailable when it left.
Status SendArchive(Session& session, size_t exporter, const std::map<std::string, std::string>& metadata,
                   const std::function<Status(Writer&)>& write, std::stop_token stop);

// Sends what is below a directory that nobody changes meanwhile; the client decides whether files of its own go. Tells
// it that one transfer has the files of all platforms, without which clients refuse to delete. Returns the bytes of
// content that the client asked for.
Result<uint64_t> SendDirectory(Session& session, size_t exporter, const std::string& directory,
                               const SendOptions& options, std::stop_token stop);

}  // namespace varve::session
