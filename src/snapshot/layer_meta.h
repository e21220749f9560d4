// <layer>/meta and <layer>/implicit.
//
//   meta      {"version":2,"entries":12,"tar":20480,"index":"sha256:…","reproducible":true,"boot":"<boot id>"}
//             SHA-256 of the line above, in hex
//             tar: length of the uncompressed tar; layers of earlier versions have it in `size` alone
//             index: digest of the file `index`; boot: /proc/sys/kernel/random/boot_id of when the
//             layer was made, empty once its files are known to be on the disk
//   implicit  paths, each followed by a NUL byte, in walk order
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace varve::snapshot {

struct LayerMeta {
  uint64_t entries = 0;
  std::optional<uint64_t> tar_size;
  Digest index;
  bool reproducible = false;
  std::string boot;
};

Result<LayerMeta> ReadMeta(const std::string& layer_directory);  // kNotFound, kCorrupt
Status WriteMeta(const std::string& layer_directory, const LayerMeta& meta);

// Empty when there is no such file.
Result<std::vector<std::string>> ReadImplicit(const std::string& layer_directory);
Status WriteImplicit(const std::string& layer_directory, const std::vector<std::string>& paths);

Result<std::string> CurrentBoot();

}  // namespace varve::snapshot
