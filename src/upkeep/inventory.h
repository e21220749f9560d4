// Everything that a state root holds, line by line, with what it takes on the disk: what du shows,
// and what prune and collection choose from.
//
// Taking an inventory reads all records and walks what has not been measured: milliseconds for a
// root of hundreds of layers, seconds for one of millions of files.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"
#include "cache/cache_mounts.h"
#include "cache/local_store.h"
#include "cas/blob_store.h"
#include "snapshot/layer_store.h"

namespace varve::upkeep {

// What a root is opened as, by those that look after it.
struct Stores {
  const std::string& root;
  cache::LocalStore& local;
  cas::BlobStore& blobs;
  snapshot::LayerStore& layers;
  Clock& clock;
};

// BuildKit's record types.
enum class UsageType { kRegular, kCacheMount, kLocalSource, kGitCheckout, kInternal };
std::string_view NameOf(UsageType type);

struct UsageRow {
  enum class Kind {
    kLayer,    // unpacked; id is the diff id
    kBlob,     // id is the digest
    kMount,    // a RUN cache mount; id is its directory's name
    kContext,  // the stat cache of a context directory
    kSynced,   // the copy of a client's directory (session/contexts.h); id is its path below <root>/synced
    kMirror,   // of a git remote
    kRecords,  // all step records, as files
    kFiles,    // anything else, one row an entry of the root
  };
  Kind kind = Kind::kFiles;
  UsageType type = UsageType::kInternal;
  std::string id;
  std::string description;
  std::vector<std::string> parents;
  uint64_t bytes = 0;
  std::optional<Timestamp> created, last_used;
  uint64_t uses = 0;
  bool in_use = false;  // a running build has it
  bool is_mutable = false;
  bool shared = false;  // a named image needs it
  double seconds = 0;   // what it took to make
  Digest digest;        // of a layer or blob
  std::string path;
};

// Whether some prune could remove it now.
bool IsReclaimable(const UsageRow& row);

struct InventoryRecord {
  cache::RecordUse use;
  std::string name;
  std::vector<std::vector<uint32_t>> stacks;  // rows of each output's layers; those that are gone are left out
  bool complete = true;                       // all its layers are here
};

struct Inventory {
  std::vector<UsageRow> rows;
  std::vector<InventoryRecord> records;
  std::unordered_map<Digest, uint32_t> layer_rows;
  // Blobs that are to stay although no image names them: manifests and configs of base images, and
  // bodies of ADD urls, so that an unchanged build needs no network.
  std::set<Digest> remembered_blobs;
  uint64_t bytes = 0;  // the sum of the rows
};

struct InventoryOptions {
  // Measures layers again that were measured before: their hard links may have changed hands.
  bool measure_all = true;
};

Result<Inventory> TakeInventory(const Stores& stores, const InventoryOptions& options);

}  // namespace varve::upkeep
