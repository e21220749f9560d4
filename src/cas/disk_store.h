// Blobs as plain files: <root>/blobs/sha256/ab/<64 hex digits>, mode 0444.
//
// A blob is written to <root>/staging/blob-<pid>-<n>, which its writer keeps locked (flock), and
// becomes visible by rename(2) after its digest is known. A staging file without a lock belongs to
// a dead writer; opening a store removes those.
//
// Rename, rather than link(2) that would keep an equal blob that is already there: it heals a file
// that a power failure cut short, and renews the blob's time, which tells a collection that
// somebody made it just now. (O_TMPFILE would leave nothing to clean up, but not every file system
// has it, and linkat cannot replace.)
#pragma once

#include "cas/blob_store.h"

namespace varve::cas {

class DiskStore final : public BlobStore {
 public:
  // Missing directories are made. kInvalid, with a hint, where they cannot be.
  static Result<std::unique_ptr<DiskStore>> Open(const std::string& root, const DiskOptions& options = {});

  Result<std::optional<BlobStat>> Stat(const Digest& digest) override;
  Result<std::unique_ptr<Reader>> Open(const Digest& digest) override;
  Result<std::unique_ptr<BlobWriter>> Create() override;
  Status Remove(const Digest& digest) override;
  Status ForEachStat(const std::function<Status(const BlobStat&)>& visit) override;

  // Where the blob is, if it is there: for sendfile, hard links and tools.
  std::string PathOf(const Digest& digest) const;

 private:
  class DraftBlob;
  DiskStore(const std::string& root, const DiskOptions& options);

  const std::string blobs_;
  const std::string staging_;
  const DiskOptions options_;
};

// Removes the staging files of dead writers; those of live ones stay.
Status RemoveDeadDrafts(const std::string& staging);

}  // namespace varve::cas
