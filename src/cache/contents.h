// The local store seen from outside of a build: what collection, du, prune, fsck, history and
// explanations need. Nothing here notes a use.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "cache/step_record.h"

namespace varve::cache {

struct RecordUse {
  int64_t sequence = 0;  // grows with every Put of the store
  StepKey key;
  std::string slot;
  Digest op_digest;
  Timestamp created;
  Timestamp last_used;
  uint64_t uses = 0;
  Nanos wall{0};              // what it cost to make
  uint64_t new_bytes = 0;     // of layers
  uint64_t stored_bytes = 0;  // of the record itself
};

// A use of a layer is a need of its files: by a step that ran on them or read them, or by an
// export. A record that is merely looked up uses no layer.
struct LayerUse {
  DiffId layer;
  uint64_t tar_size = 0;
  Timestamp created;
  Timestamp last_used;
  uint64_t uses = 0;  // since it was made, at least an hour apart
  // What removing it frees, if somebody has measured it (NoteDiskBytes).
  std::optional<uint64_t> disk_bytes;
  // Layers that share files share what they take, so that disk_bytes changes when another one goes: an estimate.
  bool has_parts = false;
};

struct MeasuredLayer {
  DiffId layer;
  uint64_t disk_bytes = 0;
  bool has_parts = false;  // as in LayerUse
};

// Why a record is gone, or its layers are while it is still there: kept for 90 days, for `varve
// explain`.
struct DroppedRecord {
  StepKey key;
  std::string slot;
  std::string rule;  // "data is gone", "keep-storage 10GB", …
  Timestamp time;
};

class StoreContents {
 public:
  virtual ~StoreContents() = default;

  // Records put after `sequence`, oldest first.
  virtual Result<std::vector<RecordUse>> Records(int64_t after_sequence = 0) = 0;
  virtual Result<std::optional<StepRecord>> Read(const StepKey& key) = 0;
  virtual Status DropRecord(const StepKey& key, const std::string& rule) = 0;  // absent is fine
  virtual Result<std::optional<DroppedRecord>> WhyDropped(const StepKey& key) = 0;
  virtual Result<std::vector<DroppedRecord>> DroppedOf(const std::string& slot, size_t limit) = 0;

  virtual Result<std::vector<LayerUse>> Layers() = 0;
  virtual Status NoteDiskBytes(std::span<const MeasuredLayer> measured) = 0;
  // Records that lose their layers by `rule` and stay themselves. DropRecord, when a build finds out
  // later, keeps this rule and time.
  virtual Status NoteEvicted(std::span<const StepKey> keys, const std::string& rule) = 0;
  // Forgets the note, and the blobs made here; where a registry has it stays known.
  virtual Status ForgetLayer(const DiffId& layer) = 0;
  // Every blob of the blob store that some layer is available as.
  virtual Result<std::vector<std::pair<DiffId, Digest>>> StoredLayerBlobs() = 0;

  struct StoredMemo {
    std::string kind, key, value;
    Timestamp time;
  };
  virtual Result<std::vector<StoredMemo>> Memos() = 0;
  virtual Status ForgetMemos() = 0;

  // For fsck: what SQLite finds wrong with its files. With `repair` a file with a fault is made anew,
  // from the files beside it (which a fault that breaks the look itself does in any case, with a
  // Notice).
  virtual Result<std::vector<std::string>> CheckIndexes(bool repair) = 0;
  // Directory objects that are not what their digest says.
  virtual Result<std::vector<Digest>> DamagedTrees() = 0;

  virtual Result<std::vector<std::pair<ChainId, Digest>>> ChainTrees() = 0;
  virtual Status ForgetChainTree(const ChainId& chain) = 0;

  // Directory objects last put before `time`, with their sizes. A Put renews an object that is
  // older than a day, so that an object that a build of today relies on is never older than its
  // start less kTreeRenewal.
  static constexpr Nanos kTreeRenewal = std::chrono::hours(24);
  virtual Result<std::vector<std::pair<Digest, uint64_t>>> TreesPutBefore(Timestamp time) = 0;
  // Gives the space of removed rows back to the file system; takes a moment, and waits for nobody.
  virtual Status Compact() = 0;
  // Removes those of them that nobody has put since `time`.
  virtual Status RemoveTrees(std::span<const Digest> digests, Timestamp time) = 0;
};

}  // namespace varve::cache
