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

LazyTempDir::LazyTempDir(std::string parent, std::string prefix)
    : state_(std::make_unique<Guarded<State>>(State{std::move(parent), std::move(prefix)})) {}

Result<std::string> LazyTempDir::Path() const {
  if (state_ == nullptr) return Internal("a temporary directory without a place");
  auto state = state_->Lock();
  if (state->made.path().empty()) {
    TRY_ASSIGN(state->made, TempDir::Create(state->parent, state->prefix));
  }
  return state->made.path();
}

std::string LazyTempDir::PathIfMade() const { return state_ == nullptr ? "" : state_->Lock()->made.path(); }

std::string TemporaryRoot() {
  const char* value = std::getenv("TMPDIR");
  return value != nullptr && *value != '\0' ? value : "/tmp";
}

}  // namespace varve::sys
