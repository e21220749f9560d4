#include "exec/layer_content.h"

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "tree/layer_index.h"

namespace varve::exec {

namespace {

constexpr const char* kMemo = "layer-content";

}  // namespace

Result<engine::LayerContent> ReadLayerContent(snapshot::LayerStore& layers, cache::LocalStore& local, Clock& clock,
                                              const DiffId& layer, bool as_tree) {
  if (!as_tree) {
    auto memo = local.GetMemo(kMemo, layer.Hex());
    auto digest = memo && *memo ? Digest::Parse((*memo)->value) : Result<Digest>(NotFound("no memo"));
    if (digest) return engine::LayerContent{.digest = *digest, .tree = {}};
  }
  METRIC("exec.layer_content");
  TRY_ASSIGN(tree::LayerIndex index, layers.Index(layer));
  engine::LayerContent content{.digest = Digest::Of(tree::EncodeLayerIndex(index)), .tree = {}};
  bool alone = std::ranges::none_of(
      index, [](const tree::LayerEntry& entry) { return entry.whiteout || entry.opaque || entry.implicit; });
  if (as_tree && alone) {
    TRY_ASSIGN(content.tree, tree::ApplyLayer(local, tree::EmptyTree(), index));
    content.has_xattrs = std::ranges::any_of(index, [](const auto& entry) { return !entry.node.xattrs.empty(); });
  }
  if (as_tree) return content;
  if (Status put = local.PutMemo(kMemo, layer.Hex(), {content.digest.ToString(), clock.Now()}); !put) {
    LOG_WARN("{}", put.error().message);
  }
  return content;
}

}  // namespace varve::exec
