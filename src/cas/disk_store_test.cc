#include "cas/disk_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/fd.h"
#include "sys/mounts.h"
#include "sys/tempdir.h"

namespace varve::cas {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class DiskStoreTest : public testing::Test {
 protected:
  size_t Drafts() {
    fs::directory_iterator entries(dir.path() + "/staging");
    return static_cast<size_t>(std::distance(begin(entries), end(entries)));
  }

  sys::TempDir dir = *sys::TempDir::Create(testing::TempDir(), "disk-store-");
  std::unique_ptr<DiskStore> store = *DiskStore::Open(dir.path());
};

TEST_F(DiskStoreTest, LayoutIsTheDocumentedOne) {
  Digest digest = store->Put("x").value();
  std::string hex = digest.Hex();
  std::string path = dir.path() + "/blobs/sha256/" + hex.substr(0, 2) + "/" + hex;
  EXPECT_EQ(ReadFile(path).value(), "x");
  EXPECT_EQ(store->PathOf(digest), path);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms(0444));
  EXPECT_EQ(Drafts(), 0u);
}

TEST_F(DiskStoreTest, DiscardedDraftLeavesNoFile) {
  {
    auto writer = store->Create().value();
    ASSERT_TRUE(writer->Write("x"));
    EXPECT_EQ(Drafts(), 0u) << "small ones wait in memory";
    ASSERT_TRUE(writer->Write(std::string(100'000, 'x')));
    EXPECT_EQ(Drafts(), 1u);
  }
  EXPECT_EQ(Drafts(), 0u);
}

// Those are hashed by another thread than writes them.
TEST_F(DiskStoreTest, LargeBlobIsWhatItsNameSays) {
  std::string content;
  for (size_t i = 0; content.size() < 20'000'000; ++i) content += fmt::format("{} ", i);
  auto write = [&](std::string_view bytes, const Digest& expected) -> Result<Digest> {
    TRY_ASSIGN(auto writer, store->Create());
    for (; !bytes.empty(); bytes.remove_prefix(std::min<size_t>(bytes.size(), 300'001))) {
      TRY(writer->Write(bytes.substr(0, 300'001)));
    }
    return writer->Commit(expected);
  };
  const Digest digest = Digest::Of(content);
  auto cut = write(std::string_view(content).substr(1), digest);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kCorrupt);
  EXPECT_EQ(Drafts(), 0u);
  ASSERT_EQ(write(content, digest).value(), digest);
  EXPECT_TRUE(ReadFile(store->PathOf(digest)).value() == content);
}

TEST_F(DiskStoreTest, SmallBlobThatIsThereIsNotWrittenAgain) {
  auto inode = [&](const Digest& digest) {
    struct stat st;
    EXPECT_EQ(stat(store->PathOf(digest).c_str(), &st), 0);
    return st.st_ino;
  };
  Digest digest = store->Put("manifest").value();
  ino_t first = inode(digest);
  ASSERT_TRUE(store->Put("manifest"));
  EXPECT_EQ(inode(digest), first);
}

TEST_F(DiskStoreTest, CommitHealsABlobThatWasCutShort) {
  Digest digest = store->Put("whole content").value();
  ASSERT_EQ(truncate(store->PathOf(digest).c_str(), 5), 0);
  auto cut = store->Get(digest, 1 << 20);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kCorrupt);
  ASSERT_TRUE(store->Put("whole content"));
  EXPECT_EQ(store->Get(digest, 1 << 20).value(), "whole content");
}

TEST_F(DiskStoreTest, EqualCommitRenewsTheTime) {
  Digest digest = store->Put("x").value();
  timespec old[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, store->PathOf(digest).c_str(), old, 0), 0);
  EXPECT_EQ(store->Stat(digest).value()->made.seconds(), 1000);
  ASSERT_TRUE(store->Put("x"));
  EXPECT_GT(store->Stat(digest).value()->made.seconds(), 1000);
}

TEST_F(DiskStoreTest, ForeignFilesAreNotBlobs) {
  ASSERT_TRUE(store->Put("x"));
  ASSERT_TRUE(WriteFileAtomically(dir.path() + "/blobs/sha256/README", "hi"));
  fs::create_directory(dir.path() + "/blobs/sha256/zz");
  ASSERT_TRUE(WriteFileAtomically(dir.path() + "/blobs/sha256/zz/note", "hi"));
  int visits = 0;
  ASSERT_TRUE(store->ForEachStat([&](const BlobStat&) { return ++visits, Ok(); }));
  EXPECT_EQ(visits, 1);
}

// A child stops at a sync point: in the middle of a draft. It is killed there, as the kernel's
// out-of-memory killer would.
TEST_F(DiskStoreTest, DraftOfAKilledProcessIsRemovedAndALiveOneIsNot) {
  const std::string half(100'000, 'h');
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto writer = store->Create();
    if (!writer || !(*writer)->Write(half) || write(ready[1], "x", 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char c;
  ASSERT_EQ(read(ready[0], &c, 1), 1);
  close(ready[0]);
  close(ready[1]);
  ASSERT_TRUE(DiskStore::Open(dir.path()));
  EXPECT_EQ(Drafts(), 1u) << "its writer lives";
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(store->Has(Digest::Of(half)).value());
  ASSERT_TRUE(DiskStore::Open(dir.path()));
  EXPECT_EQ(Drafts(), 0u);
}

TEST_F(DiskStoreTest, ProcessesWriteTheSameBlobsWhileStoresOpen) {
  constexpr int kProcesses = 6, kBlobs = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    pid_t child = fork();
    if (child == 0) {
      auto mine = DiskStore::Open(dir.path());
      if (!mine) _exit(1);
      for (int i = 0; i < kBlobs; ++i) {
        std::string content(1000 + static_cast<size_t>(i), 'a');
        auto digest = (*mine)->Put(content);
        if (!digest) _exit(2);
        auto back = (*mine)->Get(*digest, 1 << 20);
        if (!back || *back != content) _exit(3);
        if (i % 5 == 0 && !RemoveDeadDrafts(dir.path() + "/staging")) _exit(4);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  int visits = 0;
  ASSERT_TRUE(store->ForEachStat([&](const BlobStat&) { return ++visits, Ok(); }));
  EXPECT_EQ(visits, kBlobs);
  EXPECT_EQ(Drafts(), 0u);
}

// Runs in a child with its own mounts, so that nothing is left whatever happens. 77: cannot.
int RunInMountNamespace(const std::function<int()>& body) {
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0) _exit(77);
    if (mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(77);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(DiskStoreTest, FullDiskIsAClearErrorAndLeavesNothing) {
  int result = RunInMountNamespace([&]() -> int {
    auto tmpfs = sys::MountTmpfs(dir.path(), 1 << 20);
    if (!tmpfs) return 77;
    auto full = DiskStore::Open(dir.path());
    if (!full) return 1;
    {
      auto writer = (*full)->Create();
      if (!writer) return 2;
      Status status = (*writer)->Write(std::string(2 << 20, 'x'));
      if (status) return 3;
      if (status.error().code != Code::kResource) return 4;
      if (status.error().hint.find("varve prune") == std::string::npos) return 5;
    }
    if (!fs::is_empty(dir.path() + "/staging")) return 6;
    return (*full)->Put("small ones fit again") ? 0 : 7;
  });
  if (result == 77) GTEST_SKIP() << "cannot mount a tmpfs here";
  EXPECT_EQ(result, 0);
}

TEST_F(DiskStoreTest, ReadOnlyStoreReadsAndSaysWhyItCannotWrite) {
  Digest digest = store->Put("x").value();
  int result = RunInMountNamespace([&]() -> int {
    auto bind = sys::BindMount(dir.path(), dir.path(), sys::BindOptions{{.read_only = true}, false});
    if (!bind) return 77;
    auto frozen = DiskStore::Open(dir.path());
    if (!frozen) return 1;
    if ((*frozen)->Get(digest, 1 << 20).value_or("") != "x") return 2;
    auto put = (*frozen)->Put("y");
    if (put || put.error().code != Code::kInvalid) return 3;
    return put.error().hint.find("--root") == std::string::npos ? 4 : 0;
  });
  if (result == 77) GTEST_SKIP() << "cannot make a read-only bind mount here";
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace varve::cas
