#include "cache/record_rows.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "sys/open.h"

namespace varve::cache {

namespace {

using Value = Database::Value;

constexpr int64_t kDroppedKept = int64_t{90} * 24 * 3600 * 1'000'000'000;

std::string FileOf(const std::string& root, const StepKey& key) {
  std::string hex = key.Hex();
  return fmt::format("{}/records/{}/{}.json", root, hex.substr(0, 2), hex);
}

Status WriteFile(const std::string& path, const std::string& text) {
  Status written = WriteFileAtomically(path, text, 0600);
  if (written || written.error().code != Code::kNotFound) return written;
  TRY(sys::MkdirAll(path.substr(0, path.rfind('/')), 0700));
  return WriteFileAtomically(path, text, 0600);
}

Status PutRow(Database& database, const StepRecord& record) {
  RecordParts parts = SplitRecord(record);
  // Of two processes that made the same record, the later wins; uses start anew with it.
  return database.Run(
      "INSERT OR REPLACE INTO records"
      "(key, slot, op, created, last_used, uses, wall, new_bytes, body, preimage, log, weak, run) "
      "VALUES(?,?,?,?,?,0,?,?,?,?,?,?,?)",
      {Value::Blob(record.key.value.raw()), Value::Text(record.slot), Value::Blob(record.op_digest.raw()),
       Value::Int(record.created.nanos), Value::Int(record.created.nanos), Value::Int(record.wall.count()),
       Value::Int(static_cast<int64_t>(record.new_bytes)), Value::Blob(parts.body), Value::Blob(parts.preimage),
       Value::Blob(parts.log), Value::Blob(record.trace ? record.trace->weak_key.raw() : ""),
       Value::Blob(record.trace ? RunOf(record).raw() : "")});
}

// Removes the row and notes why.
Status DropRow(Database& database, const StepKey& key, const std::string& rule, int64_t now) {
  // Where a collection took its layers before, that is the reason to tell.
  TRY(
      database.Run("INSERT OR IGNORE INTO dropped(key, slot, rule, time) "
                   "SELECT key, slot, ?, ? FROM records WHERE key=?",
                   {Value::Text(rule), Value::Int(now), Value::Blob(key.value.raw())}));
  return database.Run("DELETE FROM records WHERE key=?", {Value::Blob(key.value.raw())});
}

DroppedRecord DroppedIn(const Database::Row& row) {
  return {.key = StepKey(DigestAt(row, 0).value_or(Digest())),
          .slot = std::string(row.Bytes(1)),
          .rule = std::string(row.Bytes(2)),
          .time = {row.Int(3)}};
}

}  // namespace

std::optional<Digest> DigestAt(const Database::Row& row, int column) {
  std::string_view bytes = row.Bytes(column);
  if (bytes.size() != Digest::kSize) return std::nullopt;
  return Digest::FromBytes(bytes);
}

// The file is the other copy of a damaged row.
std::optional<StepRecord> RecordRows::Repair(Database& database, const StepKey& key) {
  Counter("cache.records.damaged").Add();
  auto text = ReadFile(FileOf(root_, key));
  auto record = text ? DecodeRecord(*text) : Result<StepRecord>(Error(text.error()));
  if (record && record->key == key && PutRow(database, *record)) {
    LOG_WARN("record {} was damaged in the index and was taken from its file", key.ToString());
    return std::move(*record);
  }
  LOG_WARN("record {} is damaged and was dropped", key.ToString());
  Status dropped = DropRow(database, key, "its record was damaged", clock_.Now().nanos);
  if (!dropped) LOG_WARN("{}", dropped.error().message);
  unlink(FileOf(root_, key).c_str());
  return std::nullopt;
}

Result<RecordRows::RowState> RecordRows::ReadRow(Database& database, const StepKey& key, std::optional<StepRecord>& out,
                                                 int64_t* last_used) {
  bool found = false;
  Result<StepRecord> record = Internal("no row");
  TRY(database.Run("SELECT body, preimage, log, last_used FROM records WHERE key=?", {Value::Blob(key.value.raw())},
                   [&](const Database::Row& row) {
                     found = true;
                     record = JoinRecord(row.Bytes(0), row.Bytes(1), row.Bytes(2));
                     *last_used = row.Int(3);
                   }));
  if (!found) return RowState::kAbsent;
  if (!record || record->key != key) return RowState::kDamaged;
  out = std::move(*record);
  return RowState::kSound;
}

Result<std::vector<std::optional<StepRecord>>> RecordRows::GetMany(const std::vector<StepKey>& keys) {
  METRIC("cache.get_many");
  std::vector<std::optional<StepRecord>> out;
  int64_t now = clock_.Now().nanos;
  Status read = index_.Do([&](Database& database) -> Status {
    std::vector<size_t> damaged;
    auto read_all = [&]() -> Status {
      out.assign(keys.size(), {});
      for (size_t i = 0; i < keys.size(); ++i) {
        int64_t last_used = now;
        TRY_ASSIGN(RowState state, ReadRow(database, keys[i], out[i], &last_used));
        if (state == RowState::kDamaged) damaged.push_back(i);
        if (out[i] && now - last_used >= kUseInterval) uses_.Lock()->insert_or_assign(keys[i], now);
      }
      return Ok();
    };
    TRY(database.Reading(read_all));
    for (size_t i : damaged) out[i] = Repair(database, keys[i]);
    return Ok();
  });
  TRY(read);
  return out;
}

Result<std::optional<StepRecord>> RecordRows::Read(const StepKey& key) {
  std::optional<StepRecord> record;
  Status read = index_.Do([&](Database& database) -> Status {
    int64_t last_used = 0;
    TRY_ASSIGN(RowState state, ReadRow(database, key, record, &last_used));
    if (state == RowState::kDamaged) record = Repair(database, key);
    return Ok();
  });
  TRY(read);
  return record;
}

// The layer on top of each output is the one that the step made; it was made just now.
Status NoteLayers(Database& database, const StepRecord& record, int64_t now) {
  for (const Rootfs& output : record.outputs) {
    if (output.layers.empty()) continue;
    TRY(
        database.Run("INSERT INTO layers(layer, tar_size, created, last_used) VALUES(?,?,?,?) "
                     "ON CONFLICT DO UPDATE SET last_used=max(last_used, excluded.last_used)",
                     {Value::Blob(output.layers.back().value.raw()), Value::Int(static_cast<int64_t>(record.new_bytes)),
                      Value::Int(now), Value::Int(now)}));
  }
  return Ok();
}

Status RecordRows::Put(const StepRecord& record) {
  METRIC("cache.put_record");
  // The file first: what the index names can always be rebuilt.
  TRY(WriteFile(FileOf(root_, record.key), EncodeRecord(record)));
  return index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      TRY(PutRow(database, record));
      TRY(NoteLayers(database, record, clock_.Now().nanos));
      return database.Run("DELETE FROM dropped WHERE key=?", {Value::Blob(record.key.value.raw())});
    });
  });
}

