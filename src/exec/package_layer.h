// Layers of package files: what of them counts for a step that only installs.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/interfaces.h"
#include "snapshot/layer_store.h"
#include "tree/layer_index.h"

namespace varve::exec {

// A layer that also holds something else than package files, lock files and settings of package
// managers, or that removes something, counts by its content. kCorrupt for files that are not what
// the layer's index says.
Result<engine::PackageLayer> ReadPackageLayer(snapshot::LayerStore& layers, const DiffId& layer,
                                              const std::string& manager);

inline constexpr uint64_t kMaxPackageFile = 64 << 20;  // a lock file of thousands of packages has a few

// The same of what need not be a layer yet. `read` gives the content of a file.
using ReadEntry = std::function<Result<std::string>(const tree::LayerEntry& file)>;
Result<engine::PackageLayer> PackagesIn(tree::LayerIndex index, const std::string& manager, const ReadEntry& read);

// Whether the layer has an entry at one of the paths, or removes it or a folder around it.
Result<bool> LayerTouches(snapshot::LayerStore& layers, const DiffId& layer, const std::vector<std::string>& paths);

}  // namespace varve::exec
