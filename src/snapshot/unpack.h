// From a layer's tar to a directory in overlay form.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "snapshot/layer_store.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

struct UnpackedLayer {
  tree::LayerIndex index;
  bool reproducible = false;  // every byte was as WriteUpperTar makes it from the files
};

// Writes the entries of the tar into `directory`, which is empty and which nobody else changes, and
// reads the stream to its end. Rules, as containerd's except where noted:
//  - names are cleaned: "/a", "x/../a" and "a" are one; a name that climbs out ("../a") is kInvalid;
//  - parents that are symlinks of this layer are followed inside the root, and so are those that the
//    stack below shows and the layer does not list (containerd would replace such a link by a
//    directory). The latter makes the result depend on the stack of the first unpacking. A parent that
//    is no directory is kInvalid;
//  - of two entries with one name the later wins; a directory over a directory merges;
//  - a hard link to what the layer does not have and the stack below shows brings that file up into
//    this layer first, as overlayfs does; the result then depends on the stack of the first unpacking.
//    One to what is nowhere is kCorrupt, one to a directory kInvalid;
//  - ".wh.NAME" becomes a whiteout unless the layer has NAME itself, then it only hides what NAME
//  has
//    below; ".wh..wh..opq" makes its directory opaque; other ".wh..wh." entries, of aufs, are
//    skipped;
//  - devices are skipped in a user namespace, where they cannot be made; 0:0 character devices,
//  which
//    would be whiteouts, are kInvalid;
//  - overlayfs's own xattrs are never set; what the file system does not support is left out.
Result<UnpackedLayer> UnpackInto(const std::string& directory, LayerStore& store, const std::vector<DiffId>& below,
                                 Reader& tar, std::stop_token stop);

}  // namespace varve::snapshot