Status RecordRows::Drop(const StepKey& key, const std::string& rule) {
  int64_t now = clock_.Now().nanos;
  Status dropped = index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      TRY(DropRow(database, key, rule, now));
      return database.Run("DELETE FROM dropped WHERE time<?", {Value::Int(now - kDroppedKept)});
    });
  });
  TRY(std::move(dropped));
  // The file last: a process killed before this leaves a file that nobody asks for, and not a row whose
  // file is lost.
  std::string file = FileOf(root_, key);
  if (unlink(file.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove " + file);
  return Ok();
}

Status RecordRows::NoteEvicted(std::span<const StepKey> keys, const std::string& rule) {
  if (keys.empty()) return Ok();
  int64_t now = clock_.Now().nanos;
  return index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      for (const StepKey& key : keys) {
        TRY(
            database.Run("INSERT OR IGNORE INTO dropped(key, slot, rule, time) "
                         "SELECT key, slot, ?, ? FROM records WHERE key=?",
                         {Value::Text(rule), Value::Int(now), Value::Blob(key.value.raw())}));
      }
      return Ok();
    });
  });
}

Result<std::vector<StepRecord>> RecordRows::Earlier(const std::string& slot, const Digest& op_digest, size_t limit) {
  std::vector<StepRecord> out;
  Status read = index_.Do([&](Database& database) -> Status {
    out.clear();
    std::set<StepKey> seen;
    auto add = [&](const Database::Row& row) {
      if (out.size() >= limit) return;
      auto record = JoinRecord(row.Bytes(0), row.Bytes(1), row.Bytes(2));
      // A damaged one is dealt with when somebody asks for it by key.
      if (record && seen.insert(record->key).second) out.push_back(std::move(*record));
    };
    auto most = Value::Int(static_cast<int64_t>(limit));
    TRY(
        database.Run("SELECT body, preimage, log FROM records WHERE slot=? "
                     "ORDER BY created DESC, id DESC LIMIT ?",
                     {Value::Text(slot), most}, add));
    if (out.size() >= limit) return Ok();
    return database.Run(
        "SELECT body, preimage, log FROM records WHERE op=? "
        "ORDER BY created DESC, id DESC LIMIT ?",
        {Value::Blob(op_digest.raw()), most}, add);
  });
  TRY(read);
  return out;
}

