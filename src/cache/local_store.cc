#include "cache/local_store.h"

#include <sys/stat.h>

#include "base/fd.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/image_files.h"
#include "cache/index.h"
#include "cache/layer_rows.h"
#include "cache/record_rows.h"
#include "cache/tree_rows.h"
#include "sys/open.h"

namespace varve::cache {

namespace {

using Value = Database::Value;

// Schema 1. Times are nanoseconds since the epoch, digests 32 bytes. To change it, add a script to
// kMigrations that brings schema 1 to 2; this one stays as it is.
constexpr const char* kSchema1 = R"(
  CREATE TABLE records(
    id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, slot TEXT NOT NULL,
    op BLOB NOT NULL, created INTEGER NOT NULL, last_used INTEGER NOT NULL, uses INTEGER NOT NULL,
    wall INTEGER NOT NULL, new_bytes INTEGER NOT NULL, body TEXT NOT NULL, preimage BLOB NOT NULL,
    log BLOB NOT NULL);
  CREATE INDEX records_by_slot ON records(slot, created);
  CREATE INDEX records_by_op ON records(op, created);
  CREATE TABLE dropped(
    key BLOB PRIMARY KEY, slot TEXT NOT NULL, rule TEXT NOT NULL, time INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE INDEX dropped_by_slot ON dropped(slot, time);
  CREATE INDEX dropped_by_time ON dropped(time);
  CREATE TABLE chains(chain BLOB PRIMARY KEY, tree BLOB NOT NULL) WITHOUT ROWID;
  CREATE TABLE layers(
    layer BLOB PRIMARY KEY, tar_size INTEGER NOT NULL, created INTEGER NOT NULL,
    last_used INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE layer_blobs(
    layer BLOB NOT NULL, blob BLOB NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    repository TEXT NOT NULL, PRIMARY KEY(layer, blob, repository)) WITHOUT ROWID;
  CREATE TABLE images(
    name TEXT PRIMARY KEY, manifest BLOB NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE memos(
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, time INTEGER NOT NULL,
    PRIMARY KEY(kind, key)) WITHOUT ROWID;
)";

// Schema 2: how often a layer was needed, and what it takes on the disk (-1: not measured).
constexpr const char* kSchema2 = R"(
  ALTER TABLE layers ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE layers ADD COLUMN disk_bytes INTEGER NOT NULL DEFAULT -1;
)";

// Schema 3: which records may stand for steps of other keys, and of which run each is (RunOf). Records that
// are older are found by their keys alone.
constexpr const char* kSchema3 = R"(
  ALTER TABLE records ADD COLUMN weak BLOB NOT NULL DEFAULT x'';
  ALTER TABLE records ADD COLUMN run BLOB NOT NULL DEFAULT x'';
  CREATE INDEX records_by_weak ON records(weak, run) WHERE weak<>x'';
)";

// Schema 4: of a layer that shares files with others, what it took when it was last measured.
constexpr const char* kSchema4 = R"(
  ALTER TABLE layers ADD COLUMN has_parts INTEGER NOT NULL DEFAULT 0;
)";

constexpr const char* kDisowned = "disowned-trace";  // kind of memos

Status PutImageRow(Database& database, const StoredImage& image) {
  return database.Run("INSERT OR REPLACE INTO images VALUES(?,?,?)",
                      {Value::Text(image.name), Value::Blob(image.manifest.raw()), Value::Int(image.updated.nanos)});
}

// Layers as module snapshot leaves them: <root>/layers/<hex>/size, decimal.
Status FillLayers(Database& database, const std::string& root) {
  auto top = sys::OpenDir(root + "/layers");
  if (!top && top.error().code == Code::kNotFound) return Ok();
  if (!top) return std::move(top).error();
  TRY_ASSIGN(auto entries, sys::ListDirectory(top->get()));
  for (const sys::DirEntry& entry : entries) {
    auto digest = Digest::ParseHex(entry.name);
    if (!digest) continue;
    std::string file = fmt::format("{}/layers/{}/size", root, entry.name);
    auto text = ReadFile(file, 100);
    auto size = text ? ParseInt(TrimSpace(*text)) : std::nullopt;
    struct stat st;
    if (!size || *size < 0 || stat(file.c_str(), &st) != 0) continue;
    auto made = Value::Int(st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec);
    TRY(
        database.Run("INSERT OR IGNORE INTO layers(layer, tar_size, created, last_used) "
                     "VALUES(?,?,?,?)",
                     {Value::Blob(digest->raw()), Value::Int(*size), made, made}));
  }
  return Ok();
}

Status Fill(Database& database, const std::string& root) {
  TRY(RecordRows::Fill(database, root));
  TRY_ASSIGN(std::vector<StoredImage> images, ReadImageFiles(root));
  for (const StoredImage& image : images) TRY(PutImageRow(database, image));
  return FillLayers(database, root);
}

class SqliteStore final : public LocalStore, public StoreContents {
 public:
  SqliteStore(const std::string& root, Clock& clock, std::unique_ptr<Index> index)
      : root_(root), clock_(clock), index_(std::move(index)), records_(root, *index_, clock), trees_(root, clock),
        layers_(*index_, clock) {}

