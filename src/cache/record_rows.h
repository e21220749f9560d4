// Records in the index and as files; see local_store.h.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "cache/contents.h"
#include "cache/index.h"

namespace varve::cache {

// Safe from any thread.
class RecordRows {
 public:
  RecordRows(std::string root, Index& index, Clock& clock) : root_(std::move(root)), index_(index), clock_(clock) {}

  Result<std::vector<std::optional<StepRecord>>> GetMany(const std::vector<StepKey>& keys);
  Status Put(const StepRecord& record);
  Status Drop(const StepKey& key, const std::string& rule);
  Result<std::vector<StepRecord>> Earlier(const std::string& slot, const Digest& op_digest, size_t limit);
  Result<std::vector<StepRecord>> Traced(const Digest& weak_key, size_t limit);
  Status NoteEvicted(std::span<const StepKey> keys, const std::string& rule);
  Status Flush();

  Result<std::vector<RecordUse>> List(int64_t after_sequence);
  Result<std::optional<StepRecord>> Read(const StepKey& key);
  Result<std::optional<DroppedRecord>> WhyDropped(const StepKey& key);
  Result<std::vector<DroppedRecord>> DroppedOf(const std::string& slot, size_t limit);

  // Puts every record file into a new index. Damaged files are removed.
  static Status Fill(Database& database, const std::string& root);

 private:
  struct Row;
  enum class RowState { kAbsent, kSound, kDamaged };
  Result<RowState> ReadRow(Database& database, const StepKey& key, std::optional<StepRecord>& out, int64_t* last_used);
  std::optional<StepRecord> Repair(Database& database, const StepKey& key);

  const std::string root_;
  Index& index_;
  Clock& clock_;
  Guarded<std::map<StepKey, int64_t>> uses_;  // when, for Flush
};

// Uses closer to the last one that is written down are not worth a write.
inline constexpr int64_t kUseInterval = int64_t{3600} * 1'000'000'000;

std::optional<Digest> DigestAt(const Database::Row& row, int column);

}  // namespace varve::cache