Result<std::vector<StepRecord>> RecordRows::Traced(const Digest& weak_key, size_t limit) {
  std::vector<StepRecord> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    // SQLite takes the other columns from the row that has the maximum.
    return database.Run(
        "SELECT body, preimage, log, max(id) FROM records WHERE weak=? AND weak<>x'' GROUP BY run "
        "ORDER BY created DESC, max(id) DESC LIMIT ?",
        {Value::Blob(weak_key.raw()), Value::Int(static_cast<int64_t>(limit))}, [&](const Database::Row& row) {
          auto record = JoinRecord(row.Bytes(0), row.Bytes(1), row.Bytes(2));
          if (record) out.push_back(std::move(*record));
        });
  }));
  return out;
}

Status RecordRows::Flush() {
  std::map<StepKey, int64_t> uses = std::exchange(*uses_.Lock(), {});
  if (uses.empty()) return Ok();
  return index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      for (const auto& [key, time] : uses) {
        // Another process may have noted a later use.
        TRY(database.Run("UPDATE records SET last_used=max(last_used,?), uses=uses+1 WHERE key=?",
                         {Value::Int(time), Value::Blob(key.value.raw())}));
      }
      return Ok();
    });
  });
}

Result<std::vector<RecordUse>> RecordRows::List(int64_t after_sequence) {
  std::vector<RecordUse> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    return database.Run(
        "SELECT id, key, slot, op, created, last_used, uses, wall, new_bytes, "
        "length(body)+length(preimage)+length(log) FROM records WHERE id>? ORDER BY id",
        {Value::Int(after_sequence)}, [&](const Database::Row& row) {
          auto key = DigestAt(row, 1), op = DigestAt(row, 3);
          if (!key || !op) return;
          out.push_back({.sequence = row.Int(0),
                         .key = StepKey(*key),
                         .slot = std::string(row.Bytes(2)),
                         .op_digest = *op,
                         .created = {row.Int(4)},
                         .last_used = {row.Int(5)},
                         .uses = static_cast<uint64_t>(row.Int(6)),
                         .wall = Nanos(row.Int(7)),
                         .new_bytes = static_cast<uint64_t>(row.Int(8)),
                         .stored_bytes = static_cast<uint64_t>(row.Int(9))});
        });
  }));
  return out;
}

Result<std::optional<DroppedRecord>> RecordRows::WhyDropped(const StepKey& key) {
  std::optional<DroppedRecord> dropped;
  TRY(index_.Do([&](Database& database) {
    return database.Run("SELECT key, slot, rule, time FROM dropped WHERE key=?", {Value::Blob(key.value.raw())},
                        [&](const Database::Row& row) { dropped = DroppedIn(row); });
  }));
  return dropped;
}

Result<std::vector<DroppedRecord>> RecordRows::DroppedOf(const std::string& slot, size_t limit) {
  std::vector<DroppedRecord> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    return database.Run(
        "SELECT key, slot, rule, time FROM dropped WHERE slot=? "
        "ORDER BY time DESC LIMIT ?",
        {Value::Text(slot), Value::Int(static_cast<int64_t>(limit))},
        [&](const Database::Row& row) { out.push_back(DroppedIn(row)); });
  }));
  return out;
}

Status RecordRows::Fill(Database& database, const std::string& root) {
  auto top = sys::OpenDir(root + "/records");
  if (!top && top.error().code == Code::kNotFound) return Ok();
  if (!top) return std::move(top).error();
  TRY_ASSIGN(auto shards, sys::ListDirectory(top->get()));
  for (const sys::DirEntry& shard : shards) {
    std::string directory = fmt::format("{}/records/{}", root, shard.name);
    auto shard_fd = sys::OpenDir(directory);
    if (!shard_fd) continue;  // a foreign file
    TRY_ASSIGN(auto files, sys::ListDirectory(shard_fd->get()));
    for (const sys::DirEntry& file : files) {
      if (!file.name.ends_with(".json")) continue;  // being written just now
      std::string path = directory + "/" + file.name;
      auto text = ReadFile(path);
      if (!text) continue;
      auto record = DecodeRecord(*text);
      if (record) {
        TRY(PutRow(database, *record));
      } else {
        LOG_WARN("{}: {}; removed", path, record.error().message);
        unlink(path.c_str());
      }
    }
  }
  return Ok();
}

}  // namespace varve::cache
