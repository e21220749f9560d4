// Hashing one file of a context that somebody may be writing to.
#pragma once

#include <functional>
#include <string>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"
#include "tree/stat_cache.h"

struct stat;

namespace varve::source {

tree::FileStamp StampOf(const struct stat& st);

struct HashedFile {
  tree::FileStamp stamp;  // of the content that was hashed
  Digest digest;
  Timestamp hashed_at;  // before the first byte was read
};

// Hashes the regular file `name` of `dir_fd`, no symlink followed. The file is stated before and
// after reading; when that differs it is read again, three times in all, and is then kInvalid: a
// digest of bytes that were never together in the file must not get into a tree. `path` names it in
// errors. `between`, for tests, runs after reading and before the second stat.
Result<HashedFile> HashFile(int dir_fd, const char* name, const std::string& path, Clock& clock,
                            const std::function<void()>& between = nullptr);

}  // namespace varve::source
