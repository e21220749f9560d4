#include "cache/database.h"

#include <sqlite3.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <unordered_map>

#include "base/log.h"

namespace varve::cache {

namespace {

constexpr int kBusyMillis = 30'000;

constexpr const char* kNoSpaceHint = "free some disk space, for example with varve prune";

Error SqlError(sqlite3* db, int code) {
  std::string text = db ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  auto with_hint = [](Error error, const char* hint) {
    error.hint = hint;
    return error;
  };
  switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Corrupt("index: {}", text);
    case SQLITE_FULL:
      return with_hint(Resource("index: {}", text), kNoSpaceHint);
    case SQLITE_IOERR: {
      // Never kCorrupt: a disk that is full or fails for a moment is no reason to throw an index
      // away.
      int cause = db ? sqlite3_system_errno(db) : 0;
      if (cause == ENOSPC || cause == EDQUOT) {
        return with_hint(Resource("index: {}: no space left on device", text), kNoSpaceHint);
      }
      return Resource("index: {} (code {}, errno {})", text, code, cause);
    }
    case SQLITE_NOMEM:
      return Resource("index: {}", text);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Unavailable("index: {}", text);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return with_hint(Invalid("index: {}", text), "pass --root with a directory that you may write to");
    default:
      return Internal("index: {} (code {})", text, code);
  }
}

}  // namespace

struct Database::Impl {
  sqlite3* db = nullptr;
  std::recursive_mutex mutex;  // recursive: Run inside Transaction
  struct Prepared {
    std::string sql;
    sqlite3_stmt* statement;
  };
  // By address first: callers pass literals, and comparing their text in a tree of 30 took as long
  // as a look-up. The text is compared once, in case another text came to lie there.
  std::unordered_map<const void*, Prepared*> by_address;
  std::map<std::string, Prepared, std::less<>> statements;

  ~Impl() {
    for (auto& [sql, prepared] : statements) sqlite3_finalize(prepared.statement);
    sqlite3_close(db);
  }

  Result<sqlite3_stmt*> Prepare(std::string_view sql) {
    auto known = by_address.find(sql.data());
    if (known != by_address.end() && known->second->sql == sql) return known->second->statement;
    auto it = statements.find(sql);
    if (it == statements.end()) {
      sqlite3_stmt* statement = nullptr;
      int code = sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement,
                                    nullptr);
      // Our statements are right, so that a table that is not there means a damaged schema.
      if (code == SQLITE_ERROR) return Corrupt("index: {}", sqlite3_errmsg(db));
      if (code != SQLITE_OK) return SqlError(db, code);
      it = statements.emplace(std::string(sql), Prepared{std::string(sql), statement}).first;
    }
    by_address[sql.data()] = &it->second;
    return it->second.statement;
  }
};

Database::Database(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Database::~Database() = default;

Result<std::unique_ptr<Database>> Database::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  int code = sqlite3_open_v2(path.c_str(), &impl->db, flags, nullptr);
  if (code != SQLITE_OK) return SqlError(impl->db, code);
  sqlite3_busy_timeout(impl->db, kBusyMillis);
  sqlite3_extended_result_codes(impl->db, 1);
  int persist = 1;
  sqlite3_file_control(impl->db, nullptr, SQLITE_FCNTL_PERSIST_WAL, &persist);
  sqlite3_db_config(impl->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  auto database = std::unique_ptr<Database>(new Database(std::move(impl)));
  // NORMAL: a crash of the machine may lose the last records, never consistency. No mmap: a
  // damaged, shortened file would be a SIGBUS rather than an error. 4 MB of pages: the kernel has the rest.
  TRY(
      database->RunScript("PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY; "
                          "PRAGMA cache_size=-4000;"));
  return database;
}

Status Database::RunScript(const std::string& sql) {
  std::lock_guard lock(impl_->mutex);
  int code = sqlite3_exec(impl_->db, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return SqlError(impl_->db, code);
  return Ok();
}

int64_t Database::Row::Int(int column) const {
  return sqlite3_column_int64(static_cast<sqlite3_stmt*>(statement_), column);
}

std::string_view Database::Row::Bytes(int column) const {
  auto* statement = static_cast<sqlite3_stmt*>(statement_);
  const void* data = sqlite3_column_blob(statement, column);
  int size = sqlite3_column_bytes(statement, column);
  return {static_cast<const char*>(data), static_cast<size_t>(size)};
}

Status Database::Run(std::string_view sql, const std::vector<Value>& values, const OnRow& on_row) {
  std::lock_guard lock(impl_->mutex);
  TRY_ASSIGN(sqlite3_stmt * statement, impl_->Prepare(sql));
  int index = 0;
  for (const Value& value : values) {
    ++index;
    auto size = static_cast<sqlite3_uint64>(value.bytes.size());
    switch (value.kind) {
      case Value::Kind::kInt:
        sqlite3_bind_int64(statement, index, value.number);
        break;
      case Value::Kind::kText:
        sqlite3_bind_text64(statement, index, value.bytes.data(), size, SQLITE_STATIC, SQLITE_UTF8);
        break;
      case Value::Kind::kBlob:
        sqlite3_bind_blob64(statement, index, value.bytes.data(), size, SQLITE_STATIC);
        break;
    }
  }
  Row row(statement);
  int code = sqlite3_step(statement);
  while (code == SQLITE_ROW) {
    if (on_row) on_row(row);
    code = sqlite3_step(statement);
  }
  Status status = code == SQLITE_DONE ? Ok() : Status(SqlError(impl_->db, code));
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return status;
}

Status Database::Transaction(const std::function<Status()>& body) { return Between("BEGIN IMMEDIATE", body); }

Status Database::Reading(const std::function<Status()>& body) { return Between("BEGIN", body); }

Status Database::Between(std::string_view begin, const std::function<Status()>& body) {
  std::lock_guard lock(impl_->mutex);
  TRY(Run(begin));
  Status status = body();
  if (status) status = Run("COMMIT");
  // A full disk rolls back by itself.
  if (!status && !sqlite3_get_autocommit(impl_->db)) {
    if (Status undone = Run("ROLLBACK"); !undone) LOG_WARN("{}", undone.error().message);
  }
  return status;
}

Status Database::Checkpoint() {
  std::lock_guard lock(impl_->mutex);
  sqlite3_busy_timeout(impl_->db, 0);
  int code = sqlite3_wal_checkpoint_v2(impl_->db, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);
  sqlite3_busy_timeout(impl_->db, kBusyMillis);
  if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY) return Ok();
  return SqlError(impl_->db, code);
}

}  // namespace varve::cache
