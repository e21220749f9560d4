// A thin C++ face of SQLite, for the index only. sqlite3.h is included in database.cc alone.
//
// One connection used by several threads under its own mutex: look-ups are microseconds, and a
// connection per thread would cost its set-up in every short build.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::cache {

class Database {
 public:
  // Opens or creates. kCorrupt when the file is no database or damaged; kInvalid with a hint when
  // it may not be written. Waits up to 30 s for other writers before kUnavailable.
  static Result<std::unique_ptr<Database>> Open(const std::string& path);
  // Nothing is written on closing: the write-ahead log stays for the next process, whose first look
  // reads all of it (see Index::ShortenLog). (SQLite would
  // otherwise copy and sync it at the end of every short build, and unlink it by name, which would
  // hit a new database after a damaged one was moved aside.)
  ~Database();

  // A value bound to a `?`: bytes for digests, text, integer.
  struct Value {
    enum class Kind { kInt, kText, kBlob } kind;
    int64_t number = 0;
    std::string_view bytes = {};
    static Value Int(int64_t n) { return {Kind::kInt, n}; }
    static Value Text(std::string_view s) { return {Kind::kText, 0, s}; }
    static Value Blob(std::string_view s) { return {Kind::kBlob, 0, s}; }
  };
  class Row {
   public:
    int64_t Int(int column) const;
    std::string_view Bytes(int column) const;  // valid during the callback

   private:
    friend class Database;
    explicit Row(void* statement) : statement_(statement) {}
    void* statement_;
  };
  using OnRow = std::function<void(const Row&)>;

  // Runs one statement, prepared once per text and kept. `on_row` must not use the database.
  Status Run(std::string_view sql, const std::vector<Value>& values = {}, const OnRow& on_row = {});
  // Several statements without values, for schemas.
  Status RunScript(const std::string& sql);
  // `body` between BEGIN IMMEDIATE and COMMIT, on this thread alone; rolled back on an error. All
  // writes of more than one statement, and all that depend on a read, go through here: a read lock
  // that wants to become a write lock fails at once when somebody else wrote meanwhile
  // (SQLITE_BUSY_SNAPSHOT), however long the busy timeout is.
  Status Transaction(const std::function<Status()>& body);
  // `body`, which only reads, on one state of the database: many small look-ups take and give back the
  // read lock once, which saves three system calls each.
  Status Reading(const std::function<Status()>& body);
  // Moves the write-ahead log into the file and empties it, which syncs both; does what can be done
  // without waiting for other processes.
  Status Checkpoint();

 private:
  struct Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  Status Between(std::string_view begin, const std::function<Status()>& body);
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::cache
