// A stack of layers as one directory: an overlay mount, or a copy where overlay cannot be mounted.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/layer_store.h"

namespace varve::snapshot {

class RootfsMount {
 public:
  virtual ~RootfsMount() = default;             // unmounts
  virtual const std::string& path() const = 0;  // the merged directory
  // For a writable mount: unmounts and brings the changes into the draft's upper(), in overlay
  // form. In overlay mode they are there already; the copying fallback computes them.
  virtual Status Finish() = 0;
};

// `stack`: lowest first. `draft` null: read-only. Any number of layers, also none. `scratch` is an
// existing private directory for the mount point; without a draft, or where overlayfs does not do, on
// the file system of the layers. The mount is made in the calling process's mount namespace.
//
// A layer that occurs more than once counts where it is topmost, which gives the same files
// (overlayfs refuses one directory twice). The copy is made when overlayfs is not usable, or for
// more layers than it can stack. It differs in one way: when one of several hard links is removed,
// the others are part of the changes too.
Result<std::unique_ptr<RootfsMount>> MountRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                 LayerDraft* draft, const std::string& scratch);

// The same where overlayfs does, with some layers' files shown by another file system: the directory
// in which it does, by layer.
Result<std::unique_ptr<RootfsMount>> MountRootfs(LayerStore& layers, const std::vector<DiffId>& stack,
                                                 LayerDraft* draft, const std::string& scratch,
                                                 const std::map<DiffId, std::string>& shown_by);

// True when overlayfs can be mounted on this file system by this process; probed once per file
// system. VARVE_NO_OVERLAY=1 forces the copying fallback.
bool OverlayUsable(const std::string& root);

}  // namespace varve::snapshot
