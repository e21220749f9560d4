// The files of a result, without an image around them: type=local and type=tar.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "attest/statement.h"
#include "base/io.h"
#include "cache/step_record.h"
#include "oci/platform.h"
#include "snapshot/layer_store.h"
#include "tree/tree.h"

namespace varve::exporter {

// What one platform gives. Each may have a directory of its own in the output; without one, several
// share the root, and a path that two of them have as something else than a directory is kInvalid.
struct FilesPart {
  cache::Rootfs rootfs;
  oci::Platform platform;
  std::string directory;                                       // "linux_arm64"; empty: the root of the output
  std::vector<std::pair<std::string, std::string>> more = {};  // name and text of files beside the result's
};

// Every regular file of the result by its path, for statements about it.
Result<std::vector<attest::Subject>> SubjectsOf(tree::TreeStore& trees, const Digest& root);

// "linux_arm_v7": the name of a platform's directory.
std::string PlatformDirectory(const oci::Platform& platform);

struct FilesOptions {
  std::optional<int64_t> epoch;  // seconds: all times are it
  std::string scratch;           // where mount points may be made
  bool delete_extra = false;     // CopyFiles: what the result does not have is removed
};

// The merged trees as one tar.
Status WriteFilesTar(snapshot::LayerStore& layers, const std::vector<FilesPart>& parts, const FilesOptions& options,
                     Writer& out, std::stop_token stop);

// Copies the merged trees into `directory`, which is made. Owners are kept as far as this process may
// set them.
Status CopyFiles(snapshot::LayerStore& layers, const std::vector<FilesPart>& parts, const FilesOptions& options,
                 const std::string& directory, std::stop_token stop);

}  // namespace varve::exporter
