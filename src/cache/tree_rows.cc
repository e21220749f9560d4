#include "cache/tree_rows.h"

#include <algorithm>

#include "base/log.h"
#include "base/metric.h"
#include "cache/contents.h"
#include "cache/record_rows.h"

namespace varve::cache {

namespace {

using Value = Database::Value;

// Schema 1. The digests have a table of their own: with the objects in the same rows, asking
// whether 10,000 of them are there took 50 ms, since a page holds six rows; now it holds eighty.
constexpr const char* kSchema = R"(
  CREATE TABLE tree_objects(id INTEGER PRIMARY KEY, object BLOB NOT NULL);
  CREATE TABLE trees(digest BLOB PRIMARY KEY, put INTEGER NOT NULL, id INTEGER NOT NULL)
    WITHOUT ROWID;
)";

// Together or, on damage, in any order: an object without a digest is found by nobody.
Status DeleteTree(Database& database, const Digest& digest, int64_t put_before) {
  TRY(
      database.Run("DELETE FROM tree_objects WHERE id IN "
                   "(SELECT id FROM trees WHERE digest=? AND put<?)",
                   {Value::Blob(digest.raw()), Value::Int(put_before)}));
  return database.Run("DELETE FROM trees WHERE digest=? AND put<?",
                      {Value::Blob(digest.raw()), Value::Int(put_before)});
}

Status InsertTree(Database& database, const Digest& digest, const std::string& object, int64_t now) {
  bool renewed = false;  // somebody put it since we looked, or it was there and old
  TRY(database.Run("UPDATE trees SET put=? WHERE digest=? RETURNING 1", {Value::Int(now), Value::Blob(digest.raw())},
                   [&](const Database::Row&) { renewed = true; }));
  if (renewed) return Ok();
  TRY(database.Run("INSERT INTO tree_objects(object) VALUES(?)", {Value::Blob(object)}));
  return database.Run("INSERT INTO trees(digest, put, id) VALUES(?,?,last_insert_rowid())",
                      {Value::Blob(digest.raw()), Value::Int(now)});
}

}  // namespace

Result<Index*> TreeRows::Open() {
  auto index = index_.Lock();
  if (!*index) {
    TRY_ASSIGN(
        *index,
        Index::Open(
            {.path = root_ + "/trees.db", .name = "the tree index", .migrations = {kSchema}, .checkpoint_pages = 8000},
            clock_));
  }
  return index->get();
}

std::string TreeRows::Notice() {
  auto index = index_.Lock();
  return *index ? (*index)->Notice() : "";
}

Status TreeRows::ShortenLog() {
  auto index = index_.Lock();
  return *index ? (*index)->ShortenLog() : Ok();
}

TreeRows::Decoded TreeRows::FindRecent(const Digest& digest) {
  auto recent = recent_.Lock();
  auto it = recent->entries.find(digest);
  if (it == recent->entries.end()) return nullptr;
  recent->order.splice(recent->order.begin(), recent->order, it->second);
  return it->second->directory;
}

void TreeRows::Remember(const Digest& digest, const Decoded& directory, size_t bytes) {
  auto recent = recent_.Lock();
  if (bytes > kMemoryLimit / 4 || recent->entries.contains(digest)) return;
  recent->order.push_front({digest, directory, bytes});
  recent->entries[digest] = recent->order.begin();
  recent->bytes += bytes;
  while (recent->bytes > kMemoryLimit) {
    recent->bytes -= recent->order.back().bytes;
    recent->entries.erase(recent->order.back().digest);
    recent->order.pop_back();
  }
}

Result<std::shared_ptr<const tree::Directory>> TreeRows::Get(const Digest& digest) {
  if (Decoded recent = FindRecent(digest)) return recent;
  if (digest == tree::EmptyTree()) return std::make_shared<const tree::Directory>();
  {
    auto due = due_.Lock();
    if (auto it = due->find(digest); it != due->end()) return Remembering(digest, it->second);
  }
  TRY_ASSIGN(Index * index, Open());
  std::string object;
  bool found = false;
  Status read = index->Do([&](Database& database) -> Status {
    found = false;
    TRY(database.Run("SELECT object FROM trees JOIN tree_objects USING(id) WHERE digest=?", {Value::Blob(digest.raw())},
                     [&](const Database::Row& row) {
                       found = true;
                       object = row.Bytes(0);
                     }));
    if (!found || Digest::Of(object) == digest) return Ok();
    found = false;
    Counter("cache.trees.damaged").Add();
    LOG_WARN("tree object {} is damaged and was removed", digest.ToString());
    return database.Transaction([&] { return DeleteTree(database, digest, INT64_MAX); });
  });
  TRY(read);
  if (!found) return nullptr;
  return Remembering(digest, object);
}

