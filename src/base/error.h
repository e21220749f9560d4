// What went wrong, in terms of what the caller should do about it.
//
// Functions that can fail return Result<T> (base/result.h). No exception crosses a module: those of
// third-party libraries are caught in the wrapper around the library.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>
#include <utility>

namespace varve {

enum class Code {
  kInvalid,      // the user's input is wrong: show it, do not retry
  kNotFound,     // a named thing is not there
  kUnavailable,  // a service or tier does not answer: retry, or go on without it
  kCorrupt,      // stored or received bytes are not what they should be: drop and rebuild
  kExec,         // a build step failed: exit status and log are the message
  kCancelled,    // somebody asked to stop
  kResource,     // out of disk, quota, memory, file descriptors
  kInternal,     // a bug in varve
};

// "invalid", "not-found", …: the spelling used in logs and in rawjson.
std::string_view CodeName(Code code);

struct Error {
  Code code = Code::kInternal;
  std::string message;  // lower case, names the object: "cannot open Dockerfile.dev"
  std::string hint;     // optional, what the user can do: "pass -f FILE"

  // Prepends a fact that the message lacks: "pulling layer 3/7 of alpine:3.20: " + message.
  Error&& With(std::string_view context) &&;

  // message, and the hint in a second line when there is one.
  std::string ToString() const;
};

template <class... Args>
Error MakeError(Code code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...), {}};
}

#define VARVE_DEFINE_ERROR_FUNCTION(name, value)                   \
  template <class... Args>                                         \
  Error name(fmt::format_string<Args...> format, Args&&... args) { \
    return MakeError(value, format, std::forward<Args>(args)...);  \
  }
VARVE_DEFINE_ERROR_FUNCTION(Invalid, Code::kInvalid)
VARVE_DEFINE_ERROR_FUNCTION(NotFound, Code::kNotFound)
VARVE_DEFINE_ERROR_FUNCTION(Unavailable, Code::kUnavailable)
VARVE_DEFINE_ERROR_FUNCTION(Corrupt, Code::kCorrupt)
VARVE_DEFINE_ERROR_FUNCTION(Cancelled, Code::kCancelled)
VARVE_DEFINE_ERROR_FUNCTION(Resource, Code::kResource)
VARVE_DEFINE_ERROR_FUNCTION(Internal, Code::kInternal)
#undef VARVE_DEFINE_ERROR_FUNCTION

// The error for a failed system call: `what` names the call's object ("open /a/b").
// ENOENT → kNotFound; ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM → kResource; ECANCELED → kCancelled;
// EIO → kCorrupt; connection errors → kUnavailable; everything else → kInvalid for permission-like
// errors, else kInternal.
Error ErrnoError(int errno_value, std::string_view what);

}  // namespace varve
