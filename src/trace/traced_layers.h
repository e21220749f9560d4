// Layers of a build context as a file system that notes what a step asks of them.
//
// One FUSE mount per step with one directory per layer, each an overlayfs lower directory in its own
// right: whiteouts of other layers, merged directories and copy-up are the kernel's work, and the
// server knows single layers only. What is not in a layer is decided by the layers below it, which are
// in the step's key.
//
//   TRY_ASSIGN(auto traced, TracedLayers::Mount({"/…/fs"}, point));
//   … MountOverlay({.lowers = {k2, traced->Directory(0), k1}, …}) … run the step … unmount …
//   TRY_ASSIGN(Asked asked, traced->Finish());
//
// Each mount is used by one step: a second one would be answered from the kernel's caches and leave no
// notes. For the same reason a listing comes without attributes, and a read without the files beside it: they
// would answer questions that nobody asked. Of a step that has asked so many that whole directories will stand
// for its files, they are noted as if it had. Files are opened by the kernel alone (OPEN gets ENOSYS), so an
// open that reads nothing is no read. All timeouts are infinite: layers never change.
//
// The protocol is the kernel's include/uapi/linux/fuse.h, spoken directly: it is small, and libfuse's
// defaults are the opposite of what is needed here. Needs CAP_SYS_ADMIN in the mount's user namespace
// and /dev/fuse. Thread-safe; the server's threads never touch the mount themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tree/read_set.h"

namespace varve::trace {

// By layer, as given to Mount; each in the order of a walk.
using Asked = std::vector<std::vector<tree::Question>>;

class TracedLayers {
 public:
  struct Layer {
    std::string directory;    // the layer's files, in overlayfs form
    bool has_xattrs = false;  // some file has an extended attribute
  };

  // Of a step that has asked about more paths than these, whole directories will stand for its files:
  // tree::Coarsen is called with the same number.
  static constexpr size_t kExactPaths = 1000;

  // Mounts on `point`, an existing directory, in the calling process's mount namespace, and serves
  // until Finish or the destructor. kInvalid when there is no /dev/fuse, or the kernel lacks what the
  // protocol needs. `exact_paths`: fewer, for tests.
  static Result<std::unique_ptr<TracedLayers>> Mount(std::vector<Layer> layers, const std::string& point,
                                                     size_t exact_paths = kExactPaths);
  virtual ~TracedLayers() = default;

  virtual std::string Directory(size_t layer) const = 0;

  // Unmounts (whatever is stacked on it must be gone) and gives the notes. An error when the server
  // failed to answer anything: the notes would have a hole then, and the step must not be recorded.
  virtual Result<Asked> Finish() = 0;
};

}  // namespace varve::trace
