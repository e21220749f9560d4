#include "cache/database.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "cache/index.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

using testing::HasSubstr;
using Value = Database::Value;

class IndexTest : public testing::Test {
 protected:
  IndexSpec Spec() {
    return {.path = path,
            .name = "the test index",
            .migrations = {"CREATE TABLE t(k TEXT PRIMARY KEY, n INTEGER)"},
            .fill = [this](Database& database) { return ++fills, Add(database, "filled", 1); }};
  }
  static Status Add(Database& database, const std::string& key, int64_t n) {
    return database.Run("INSERT OR REPLACE INTO t VALUES(?,?)", {Value::Text(key), Value::Int(n)});
  }
  static std::optional<int64_t> Find(Index& index, const std::string& key) {
    std::optional<int64_t> n;
    EXPECT_TRUE(index.Do([&](Database& database) {
      return database.Run("SELECT n FROM t WHERE k=?", {Value::Text(key)},
                          [&](const Database::Row& row) { n = row.Int(0); });
    }));
    return n;
  }
  void Overwrite(size_t from, size_t to) {
    std::string bytes = ReadFile(path).value();
    for (size_t i = from; i < std::min(to, bytes.size()); ++i) bytes[i] = 'x';
    Fd fd = OpenFile(path, O_WRONLY).value();
    ASSERT_TRUE(FdWriter(fd.get()).Write(bytes));
  }
  // As a long quiet time would do: moves what is in the write-ahead log into the file.
  void Checkpoint() {
    auto database = Database::Open(path).value();
    ASSERT_TRUE(database->Run("PRAGMA wal_checkpoint(TRUNCATE)", {}, [](const auto&) {}));
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "index-");
  const std::string path = directory.path() + "/index.db";
  FakeClock clock;
  int fills = 0;
};

TEST_F(IndexTest, NewOneIsFilledOnceAndAnExistingOneIsNot) {
  EXPECT_EQ(Find(*Index::Open(Spec(), clock).value(), "filled"), 1);
  EXPECT_EQ(Find(*Index::Open(Spec(), clock).value(), "filled"), 1);
  EXPECT_EQ(fills, 1);
}

TEST_F(IndexTest, FailedFillLeavesNoIndexBehind) {
  IndexSpec failing = Spec();
  failing.fill = [](Database&) -> Status { return Resource("no more"); };
  EXPECT_FALSE(Index::Open(failing, clock));
  EXPECT_EQ(Find(*Index::Open(Spec(), clock).value(), "filled"), 1);
}

TEST_F(IndexTest, LongLogIsEmptiedUnlessSomebodyReadsIt) {
  auto index = Index::Open(Spec(), clock).value();
  auto add = [&](const std::string& key) {
    std::string bytes(Index::kLongLog, 'x');
    ASSERT_TRUE(index->Do([&](Database& database) {
      return database.Run("INSERT INTO t VALUES(?,?)", {Value::Text(key + bytes), Value::Int(7)});
    }));
  };
  auto log = [&] { return std::filesystem::file_size(path + "-wal"); };
  const auto quiet = log();
  ASSERT_TRUE(index->ShortenLog());
  EXPECT_EQ(log(), quiet) << "a short log stays";
  add("a");
  EXPECT_GT(log(), Index::kLongLog);
  ASSERT_TRUE(index->ShortenLog());
  EXPECT_EQ(log(), 0u);

  add("b");
  auto reader = Database::Open(path).value();
  ASSERT_TRUE(reader->RunScript("BEGIN; SELECT count(*) FROM t"));
  add("c");
  ASSERT_TRUE(index->ShortenLog());
  EXPECT_GT(log(), Index::kLongLog) << "a reader needs it";
  int64_t rows = 0;
  ASSERT_TRUE(
      reader->Run("SELECT count(*) FROM t WHERE n=7", {}, [&](const Database::Row& row) { rows = row.Int(0); }));
  EXPECT_EQ(rows, 2);
}

TEST_F(IndexTest, MigrationsRunInOrderAndKeepTheRows) {
  {
    auto index = Index::Open(Spec(), clock).value();
    ASSERT_TRUE(index->Do([](Database& d) { return Add(d, "old", 7); }));
  }
  IndexSpec newer = Spec();
  newer.migrations.push_back("ALTER TABLE t ADD COLUMN more TEXT DEFAULT 'm'");
  EXPECT_EQ(Find(*Index::Open(newer, clock).value(), "old"), 7);
  EXPECT_EQ(fills, 1) << "only a new index is filled";
  auto refused = Index::Open(Spec(), clock);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("newer varve"));
  EXPECT_THAT(refused.error().hint, HasSubstr("--root"));
}

