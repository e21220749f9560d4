// An SQLite file that can be lost: opened by many processes at once, brought to the current schema,
// and made anew from what lies beside it when it is missing or damaged.
//
// How a damaged file is replaced while other processes have it open:
//   1. Opening and reading the version happen under a shared flock on <path>.lock, replacing under
//      an exclusive one: nobody opens the database of one generation and the log of the next.
//   2. The damaged file and its -wal and -shm are renamed together. Processes that have them open
//      go on with the old inodes, which harms nobody: records are files first.
//   3. Before each use a process compares the inode behind the name with the one it opened, and
//      opens again when they differ (a stat, 1 µs).
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"
#include "cache/database.h"

namespace varve::cache {

struct IndexSpec {
  std::string path;
  std::string name;  // "the cache index", for messages
  // migrations[i] brings schema i to i + 1; user_version is the number applied. A released script
  // is never edited: a change is a new entry. A file with more than these is of a newer varve:
  // kInvalid.
  std::vector<std::string> migrations;
  // Fills a new index, in the transaction that makes it: a process killed here leaves none.
  std::function<Status(Database&)> fill = {};
  // Length of the write-ahead log, in pages of 4 KiB, from which a commit moves it into the file
  // and waits for the disk.
  int checkpoint_pages = 1000;
};

// Safe from any thread.
class Index {
 public:
  // `clock` names the moment of damage in the name of the file moved aside.
  static Result<std::unique_ptr<Index>> Open(IndexSpec spec, Clock& clock);

  // Runs `body` on the connection, alone. Should it find damage (kCorrupt), the index is replaced
  // and `body` runs once more. `body` must not use the Index.
  Status Do(const std::function<Status(Database&)>& body);

  // At the end of a job: empties a write-ahead log of more than kLongLog. The first process that opens
  // an index which nobody has open reads the whole log to index it, 3 µs for each page; a build of 20
  // steps leaves 300 pages.
  static constexpr int64_t kLongLog = 256 << 10;
  Status ShortenLog();

  // SQLite's integrity check; appends what it finds, with the index's name. With `repair` an index
  // with a fault is replaced as one that `body` found damaged.
  Status Check(bool repair, std::vector<std::string>& problems);

  // What happened to the index since it was opened, for the user; empty: nothing.
  std::string Notice();

 private:
  struct Connection {
    std::unique_ptr<Database> database;
    dev_t device = 0;
    ino_t inode = 0;
    std::string notice;
  };
  Index(IndexSpec spec, Clock& clock) : spec_(std::move(spec)), clock_(clock) {}
  Status Connect(Connection& connection);
  Status ConnectExclusively(Connection& connection);
  Result<int64_t> OpenAndReadVersion(Connection& connection);
  bool IsCurrent(const Connection& connection) const;
  Status Migrate(Connection& connection, int64_t version);
  Status MoveAside(Connection& connection, const Error& damage);

  const IndexSpec spec_;
  Clock& clock_;
  Guarded<Connection> connection_;
};

}  // namespace varve::cache