  // --- RecordStore
  // -----------------------------------------------------------------------------------
  Result<std::vector<std::optional<StepRecord>>> GetMany(const std::vector<StepKey>& keys) override {
    return records_.GetMany(keys);
  }
  Status Put(const StepRecord& record) override {
    TRY(trees_.PutDue());
    return records_.Put(record);
  }
  Status Drop(const StepKey& key) override { return records_.Drop(key, "its data is gone"); }
  Result<std::vector<StepRecord>> Earlier(const std::string& slot, const Digest& op_digest, size_t limit) override {
    return records_.Earlier(slot, op_digest, limit);
  }
  Result<std::vector<StepRecord>> Traced(const Digest& weak_key, size_t limit) override {
    return records_.Traced(weak_key, limit);
  }
  Status Disown(const Digest& weak_key, const std::string& why) override {
    return PutMemo(kDisowned, weak_key.Hex(), {why, clock_.Now()});
  }
  Result<std::optional<std::string>> WhyDisowned(const Digest& weak_key) override {
    TRY_ASSIGN(auto memo, GetMemo(kDisowned, weak_key.Hex()));
    return memo ? std::optional(std::move(memo->value)) : std::nullopt;
  }
  Result<std::map<Digest, std::string>> Disowned() override {
    std::map<Digest, std::string> disowned;
    TRY(index_->Do([&](Database& database) {
      return database.Run("SELECT key, value FROM memos WHERE kind=?", {Value::Text(kDisowned)},
                          [&](const Database::Row& row) {
                            if (auto key = Digest::ParseHex(row.Bytes(0))) disowned[*key] = row.Bytes(1);
                          });
    }));
    return disowned;
  }

  // --- TreeStore
  // -------------------------------------------------------------------------------------
  Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest) override { return trees_.Get(digest); }
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override { return trees_.Put(objects); }
  Status PutLater(std::vector<std::pair<Digest, std::string>> objects) override {
    return trees_.PutLater(std::move(objects));
  }

  // --- Layers and chains
  // -----------------------------------------------------------------------------
  Result<std::optional<Digest>> GetChainTree(const ChainId& chain) override { return layers_.ChainTree(chain); }
  Status PutChainTree(const ChainId& chain, const Digest& tree_root) override {
    TRY(trees_.PutDue());
    return layers_.PutChainTree(chain, tree_root);
  }
  Result<std::vector<LayerBlob>> FindLayerBlobs(const DiffId& layer) override {
    TRY_ASSIGN(auto found, layers_.Blobs({layer}));
    return std::move(found[0]);
  }
  Result<std::vector<std::vector<LayerBlob>>> FindBlobsOfLayers(const std::vector<DiffId>& layers) override {
    return layers_.Blobs(layers);
  }
  Status PutLayerBlob(const DiffId& layer, const LayerBlob& blob) override { return layers_.PutBlob(layer, blob); }
  Status NoteLayer(const DiffId& layer, uint64_t tar_size) override { return layers_.Note(layer, tar_size); }
  void UsedLayer(const DiffId& layer) override { layers_.Used(layer); }

  // --- Images and memos
  // ------------------------------------------------------------------------------
  Result<std::optional<StoredImage>> GetImage(const std::string& name) override {
    std::optional<StoredImage> image;
    TRY(index_->Do([&](Database& database) {
      return database.Run("SELECT manifest, updated FROM images WHERE name=?", {Value::Text(name)},
                          [&](const Database::Row& row) {
                            if (auto digest = DigestAt(row, 0)) {
                              image = StoredImage{name, *digest, {row.Int(1)}};
                            }
                          });
    }));
    return image;
  }

  Status PutImage(const StoredImage& image) override {
    TRY_ASSIGN(auto known, GetImage(image.name));
    if (known && known->manifest == image.manifest && HasImageFile(root_, image.name)) return Ok();
    TRY(WriteImageFile(root_, image));
    return index_->Do([&](Database& database) { return PutImageRow(database, image); });
  }

  Result<std::vector<StoredImage>> ListImages() override {
    std::vector<StoredImage> out;
    TRY(index_->Do([&](Database& database) {
      out.clear();
      return database.Run("SELECT name, manifest, updated FROM images ORDER BY name", {},
                          [&](const Database::Row& row) {
                            if (auto digest = DigestAt(row, 1)) {
                              out.push_back({std::string(row.Bytes(0)), *digest, {row.Int(2)}});
                            }
                          });
    }));
    return out;
  }

  Status RemoveImage(const std::string& name) override {
    TRY(RemoveImageFile(root_, name));
    return index_->Do(
        [&](Database& database) { return database.Run("DELETE FROM images WHERE name=?", {Value::Text(name)}); });
  }