TEST_F(IndexTest, DamagedHeaderIsMovedAsideAndMadeAnew) {
  Index::Open(Spec(), clock).value();
  Checkpoint();
  Overwrite(0, 100);
  auto index = Index::Open(Spec(), clock).value();
  EXPECT_EQ(Find(*index, "filled"), 1);
  EXPECT_EQ(fills, 2);
  EXPECT_THAT(index->Notice(), HasSubstr("damaged"));
  EXPECT_EQ(access((path + ".damaged-1700000000").c_str(), F_OK), 0);
}

TEST_F(IndexTest, DamageFoundLaterIsMendedUnderTheCaller) {
  {
    auto index = Index::Open(Spec(), clock).value();
    for (int i = 0; i < 2000; ++i) {
      ASSERT_TRUE(index->Do([&](Database& d) { return Add(d, std::to_string(i), i); }));
    }
  }
  Checkpoint();
  Overwrite(4096, SIZE_MAX);  // the first page, with header and schema, is sound
  auto index = Index::Open(Spec(), clock).value();
  EXPECT_EQ(index->Notice(), "");
  EXPECT_EQ(Find(*index, "filled"), 1);
  EXPECT_EQ(Find(*index, "5"), std::nullopt) << "not in the files that it is filled from";
  EXPECT_THAT(index->Notice(), HasSubstr("damaged"));
}

TEST_F(IndexTest, ProcessThatHasTheOldOneOpenMovesToTheNewOne) {
  auto mine = Index::Open(Spec(), clock).value();
  ASSERT_TRUE(mine->Do([](Database& d) { return Add(d, "mine", 1); }));
  // What another process does that finds damage; renames only, so that it is the same here.
  for (const char* suffix : {"-wal", "-shm", ""}) {
    ASSERT_EQ(rename((path + suffix).c_str(), (path + ".aside" + suffix).c_str()), 0);
  }
  auto theirs = Index::Open(Spec(), clock).value();
  ASSERT_TRUE(theirs->Do([](Database& d) { return Add(d, "theirs", 2); }));
  EXPECT_EQ(Find(*mine, "theirs"), 2);
  ASSERT_TRUE(mine->Do([](Database& d) { return Add(d, "mine again", 3); }));
  EXPECT_EQ(Find(*theirs, "mine again"), 3);
}

TEST_F(IndexTest, LostFileIsMadeAnew) {
  auto index = Index::Open(Spec(), clock).value();
  unlink(path.c_str());
  EXPECT_EQ(Find(*index, "filled"), 1);
  EXPECT_EQ(fills, 2);
}

TEST_F(IndexTest, FailedTransactionLeavesNothing) {
  auto index = Index::Open(Spec(), clock).value();
  Status status = index->Do([](Database& database) {
    return database.Transaction([&]() -> Status {
      TRY(Add(database, "a", 1));
      return Internal("changed my mind");
    });
  });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "changed my mind");
  EXPECT_EQ(Find(*index, "a"), std::nullopt);
  EXPECT_TRUE(index->Do([](Database& d) { return d.Transaction([&] { return Add(d, "b", 2); }); }));
}

TEST_F(IndexTest, ProcessesThatMakeItAtOnceMakeItOnce) {
  for (int p = 0; p < 6; ++p) {
    if (fork() == 0) {
      auto index = Index::Open(Spec(), clock);
      bool ok = index && (*index)->Do([&](Database& d) { return Add(d, fmt::format("p{}", p), p); });
      _exit(ok ? 0 : 1);
    }
  }
  for (int p = 0; p < 6; ++p) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  auto index = Index::Open(Spec(), clock).value();
  EXPECT_EQ(fills, 0);
  for (int p = 0; p < 6; ++p) EXPECT_EQ(Find(*index, fmt::format("p{}", p)), p);
}

TEST_F(IndexTest, IncrementsOfManyProcessesAllCount) {
  Index::Open(Spec(), clock).value();
  for (int p = 0; p < 5; ++p) {
    if (fork() == 0) {
      auto index = Index::Open(Spec(), clock);
      bool ok = index.has_value();
      for (int i = 0; ok && i < 40; ++i) {
        ok = (*index)
                 ->Do([](Database& d) {
                   return d.Transaction([&]() -> Status {
                     int64_t n = 0;
                     TRY(d.Run("SELECT n FROM t WHERE k='filled'", {},
                               [&](const Database::Row& row) { n = row.Int(0); }));
                     return Add(d, "filled", n + 1);
                   });
                 })
                 .has_value();
      }
      _exit(ok ? 0 : 1);
    }
  }
  for (int p = 0; p < 5; ++p) {
    int status = 0;
    wait(&status);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(Find(*Index::Open(Spec(), clock).value(), "filled"), 201);
}

}  // namespace
}  // namespace varve::cache
