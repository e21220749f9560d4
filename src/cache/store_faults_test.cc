// The local store under the faults that a real machine has: a full disk, SIGKILL, flipped bits.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "cache/database.h"
#include "cache/local_store.h"
#include "cache/root.h"
#include "sys/mounts.h"
#include "sys/tempdir.h"

namespace varve::cache {
namespace {

namespace fs = std::filesystem;

StepRecord Record(int i, size_t log_size = 100) {
  StepRecord record;
  record.preimage = fmt::format("{{\"n\":{}}}", i);
  record.key = StepKey(Digest::Of(record.preimage));
  record.outputs = {{{DiffId(Digest::Of(fmt::format("layer {}", i)))}, tree::EmptyTree()}};
  record.slot = fmt::format("slot {}", i % 10);
  record.op_digest = Digest::Of("op");
  record.created = Timestamp{1000 + i};
  record.log = std::string(log_size, static_cast<char>('a' + i % 26));
  return record;
}

class StoreFaultsTest : public testing::Test {
 protected:
  StoreFaultsTest() { EXPECT_TRUE(PrepareRoot(root)); }
  std::unique_ptr<LocalStore> Open() { return std::move(OpenLocalStore(root, SystemClock()).value().store); }
  // Every record is what was put, or absent.
  size_t CountAndCheck(LocalStore& store, int n) {
    size_t found = 0;
    for (int i = 0; i < n; ++i) {
      StepRecord expected = Record(i);
      auto records = store.GetMany({expected.key});
      if (!records) {
        ADD_FAILURE() << records.error().message;
        continue;
      }
      if (!(*records)[0]) continue;
      ++found;
      EXPECT_EQ((*records)[0]->outputs, expected.outputs);
      EXPECT_EQ((*records)[0]->log, expected.log);
    }
    return found;
  }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "faults-");
  const std::string root = directory.path();
};

// A child puts records and acknowledges each on a pipe; the parent kills it after the n-th. All
// that were acknowledged must be there, in the index and after the index is lost.
TEST_F(StoreFaultsTest, KilledWriterLosesNothingThatWasAcknowledged) {
  for (int kill_after : {1, 2, 5, 9, 30}) {
    int acks[2];
    ASSERT_EQ(pipe(acks), 0);
    pid_t child = fork();
    if (child == 0) {
      auto opened = OpenLocalStore(root, SystemClock());
      for (int i = 0; opened && opened->store->Put(Record(i)); ++i) {
        if (write(acks[1], "x", 1) != 1) break;
      }
      _exit(1);
    }
    char c;
    for (int i = 0; i < kill_after; ++i) ASSERT_EQ(read(acks[0], &c, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    close(acks[0]);
    close(acks[1]);
    auto store = Open();
    EXPECT_EQ(store->Notice(), "");
    EXPECT_GE(CountAndCheck(*store, kill_after), static_cast<size_t>(kill_after));
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(root + "/index.db" + suffix);
  EXPECT_GE(CountAndCheck(*Open(), 30), 30u);
}

TEST_F(StoreFaultsTest, FlippedBitsOfTheIndexNeverGiveAWrongRecord) {
  constexpr int kRecords = 40;
  {
    auto store = Open();
    for (int i = 0; i < kRecords; ++i) ASSERT_TRUE(store->Put(Record(i)));
  }
  {
    auto raw = Database::Open(root + "/index.db").value();
    ASSERT_TRUE(raw->Run("PRAGMA wal_checkpoint(TRUNCATE)"));
  }
  const std::string sound = ReadFile(root + "/index.db").value();
  for (size_t round = 0; round < 150; ++round) {
    std::string damaged = sound;
    size_t bit = (round * 7919 * 8 + round) % (sound.size() * 8);
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    for (const auto& entry : fs::directory_iterator(root)) {
      if (entry.path().filename().string().starts_with("index.db")) fs::remove(entry.path());
    }
    ASSERT_TRUE(WriteFileAtomically(root + "/index.db", damaged));
    auto opened = OpenLocalStore(root, SystemClock());
    if (!opened) {
      // A user_version that became a larger number: indistinguishable from a newer varve's.
      EXPECT_EQ(opened.error().code, Code::kInvalid) << opened.error().message;
      continue;
    }
    // A key that flipped is a miss; whatever is found is right.
    EXPECT_GE(CountAndCheck(*opened->store, kRecords), static_cast<size_t>(kRecords - 1)) << bit;
  }
}

TEST_F(StoreFaultsTest, TruncatedRecordFilesAreNotPutBackByARebuild) {
  constexpr int kRecords = 20;
  {
    auto store = Open();
    for (int i = 0; i < kRecords; ++i) ASSERT_TRUE(store->Put(Record(i)));
  }
  for (int i = 0; i < kRecords; i += 2) {
    std::string hex = Record(i).key.Hex();
    std::string file = fmt::format("{}/records/{}/{}.json", root, hex.substr(0, 2), hex);
    fs::resize_file(file, fs::file_size(file) * static_cast<size_t>(i) / kRecords);
  }
  for (const char* suffix : {"", "-wal", "-shm"}) fs::remove(root + "/index.db" + suffix);
  EXPECT_EQ(CountAndCheck(*Open(), kRecords), static_cast<size_t>(kRecords / 2));
}

// Really full: a tmpfs in a mount namespace of a child.
TEST_F(StoreFaultsTest, FullDiskIsAClearErrorAndTheStoreGoesOnAfterwards) {
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 || mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      _exit(77);
    }
    auto tmpfs = sys::MountTmpfs(root, 2 << 20);
    if (!tmpfs) _exit(77);
    if (!PrepareRoot(root)) _exit(1);
    auto opened = OpenLocalStore(root, SystemClock());
    if (!opened) _exit(2);
    std::string ballast = root + "/ballast";
    if (!WriteFileAtomically(ballast, std::string(256 << 10, 'x'))) _exit(3);
    int stored = 0;
    while (stored < 1000) {
      Status put = opened->store->Put(Record(stored, 5000));
      if (!put) {
        if (put.error().code != Code::kResource) _exit(4);
        break;
      }
      ++stored;
    }
    if (stored == 1000) _exit(5);
    for (int i = 0; i < stored; ++i) {
      auto records = opened->store->GetMany({Record(i).key});
      if (!records || !(*records)[0]) _exit(6);
    }
    unlink(ballast.c_str());
    if (!opened->store->Put(Record(2000))) _exit(7);
    auto again = OpenLocalStore(root, SystemClock());
    if (!again || !again->notice.empty()) _exit(8);
    auto records = again->store->GetMany({Record(0).key, Record(2000).key});
    _exit(records && (*records)[0] && (*records)[1] ? 0 : 9);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "cannot mount a tmpfs here";
  EXPECT_EQ(status, 0) << "exit " << WEXITSTATUS(status);
}

}  // namespace
}  // namespace varve::cache
