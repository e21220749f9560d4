// Two layers that one step made in two runs, file by file.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "snapshot/layer_store.h"
#include "verify/content_cause.h"

namespace varve::verify {

struct FileDifference {
  enum class Kind {
    kOnlyFirst,
    kOnlySecond,
    kType,
    kContent,
    kMode,
    kOwner,
    kTarget,
    kDevice,
    kXattr,
    kTime,
    kHardLink,
    kRemoval,
  };
  std::string path;
  Kind kind = Kind::kContent;
  std::string first, second;            // what each has, for people; of content: the text there
  std::optional<ContentCause> content;  // kContent of a file
};

std::string_view KindName(FileDifference::Kind kind);  // "only-first", "content", "mode", …

struct CompareOptions {
  // Times are compared as the image would have them, none later than this; nothing: not at all.
  std::optional<Timestamp> clamp_times;
};

// In the order of a walk; a path may come several times, once for each thing that differs. Both layers
// must be in the store (kNotFound).
Result<std::vector<FileDifference>> CompareLayers(snapshot::LayerStore& layers, const DiffId& first,
                                                  const DiffId& second, const CompareOptions& options,
                                                  std::stop_token stop);

}  // namespace varve::verify
