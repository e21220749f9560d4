// Blobs that wait on the disk for a storage that reads them later (storage.h: KeepsUntilReplace).
//
// One file without a name, one descriptor however many blobs there are; the space is free when the spool and
// everything that Add returned are gone. Safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/guarded.h"
#include "tier/storage.h"

namespace varve::tier {

class Spool {
 public:
  // Nothing is made in `directory` before the first Add.
  explicit Spool(std::string directory) : directory_(std::move(directory)) {}

  // Opens what was written, also when the spool is gone.
  Result<OpenAt> Add(std::string_view bytes);

 private:
  struct File {
    std::shared_ptr<const Fd> fd;
    uint64_t end = 0;
  };
  const std::string directory_;
  Guarded<File> file_;
};

}  // namespace varve::tier
