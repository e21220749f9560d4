#include "base/error.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/result.h"

namespace varve {

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kInvalid:
      return "invalid";
    case Code::kNotFound:
      return "not-found";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kCorrupt:
      return "corrupt";
    case Code::kExec:
      return "exec";
    case Code::kCancelled:
      return "cancelled";
    case Code::kResource:
      return "resource";
    case Code::kInternal:
      return "internal";
  }
  return "internal";
}

Error&& Error::With(std::string_view context) && {
  message = fmt::format("{}: {}", context, message);
  return std::move(*this);
}

std::string Error::ToString() const { return hint.empty() ? message : fmt::format("{}\n{}", message, hint); }

static Code CodeOfErrno(int value) {
  switch (value) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      return Code::kNotFound;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
      return Code::kResource;
    case ECANCELED:
      return Code::kCancelled;
    case EIO:
    case EBADMSG:
    case EUCLEAN:
      return Code::kCorrupt;
    case ECONNREFUSED:
    case ECONNRESET:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return Code::kUnavailable;
    case EACCES:
    case EPERM:
    case EROFS:
    case EISDIR:
    case EEXIST:
    case ENOTEMPTY:
    case ELOOP:
    case ENAMETOOLONG:
    case EXDEV:
      return Code::kInvalid;
    default:
      return Code::kInternal;
  }
}

Error ErrnoError(int errno_value, std::string_view what) {
  char buffer[128];
  const char* text = strerror_r(errno_value, buffer, sizeof(buffer));
  return MakeError(CodeOfErrno(errno_value), "{}: {}", what, text);
}

void CheckFailed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "varve: internal error: CHECK(%s) failed at %s:%d\n", condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace varve
