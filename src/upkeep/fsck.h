// Looks over a root, and mends it by dropping what is damaged: nothing in it cannot be made again.
//
//   databases   SQLite's own check; each record's row against its file
//   records     checksum, key, and that the index's rows have their files. A file without a row is what
//               a process killed between the two leaves: it is entered, and no fault
//   blobs       content against digest
//   layers      files, index and meta against the diff id
//   trees       objects against digests; a record's tree against what its layers' indexes give
//   images      the manifest and all that it names
//   leftovers   of processes that died: in staging, tmp, locks, jobs, records and mounts
//
// A record whose layers were evicted is as it should be: records outlive layers. Running builds are
// no hindrance: what comes and goes meanwhile is not taken for damage.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "upkeep/inventory.h"

namespace varve::upkeep {

struct Finding {
  std::string object;   // "layer sha256:…", "record sha256:… ([2/3] RUN make)"
  std::string problem;  // "its files are not what the diff id names"
  std::string mended;   // what was done about it; empty: nothing
};

struct FsckOptions {
  bool repair = false;
  bool quick = false;  // contents of blobs and of layers' files are not read
  std::function<void(const std::string& what)> on_progress = {};
};

struct FsckReport {
  std::vector<Finding> findings;
  size_t records = 0, blobs = 0, layers = 0, trees = 0, images = 0;
};

Result<FsckReport> Fsck(const Stores& stores, const FsckOptions& options, std::stop_token stop);

}  // namespace varve::upkeep
