#include "cache/root.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::cache {

namespace {

// The processes of steps and the stores work in directories of their own.
std::string Absolute(const std::string& path) {
  std::error_code gone;  // this process's directory
  auto absolute = std::filesystem::absolute(path, gone);
  return gone ? path : absolute.string();
}

}  // namespace

std::string RootDirectory(const std::string& flag) {
  if (!flag.empty()) return Absolute(flag);
  auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value ? value : "");
  };
  if (std::string root = variable("VARVE_ROOT"); !root.empty()) return Absolute(root);
  if (geteuid() == 0) return "/var/lib/varve";
  if (std::string data = variable("XDG_DATA_HOME"); !data.empty()) return data + "/varve";
  return variable("HOME") + "/.local/share/varve";
}

Status PrepareRoot(const std::string& root) {
  auto unusable = [&](Error error) {
    error.code = Code::kInvalid;
    error.hint = "name another state directory with --root DIR or VARVE_ROOT";
    return std::move(error).With("state root " + root);
  };
  std::string version_file = root + "/version";
  auto version = ReadFile(version_file, 100);
  if (version) {
    auto number = ParseInt(TrimSpace(*version));
    if (!number) {
      return unusable(Invalid("its version file does not hold a number; it is not varve's, or damaged"));
    }
    if (*number > kRootVersion) {
      return unusable(
          Invalid("it has layout {}, and this varve knows {}: a newer varve made it", *number, kRootVersion));
    }
    if (access(root.c_str(), W_OK) != 0) return unusable(ErrnoError(errno, "it cannot be written"));
    return Ok();
  }
  if (version.error().code != Code::kNotFound) return unusable(std::move(version).error());
  if (Status made = sys::MkdirAll(root, 0711); !made) return unusable(std::move(made).error());
  for (const char* name : {"records", "staging", "locks", "jobs", "mounts", "contexts", "tmp"}) {
    if (Status made = sys::MkdirAll(root + "/" + name, 0700); !made) {
      return unusable(std::move(made).error());
    }
  }
  // Last: a root without it is prepared again.
  Status written = WriteFileAtomically(version_file, fmt::format("{}\n", kRootVersion));
  if (!written) return unusable(std::move(written).error());
  return Ok();
}

}  // namespace varve::cache
