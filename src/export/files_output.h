// The files of a result, without an image around them: type=local and type=tar.
#pragma once

#include <stop_token>
#include <string>

#include "base/io.h"
#include "cache/step_record.h"
#include "snapshot/layer_store.h"

namespace varve::exporter {

// The merged tree as one tar. With an epoch, all times are it.
Status WriteFilesTar(snapshot::LayerStore& layers, const cache::Rootfs& rootfs,
                     std::optional<int64_t> epoch, const std::string& scratch, Writer& out,
                     std::stop_token stop);

// Copies the merged tree into `directory`, which is made. Owners are kept as far as this process may
// set them. `delete_extra`: what the result does not have is removed from the directory.
Status CopyFiles(snapshot::LayerStore& layers, const cache::Rootfs& rootfs,
                 std::optional<int64_t> epoch, const std::string& scratch,
                 const std::string& directory, bool delete_extra, std::stop_token stop);

}  // namespace varve::exporter
