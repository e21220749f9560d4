// A path inside a root that is not the host's: an image's file system, a build context, an archive.
//
// Normalised on construction: no leading or trailing slash, no empty part, no "." and no "..": ".."
// at the top stays at the top, as in a chroot. The root itself is the empty path. Symlinks are data:
// nothing here looks at a file system. To open one, use sys::OpenInRoot.
#pragma once

#include <compare>
#include <string>
#include <string_view>
#include <vector>

namespace varve {

class RelPath {
 public:
  RelPath() = default;  // the root
  explicit RelPath(std::string_view path);

  bool IsRoot() const { return text_.empty(); }
  const std::string& str() const { return text_; }      // "usr/bin/env"
  std::string Absolute() const { return "/" + text_; }  // "/usr/bin/env"
  std::string_view Name() const;                        // last part; empty for the root
  RelPath Parent() const;                               // the root's parent is the root
  RelPath Join(std::string_view more) const;            // normalises; ".." climbs; "/x" is below us
  bool IsWithin(const RelPath& directory) const;        // equal, or below
  std::vector<std::string_view> Parts() const;          // views into this object

  auto operator<=>(const RelPath&) const = default;

 private:
  std::string text_;
};

// filepath.Clean for a slash path that may be relative and keep leading "..": "a/./b/.." → "a".
std::string CleanPath(std::string_view path);

// `path` if absolute, else joined to `directory`; cleaned.
std::string JoinAbsolute(std::string_view directory, std::string_view path);

}  // namespace varve
