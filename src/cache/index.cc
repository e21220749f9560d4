#include "cache/index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/log.h"
#include "base/metric.h"
#include "sys/flock.h"

namespace varve::cache {

Result<std::unique_ptr<Index>> Index::Open(IndexSpec spec, Clock& clock) {
  std::unique_ptr<Index> index(new Index(std::move(spec), clock));
  TRY(index->Connect(*index->connection_.Lock()));
  return index;
}

std::string Index::Notice() { return connection_.Lock()->notice; }

bool Index::IsCurrent(const Connection& connection) const {
  struct stat st;
  return stat(spec_.path.c_str(), &st) == 0 && st.st_ino == connection.inode && st.st_dev == connection.device;
}

Result<int64_t> Index::OpenAndReadVersion(Connection& connection) {
  connection.database.reset();
  TRY_ASSIGN(connection.database, Database::Open(spec_.path));
  TRY(connection.database->RunScript(fmt::format("PRAGMA wal_autocheckpoint={}", spec_.checkpoint_pages)));
  struct stat st;
  if (stat(spec_.path.c_str(), &st) != 0) return ErrnoError(errno, spec_.path);
  connection.device = st.st_dev;
  connection.inode = st.st_ino;
  int64_t version = 0;
  TRY(connection.database->Run("PRAGMA user_version", {}, [&](const Database::Row& row) { version = row.Int(0); }));
  auto known = static_cast<int64_t>(spec_.migrations.size());
  if (version > known) {
    Error error = Invalid("{} {} was made by a newer varve (schema {}, this one knows {})", spec_.name, spec_.path,
                          version, known);
    error.hint = "use that varve, or pass --root with another directory";
    return error;
  }
  return version;
}

Status Index::Connect(Connection& connection) {
  auto known = static_cast<int64_t>(spec_.migrations.size());
  {
    TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(spec_.path + ".lock", sys::LockMode::kShared));
    struct stat st;
    if (stat(spec_.path.c_str(), &st) == 0) {
      auto version = OpenAndReadVersion(connection);
      if (version && *version == known) return Ok();
      if (!version && version.error().code != Code::kCorrupt) return std::move(version).error();
    }
  }
  TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(spec_.path + ".lock", sys::LockMode::kExclusive));
  return ConnectExclusively(connection);
}

Status Index::ConnectExclusively(Connection& connection) {
  auto version = OpenAndReadVersion(connection);
  if (!version && version.error().code == Code::kCorrupt) {
    TRY(MoveAside(connection, version.error()));
    version = OpenAndReadVersion(connection);
  }
  if (!version) return std::move(version).error();
  if (*version == static_cast<int64_t>(spec_.migrations.size())) return Ok();
  return Migrate(connection, *version);
}

Status Index::Migrate(Connection& connection, int64_t version) {
  Database& database = *connection.database;
  // The mode is kept in the file, and cannot be set inside a transaction.
  TRY(database.RunScript("PRAGMA journal_mode=WAL"));
  return database.Transaction([&]() -> Status {
    for (size_t i = static_cast<size_t>(version); i < spec_.migrations.size(); ++i) {
      TRY(database.RunScript(spec_.migrations[i]));
    }
    if (version == 0 && spec_.fill) TRY(spec_.fill(database));
    return database.RunScript(fmt::format("PRAGMA user_version = {}", spec_.migrations.size()));
  });
}

Status Index::MoveAside(Connection& connection, const Error& damage) {
  connection.database.reset();
  std::string aside = fmt::format("{}.damaged-{}", spec_.path, clock_.Now().seconds());
  for (const char* suffix : {"-wal", "-shm", ""}) {
    std::string from = spec_.path + suffix;
    if (rename(from.c_str(), (aside + suffix).c_str()) != 0 && errno != ENOENT) {
      return ErrnoError(errno, "move the damaged " + from + " aside");
    }
  }
  connection.notice =
      fmt::format("{} was damaged ({}) and has been made anew; the old file is {}", spec_.name, damage.message, aside);
  LOG_WARN("{}", connection.notice);
  return Ok();
}

Status Index::Do(const std::function<Status(Database&)>& body) {
  auto connection = connection_.Lock();
  if (!connection->database || !IsCurrent(*connection)) TRY(Connect(*connection));
  Status status = body(*connection->database);
  if (status || status.error().code != Code::kCorrupt) return status;
  {
    TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(spec_.path + ".lock", sys::LockMode::kExclusive));
    // Another process may have met the same damage first.
    if (IsCurrent(*connection)) TRY(MoveAside(*connection, status.error()));
    TRY(ConnectExclusively(*connection));
  }
  return body(*connection->database);
}

Status Index::ShortenLog() {
  auto connection = connection_.Lock();
  struct stat log;
  if (!connection->database || !IsCurrent(*connection)) return Ok();
  if (stat((spec_.path + "-wal").c_str(), &log) != 0 || log.st_size <= kLongLog) return Ok();
  METRIC("cache.shorten_log");
  return connection->database->Checkpoint();
}

Status Index::Check(bool repair, std::vector<std::string>& problems) {
  bool replaced = false;
  return Do([&](Database& database) -> Status {
    std::string first;
    TRY(database.Run("PRAGMA integrity_check(10)", {}, [&](const Database::Row& row) {
      // SQLite 3.40 says "NULL value in" of sound tables WITHOUT ROWID whose key is not their first
      // columns, such as layer_blobs: it looks for the columns in the order of the key.
      if (row.Bytes(0) == "ok" || row.Bytes(0).starts_with("NULL value in ")) return;
      if (first.empty()) first = row.Bytes(0);
      problems.push_back(fmt::format("{}: {}", spec_.name, row.Bytes(0)));
    }));
    if (first.empty() || !repair || replaced) return Ok();
    replaced = true;
    return Corrupt("{}", first);
  });
}

}  // namespace varve::cache
