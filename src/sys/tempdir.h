// A private directory that goes away with its owner.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace varve::sys {

// Move-only. The destructor removes the tree (sys::RemoveAll; a failure is logged) unless Release()
// was called.
class TempDir {
 public:
  // Makes <parent>/<prefix>XXXXXX, mode 0700. `parent` is created when missing.
  static Result<TempDir> Create(const std::string& parent, const std::string& prefix);

  TempDir() = default;
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept;
  ~TempDir();

  const std::string& path() const { return path_; }  // empty: owns nothing
  std::string Release() { return std::exchange(path_, {}); }
  Status Remove();

 private:
  std::string path_;
};

// $TMPDIR, else /tmp.
std::string TemporaryRoot();

}  // namespace varve::sys
