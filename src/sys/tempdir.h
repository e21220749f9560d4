// A private directory that goes away with its owner.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/guarded.h"
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

// A TempDir that is made when it is first asked for: a build that finds everything cached needs none, and
// removing one waits for the disk where the file system discards what is freed. Move-only; Path() is safe from
// any thread.
class LazyTempDir {
 public:
  LazyTempDir() = default;  // owns nothing: Path() is kInternal
  LazyTempDir(std::string parent, std::string prefix);

  Result<std::string> Path() const;
  std::string PathIfMade() const;  // empty: nobody has asked

 private:
  struct State {
    std::string parent, prefix;
    TempDir made = {};
  };
  std::unique_ptr<Guarded<State>> state_;
};

// $TMPDIR, else /tmp.
std::string TemporaryRoot();

}  // namespace varve::sys
