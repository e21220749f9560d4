// `--cache-to type=inline`, or BUILDKIT_INLINE_CACHE=1: the records of an image's own steps, in its config
// (tier/inline_records.h), and what they have looked at of other stages, whose layers are not in the image.
#pragma once

#include "export/image.h"
#include "job/build_flags.h"
#include "job/cache_offer.h"

namespace varve::job {

bool WantsInlineCache(const BuildFlags& flags);

// Into the config of `image`, which is the result of `root`.
Status AddInlineCache(const graph::Graph& graph, const std::optional<graph::Ref>& root, const StepRecords& records,
                      tree::TreeStore& trees, exporter::ImageInput& image);

}  // namespace varve::job
