#include "sys/tempdir.h"

#include <cerrno>
#include <cstdlib>

#include "base/log.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::sys {

Result<TempDir> TempDir::Create(const std::string& parent, const std::string& prefix) {
  TRY(MkdirAll(parent));
  TempDir dir;
  std::string path = fmt::format("{}/{}XXXXXX", parent, prefix);
  if (mkdtemp(path.data()) == nullptr) return ErrnoError(errno, "make directory in " + parent);
  dir.path_ = std::move(path);
  return dir;
}

TempDir& TempDir::operator=(TempDir&& other) noexcept {
  if (this != &other) {
    if (Status status = Remove(); !status) LOG_WARN("{}", status.error().ToString());
    path_ = std::exchange(other.path_, {});
  }
  return *this;
}

TempDir::~TempDir() {
  if (Status status = Remove(); !status) LOG_WARN("{}", status.error().ToString());
}

Status TempDir::Remove() {
  if (path_.empty()) return Ok();
  return RemoveAll(std::exchange(path_, {}));
}

std::string TemporaryRoot() {
  const char* value = std::getenv("TMPDIR");
  return value != nullptr && *value != '\0' ? value : "/tmp";
}

}  // namespace varve::sys
