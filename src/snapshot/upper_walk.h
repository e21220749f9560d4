// A layer's directory in overlay form, as the entries of its tar and of its index.
//
// Order: a directory's entries by name, each directory's content right after it (Go's filepath.Walk).
// What overlayfs keeps for itself (trusted.overlay.*, user.overlay.*) never appears.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "archive/tar.h"
#include "base/io.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

struct UpperEntry {
  std::string path;                 // relative to the layer's directory
  tree::LayerEntry index;           // digest of a file not filled in
  Timestamp mtime;
  std::string hard_link_to;         // not empty: an earlier path of the same file
};

// Lists everything below `directory`.
Result<std::vector<UpperEntry>> WalkUpper(const std::string& directory, std::stop_token stop);

// Writes the tar of the listed entries.
Status WriteUpperTar(const std::string& directory, const std::vector<UpperEntry>& entries,
                     Writer& out, std::stop_token stop);

// The names that stand for removals in a layer's tar (image-spec layer.md, "Whiteouts").
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";

// "trusted.overlay." for root, "user.overlay." inside a user namespace.
std::string OverlayXattr(std::string_view name);

}  // namespace varve::snapshot
