#include "cache/layer_rows.h"

#include <utility>

#include "cache/record_rows.h"

namespace varve::cache {

using Value = Database::Value;

namespace {

Value Key(const auto& digest) { return Value::Blob(digest.value.raw()); }

}  // namespace

Status LayerRows::Note(const DiffId& layer, uint64_t tar_size) {
  int64_t now = clock_.Now().nanos;
  return index_.Do([&](Database& database) {
    return database.Run(
        "INSERT INTO layers(layer, tar_size, created, last_used) VALUES(?,?,?,?) "
        "ON CONFLICT DO UPDATE SET last_used=excluded.last_used",
        {Key(layer), Value::Int(static_cast<int64_t>(tar_size)), Value::Int(now), Value::Int(now)});
  });
}

void LayerRows::Used(const DiffId& layer) { uses_.Lock()->insert_or_assign(layer, clock_.Now().nanos); }

Status LayerRows::Flush() {
  std::map<DiffId, int64_t> uses = std::exchange(*uses_.Lock(), {});
  if (uses.empty()) return Ok();
  return index_.Do([&](Database& database) -> Status {
    std::vector<std::pair<DiffId, int64_t>> due;
    auto find_due = [&]() -> Status {
      for (const auto& [layer, time] : uses) {
        TRY(database.Run("SELECT last_used FROM layers WHERE layer=?", {Key(layer)}, [&](const Database::Row& row) {
          if (time - row.Int(0) >= kUseInterval) due.emplace_back(layer, time);
        }));
      }
      return Ok();
    };
    TRY(database.Reading(find_due));
    if (due.empty()) return Ok();
    return database.Transaction([&]() -> Status {
      for (const auto& [layer, time] : due) {
        TRY(database.Run("UPDATE layers SET last_used=max(last_used,?), uses=uses+1 WHERE layer=?",
                         {Value::Int(time), Key(layer)}));
      }
      return Ok();
    });
  });
}

Result<std::vector<LayerUse>> LayerRows::List() {
  std::vector<LayerUse> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    return database.Run(
        "SELECT layer, tar_size, created, last_used, uses, disk_bytes, has_parts FROM layers ORDER BY layer", {},
        [&](const Database::Row& row) {
          auto layer = DigestAt(row, 0);
          if (!layer) return;
          out.push_back({.layer = DiffId(*layer),
                         .tar_size = static_cast<uint64_t>(row.Int(1)),
                         .created = {row.Int(2)},
                         .last_used = {row.Int(3)},
                         .uses = static_cast<uint64_t>(row.Int(4)),
                         .disk_bytes = std::nullopt,
                         .has_parts = row.Int(6) != 0});
          if (row.Int(5) >= 0) out.back().disk_bytes = static_cast<uint64_t>(row.Int(5));
        });
  }));
  return out;
}

Status LayerRows::NoteDiskBytes(std::span<const MeasuredLayer> measured) {
  if (measured.empty()) return Ok();
  return index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      for (const MeasuredLayer& one : measured) {
        TRY(database.Run(
            "UPDATE layers SET disk_bytes=?, has_parts=? WHERE layer=?",
            {Value::Int(static_cast<int64_t>(one.disk_bytes)), Value::Int(one.has_parts ? 1 : 0), Key(one.layer)}));
      }
      return Ok();
    });
  });
}

Status LayerRows::Forget(const DiffId& layer) {
  return index_.Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      TRY(database.Run("DELETE FROM layer_blobs WHERE layer=? AND repository=''", {Key(layer)}));
      return database.Run("DELETE FROM layers WHERE layer=?", {Key(layer)});
    });
  });
}

Result<std::vector<std::vector<LayerBlob>>> LayerRows::Blobs(const std::vector<DiffId>& layers) {
  std::vector<std::vector<LayerBlob>> out;
  auto read_all = [&](Database& database) -> Status {
    for (size_t i = 0; i < layers.size(); ++i) {
      TRY(database.Run("SELECT blob, media_type, size, repository FROM layer_blobs WHERE layer=?", {Key(layers[i])},
                       [&](const Database::Row& row) {
                         auto blob = DigestAt(row, 0);
                         if (!blob) return;
                         out[i].push_back({*blob, std::string(row.Bytes(1)), static_cast<uint64_t>(row.Int(2)),
                                           std::string(row.Bytes(3))});
                       }));
    }
    return Ok();
  };
  TRY(index_.Do([&](Database& database) {
    out.assign(layers.size(), {});
    if (layers.size() == 1) return read_all(database);
    return database.Reading([&] { return read_all(database); });
  }));
  return out;
}

Status LayerRows::PutBlob(const DiffId& layer, const LayerBlob& blob) {
  return index_.Do([&](Database& database) {
    return database.Run("INSERT OR REPLACE INTO layer_blobs VALUES(?,?,?,?,?)",
                        {Key(layer), Value::Blob(blob.blob.raw()), Value::Text(blob.media_type),
                         Value::Int(static_cast<int64_t>(blob.size)), Value::Text(blob.repository)});
  });
}

Result<std::vector<std::pair<DiffId, Digest>>> LayerRows::StoredBlobs() {
  std::vector<std::pair<DiffId, Digest>> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    return database.Run("SELECT layer, blob FROM layer_blobs", {}, [&](const Database::Row& row) {
      auto layer = DigestAt(row, 0), blob = DigestAt(row, 1);
      if (layer && blob) out.emplace_back(DiffId(*layer), *blob);
    });
  }));
  return out;
}

Result<std::optional<Digest>> LayerRows::ChainTree(const ChainId& chain) {
  std::optional<Digest> tree;
  TRY(index_.Do([&](Database& database) {
    return database.Run("SELECT tree FROM chains WHERE chain=?", {Key(chain)},
                        [&](const Database::Row& row) { tree = DigestAt(row, 0); });
  }));
  return tree;
}

Status LayerRows::PutChainTree(const ChainId& chain, const Digest& tree_root) {
  return index_.Do([&](Database& database) {
    return database.Run("INSERT OR REPLACE INTO chains(chain, tree) VALUES(?,?)",
                        {Key(chain), Value::Blob(tree_root.raw())});
  });
}

Result<std::vector<std::pair<ChainId, Digest>>> LayerRows::ChainTrees() {
  std::vector<std::pair<ChainId, Digest>> out;
  TRY(index_.Do([&](Database& database) {
    out.clear();
    return database.Run("SELECT chain, tree FROM chains", {}, [&](const Database::Row& row) {
      auto chain = DigestAt(row, 0), tree = DigestAt(row, 1);
      if (chain && tree) out.emplace_back(ChainId(*chain), *tree);
    });
  }));
  return out;
}

Status LayerRows::ForgetChainTree(const ChainId& chain) {
  return index_.Do([&](Database& database) { return database.Run("DELETE FROM chains WHERE chain=?", {Key(chain)}); });
}

}  // namespace varve::cache
