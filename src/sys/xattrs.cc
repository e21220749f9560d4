#include "sys/xattrs.h"

#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <functional>

#include "sys/open.h"

namespace varve::sys {
namespace {

bool Absent(int error) { return error == ENODATA || error == EOPNOTSUPP; }

// Calls with growing buffers until the answer fits; another process may change it in between.
Result<std::optional<std::string>> ReadGrowing(const std::function<ssize_t(char*, size_t)>& call,
                                               const std::string& what) {
  std::string buffer(256, '\0');
  while (true) {
    ssize_t n = call(buffer.data(), buffer.size());
    if (n >= 0) {
      buffer.resize(static_cast<size_t>(n));
      return std::optional(std::move(buffer));
    }
    if (Absent(errno)) return std::optional<std::string>();
    if (errno != ERANGE || buffer.size() >= 1 << 20) return ErrnoError(errno, what);
    buffer.resize(buffer.size() * 4);
  }
}

Result<std::vector<std::string>> SplitNames(Result<std::optional<std::string>> text) {
  if (!text) return std::move(text).error();
  std::vector<std::string> names;
  if (!text->has_value()) return names;
  std::string_view rest = **text;
  while (!rest.empty()) {
    size_t end = std::min(rest.find('\0'), rest.size());
    if (end > 0) names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

// By descriptor, the f* call is tried first (no path walk); EBADF means O_PATH.

Result<std::vector<std::string>> ListXattrs(int fd) {
  return SplitNames(ReadGrowing(
      [&](char* data, size_t size) {
        ssize_t n = flistxattr(fd, data, size);
        return n < 0 && errno == EBADF ? listxattr(FdPath(fd).c_str(), data, size) : n;
      },
      "list xattrs"));
}

Result<std::vector<std::string>> ListXattrs(const std::string& path) {
  return SplitNames(ReadGrowing([&](char* data, size_t size) { return llistxattr(path.c_str(), data, size); },
                                "list xattrs of " + path));
}

Result<std::optional<std::string>> GetXattr(int fd, const std::string& name) {
  return ReadGrowing(
      [&](char* data, size_t size) {
        ssize_t n = fgetxattr(fd, name.c_str(), data, size);
        return n < 0 && errno == EBADF ? getxattr(FdPath(fd).c_str(), name.c_str(), data, size) : n;
      },
      "get xattr " + name);
}

Result<std::optional<std::string>> GetXattr(const std::string& path, const std::string& name) {
  return ReadGrowing([&](char* data, size_t size) { return lgetxattr(path.c_str(), name.c_str(), data, size); },
                     fmt::format("get xattr {} of {}", name, path));
}

Status SetXattr(int fd, const std::string& name, std::string_view value) {
  if (fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0) return Ok();
  if (errno == EBADF && setxattr(FdPath(fd).c_str(), name.c_str(), value.data(), value.size(), 0) == 0) {
    return Ok();
  }
  return ErrnoError(errno, "set xattr " + name);
}

Status SetXattr(const std::string& path, const std::string& name, std::string_view value) {
  if (lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0) == 0) return Ok();
  return ErrnoError(errno, fmt::format("set xattr {} of {}", name, path));
}

Status RemoveXattr(int fd, const std::string& name) {
  if (fremovexattr(fd, name.c_str()) == 0 || Absent(errno)) return Ok();
  if (errno == EBADF && (removexattr(FdPath(fd).c_str(), name.c_str()) == 0 || Absent(errno))) {
    return Ok();
  }
  return ErrnoError(errno, "remove xattr " + name);
}

Status RemoveXattr(const std::string& path, const std::string& name) {
  if (lremovexattr(path.c_str(), name.c_str()) == 0 || Absent(errno)) return Ok();
  return ErrnoError(errno, fmt::format("remove xattr {} of {}", name, path));
}

}  // namespace varve::sys