  Result<std::optional<Memo>> GetMemo(const std::string& kind, const std::string& key) override {
    std::optional<Memo> memo;
    TRY(index_->Do([&](Database& database) {
      return database.Run("SELECT value, time FROM memos WHERE kind=? AND key=?", {Value::Text(kind), Value::Text(key)},
                          [&](const Database::Row& row) {
                            memo = Memo{std::string(row.Bytes(0)), {row.Int(1)}};
                          });
    }));
    return memo;
  }

  Status PutMemo(const std::string& kind, const std::string& key, const Memo& memo) override {
    return index_->Do([&](Database& database) {
      return database.Run("INSERT OR REPLACE INTO memos VALUES(?,?,?,?)",
                          {Value::Text(kind), Value::Text(key), Value::Blob(memo.value), Value::Int(memo.time.nanos)});
    });
  }

  Status Flush() override {
    TRY(records_.Flush());
    TRY(layers_.Flush());
    TRY(trees_.ShortenLog());
    return index_->ShortenLog();
  }

  StoreContents& contents() override { return *this; }

  std::string Notice() override {
    std::string notice = index_->Notice(), more = trees_.Notice();
    return notice.empty() || more.empty() ? notice + more : notice + "; " + more;
  }

  // --- StoreContents
  // ---------------------------------------------------------------------------------
  Result<std::vector<RecordUse>> Records(int64_t after_sequence) override { return records_.List(after_sequence); }
  Result<std::optional<StepRecord>> Read(const StepKey& key) override { return records_.Read(key); }
  Status DropRecord(const StepKey& key, const std::string& rule) override { return records_.Drop(key, rule); }
  Result<std::optional<DroppedRecord>> WhyDropped(const StepKey& key) override { return records_.WhyDropped(key); }
  Result<std::vector<DroppedRecord>> DroppedOf(const std::string& slot, size_t limit) override {
    return records_.DroppedOf(slot, limit);
  }
  Result<std::vector<LayerUse>> Layers() override { return layers_.List(); }
  Status NoteDiskBytes(std::span<const MeasuredLayer> measured) override { return layers_.NoteDiskBytes(measured); }
  Status NoteEvicted(std::span<const StepKey> keys, const std::string& rule) override {
    return records_.NoteEvicted(keys, rule);
  }
  Status ForgetLayer(const DiffId& layer) override { return layers_.Forget(layer); }
  Result<std::vector<std::pair<DiffId, Digest>>> StoredLayerBlobs() override { return layers_.StoredBlobs(); }
  Result<std::vector<StoredMemo>> Memos() override {
    std::vector<StoredMemo> out;
    TRY(index_->Do([&](Database& database) {
      out.clear();
      return database.Run("SELECT kind, key, value, time FROM memos ORDER BY kind, key", {},
                          [&](const Database::Row& row) {
                            out.push_back({.kind = std::string(row.Bytes(0)),
                                           .key = std::string(row.Bytes(1)),
                                           .value = std::string(row.Bytes(2)),
                                           .time = {row.Int(3)}});
                          });
    }));
    return out;
  }
  Status ForgetMemos() override {
    return index_->Do([](Database& database) { return database.Run("DELETE FROM memos"); });
  }
  Result<std::vector<std::string>> CheckIndexes(bool repair) override {
    std::vector<std::string> problems;
    TRY(index_->Check(repair, problems));
    TRY(trees_.Check(repair, problems));
    return problems;
  }
  Result<std::vector<Digest>> DamagedTrees() override { return trees_.Damaged(); }
  Result<std::vector<std::pair<ChainId, Digest>>> ChainTrees() override { return layers_.ChainTrees(); }
  Status ForgetChainTree(const ChainId& chain) override { return layers_.ForgetChainTree(chain); }
  Result<std::vector<std::pair<Digest, uint64_t>>> TreesPutBefore(Timestamp time) override {
    return trees_.PutBefore(time);
  }
  Status Compact() override {
    TRY(index_->Do([](Database& database) { return database.RunScript("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"); }));
    return trees_.Compact();
  }
  Status RemoveTrees(std::span<const Digest> digests, Timestamp time) override { return trees_.Remove(digests, time); }

 private:
  const std::string root_;
  Clock& clock_;
  std::unique_ptr<Index> index_;
  RecordRows records_;
  TreeRows trees_;
  LayerRows layers_;
};

}  // namespace

Result<OpenedStore> OpenLocalStore(const std::string& root, Clock& clock) {
  METRIC("cache.open");
  TRY_ASSIGN(std::unique_ptr<Index> index,
             Index::Open({.path = root + "/index.db",
                          .name = "the cache index",
                          .migrations = {kSchema1, kSchema2, kSchema3, kSchema4},
                          .fill = [root](Database& database) { return Fill(database, root); }},
                         clock));
  OpenedStore opened;
  opened.store = std::make_unique<SqliteStore>(root, clock, std::move(index));
  opened.notice = opened.store->Notice();
  return opened;
}

}  // namespace varve::cache
