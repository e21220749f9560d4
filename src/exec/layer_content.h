// What a layer holds, for weak keys (engine/replay.h).
#pragma once

#include "base/clock.h"
#include "cache/local_store.h"
#include "engine/interfaces.h"
#include "snapshot/layer_store.h"

namespace varve::exec {

// The tree only when asked for: it is made from the layer's index each time, and its objects are there then.
// Without it, the answer is remembered in the local store, since layers never change.
Result<engine::LayerContent> ReadLayerContent(snapshot::LayerStore& layers, cache::LocalStore& local, Clock& clock,
                                              const DiffId& layer, bool as_tree);

}  // namespace varve::exec