Result<TreeRows::Decoded> TreeRows::Remembering(const Digest& digest, std::string_view object) {
  TRY_ASSIGN(tree::Directory directory, tree::Decode(object));
  auto shared = std::make_shared<const tree::Directory>(std::move(directory));
  Remember(digest, shared, object.size() + 128);
  return shared;
}

Status TreeRows::PutLater(std::vector<std::pair<Digest, std::string>> objects) {
  if (*index_.Lock()) return Put(objects);
  auto due = due_.Lock();
  for (auto& [digest, object] : objects) due->insert_or_assign(digest, std::move(object));
  return Ok();
}

Status TreeRows::PutDue() { return Put({}); }

Status TreeRows::Put(const std::vector<std::pair<Digest, std::string>>& objects) {
  METRIC("cache.put_trees");
  // What is due first: these may stand on it, and who has a root has all that is below it.
  std::vector<std::pair<Digest, std::string>> due_before;
  for (const auto& object : *due_.Lock()) due_before.push_back(object);
  if (objects.empty() && due_before.empty()) return Ok();
  TRY_ASSIGN(Index * index, Open());
  int64_t now = clock_.Now().nanos;
  // In the order of the B-tree: neighbours share a page.
  std::vector<const std::pair<Digest, std::string>*> sorted;
  for (const auto& item : due_before) sorted.push_back(&item);
  for (const auto& item : objects) sorted.push_back(&item);
  std::ranges::sort(sorted, {}, [](const auto* item) -> const Digest& { return item->first; });
  Status put = index->Do([&](Database& database) -> Status {
    // Looked at without a write lock first: the trees of a context are nearly always there.
    std::vector<const std::pair<Digest, std::string>*> due;
    // One look at the file for all: each read on its own takes two locks.
    Status looked = database.Reading([&]() -> Status {
      for (const auto* item : sorted) {
        bool fresh = false;
        TRY(database.Run(
            "SELECT put FROM trees WHERE digest=?", {Value::Blob(item->first.raw())},
            [&](const Database::Row& row) { fresh = now - row.Int(0) <= StoreContents::kTreeRenewal.count(); }));
        if (!fresh) due.push_back(item);
      }
      return Ok();
    });
    TRY(std::move(looked));
    if (due.empty()) return Ok();
    return database.Transaction([&]() -> Status {
      for (const auto* item : due) {
        TRY(InsertTree(database, item->first, item->second, now));
      }
      return Ok();
    });
  });
  TRY(std::move(put));
  // They could be asked for until now.
  auto still_due = due_.Lock();
  for (const auto& [digest, object] : due_before) still_due->erase(digest);
  return Ok();
}

Result<std::vector<std::pair<Digest, uint64_t>>> TreeRows::PutBefore(Timestamp time) {
  std::vector<std::pair<Digest, uint64_t>> out;
  TRY_ASSIGN(Index * index, Open());
  TRY(index->Do([&](Database& database) {
    out.clear();
    return database.Run("SELECT digest, length(object) FROM trees JOIN tree_objects USING(id) WHERE put<?",
                        {Value::Int(time.nanos)}, [&](const Database::Row& row) {
                          auto digest = DigestAt(row, 0);
                          if (digest) out.emplace_back(*digest, static_cast<uint64_t>(row.Int(1)));
                        });
  }));
  return out;
}

Status TreeRows::Remove(std::span<const Digest> digests, Timestamp time) {
  TRY_ASSIGN(Index * index, Open());
  return index->Do([&](Database& database) {
    return database.Transaction([&]() -> Status {
      for (const Digest& digest : digests) {
        TRY(DeleteTree(database, digest, time.nanos));
        auto recent = recent_.Lock();
        auto it = recent->entries.find(digest);
        if (it == recent->entries.end()) continue;
        recent->bytes -= it->second->bytes;
        recent->order.erase(it->second);
        recent->entries.erase(it);
      }
      return Ok();
    });
  });
}

Status TreeRows::Check(bool repair, std::vector<std::string>& problems) {
  TRY_ASSIGN(Index * index, Open());
  return index->Check(repair, problems);
}

Result<std::vector<Digest>> TreeRows::Damaged() {
  std::vector<Digest> out;
  TRY_ASSIGN(Index * index, Open());
  TRY(index->Do([&](Database& database) {
    out.clear();
    return database.Run("SELECT digest, object FROM trees JOIN tree_objects USING(id)", {},
                        [&](const Database::Row& row) {
                          auto digest = DigestAt(row, 0);
                          if (digest && Digest::Of(row.Bytes(1)) != *digest) out.push_back(*digest);
                        });
  }));
  return out;
}

Status TreeRows::Compact() {
  TRY_ASSIGN(Index * index, Open());
  return index->Do([](Database& database) { return database.RunScript("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"); });
}

}  // namespace varve::cache
