// A layer's directory in overlay form, as a list of entries.
//
// Order: a directory's entries by name, each directory's content right after it (Go's
// filepath.Walk, and so the order of the tars that containerd and BuildKit make). What overlayfs
// keeps for itself (trusted.overlay.*, user.overlay.*) never appears; sockets are left out, as tar
// has no form for them.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "archive/tar.h"
#include "base/clock.h"
#include "base/result.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

struct UpperEntry {
  std::string path;        // relative to the layer's directory
  tree::LayerEntry index;  // digest and capability of a file are filled in by WriteUpperTar
  Timestamp mtime;
  std::string hard_link_to;  // not empty: an earlier path of the same file
  bool sparse = false;       // has fewer blocks than bytes
};

// Lists everything below `directory`. kInvalid for a name that begins with ".wh.": in a tar it
// would remove something.
Result<std::vector<UpperEntry>> WalkUpper(const std::string& directory, std::stop_token stop);

// What announces the entry in a layer's tar. An opaque directory is followed by OpaqueHeader.
struct UpperHeader {
  archive::TarEntry entry;
  archive::LongNames names = archive::LongNames::kPax;
};
UpperHeader HeaderOf(const UpperEntry& entry);
UpperHeader OpaqueHeader(const std::string& directory);

// The entries in the order that a LayerIndex has: in each directory whiteouts first. The same for a
// committed layer and for the same layer unpacked from its tar.
tree::LayerIndex IndexOf(std::vector<tree::LayerEntry> entries);

// True when `a` comes before `b` in a walk.
bool WalkLess(std::string_view a, std::string_view b);

// The names that stand for removals in a layer's tar (image-spec layer.md, "Whiteouts").
inline constexpr std::string_view kWhiteoutPrefix = ".wh.";
inline constexpr std::string_view kOpaqueName = ".wh..wh..opq";

// The only attribute that layers' tars carry (reference exporters.md §7.6).
inline constexpr const char* kCapability = "security.capability";

// "trusted.overlay.…", "user.overlay.…" inside a user namespace.
std::string OverlayXattr(std::string_view name);
bool IsOverlayXattr(std::string_view name);

}  // namespace varve::snapshot
