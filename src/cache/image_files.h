// Image names as files: <root>/images/<hex of the name's digest>.json, so that they outlive the
// index.
//
//   {"version":1,"name":"docker.io/library/app:latest","manifest":"sha256:…","updated":"…Z"}
#pragma once

#include <string>
#include <vector>

#include "cache/local_store.h"

namespace varve::cache {

Status WriteImageFile(const std::string& root, const StoredImage& image);
bool HasImageFile(const std::string& root, const std::string& name);
Status RemoveImageFile(const std::string& root, const std::string& name);
// Files that cannot be read as such are skipped with a warning.
Result<std::vector<StoredImage>> ReadImageFiles(const std::string& root);
// The paths of those files.
Result<std::vector<std::string>> DamagedImageFiles(const std::string& root);

}  // namespace varve::cache
