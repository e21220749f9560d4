// Extended attributes, never through a symlink. Values are bytes.
//
// Functions with a descriptor accept O_PATH ones, where f*xattr(2) answers EBADF: they go through
// /proc/self/fd, which for an O_PATH descriptor of a symlink does not follow it. (The kernel
// refuses user.* on symlinks; security.* and trusted.* work.)
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace varve::sys {

// Names, sorted. A file system without xattr support has none.
Result<std::vector<std::string>> ListXattrs(int fd);
Result<std::vector<std::string>> ListXattrs(const std::string& path);

// The value; nothing when there is no such attribute (or no support for it).
Result<std::optional<std::string>> GetXattr(int fd, const std::string& name);
Result<std::optional<std::string>> GetXattr(const std::string& path, const std::string& name);

Status SetXattr(int fd, const std::string& name, std::string_view value);
Status SetXattr(const std::string& path, const std::string& name, std::string_view value);

// Removing an absent attribute is fine.
Status RemoveXattr(int fd, const std::string& name);
Status RemoveXattr(const std::string& path, const std::string& name);

}  // namespace varve::sys
