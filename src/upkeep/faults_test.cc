// Each write of the store failed in turn, and each file that was not synced lost in turn: a clear
// error or success, never a wrong hit, and fsck --repair leaves a clean root.
//
// The system calls that write are this program's own: the dynamic linker takes them before libc's,
// for SQLite's library as well. They fail the n-th call that concerns the test's root.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "cache/image_files.h"
#include "cache/lease.h"
#include "snapshot/local_layer_store.h"
#include "upkeep/fsck.h"
#include "upkeep/test_root.h"

namespace {

struct FaultPlan {
  std::atomic<bool> active{false};
  std::atomic<int> calls{0};
  int fail_at = 0;
  int error = 0;
  char root[256] = {};
} plan;

bool Fails(const char* path) {
  if (!plan.active || std::string_view(path).find(plan.root) != 0) return false;
  if (++plan.calls != plan.fail_at) return false;
  errno = plan.error;
  return true;
}

bool Fails(int fd) {
  if (!plan.active) return false;
  char link[64], path[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof(path) - 1);
  if (n <= 0) return false;
  path[n] = 0;
  return Fails(path);
}

}  // namespace

extern "C" {
ssize_t write(int fd, const void* data, size_t size) {
  if (Fails(fd)) return -1;
  return syscall(SYS_write, fd, data, size);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  if (Fails(fd)) return -1;
  return syscall(SYS_pwrite64, fd, data, size, at);
}
int rename(const char* from, const char* to) {
  if (Fails(to)) return -1;
  return static_cast<int>(syscall(SYS_rename, from, to));
}
int mkdir(const char* path, mode_t mode) {
  if (Fails(path)) return -1;
  return static_cast<int>(syscall(SYS_mkdir, path, mode));
}
int fsync(int fd) {
  if (Fails(fd)) return -1;
  return static_cast<int>(syscall(SYS_fsync, fd));
}
int fdatasync(int fd) {
  if (Fails(fd)) return -1;
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}
int ftruncate64(int fd, off64_t size) {
  if (Fails(fd)) return -1;
  return static_cast<int>(syscall(SYS_ftruncate, fd, size));
}
}

namespace varve::upkeep {
namespace {

namespace fs = std::filesystem;

// What a build does to a store, in its order. Stops at the first error, as a build does.
struct Scenario {
  std::string root;
  cache::StepRecord record;
  DiffId layer;
  Digest blob;
  bool recorded = false, named = false;

  Status Run() {
    TRY(cache::PrepareRoot(root));
    TRY_ASSIGN(auto opened, cache::OpenLocalStore(root, SystemClock()));
    TRY_ASSIGN(auto blobs, cas::OpenDiskStore(root));
    TRY_ASSIGN(auto layers, snapshot::OpenLayerStore(root));
    TRY_ASSIGN(auto lease, cache::JobLease::Begin(root, SystemClock()));
    TRY_ASSIGN(auto draft, layers->NewDraft());
    TRY(WriteFileAtomically(draft->upper() + "/file", "content of the layer"));
    auto lease_it = [&](const DiffId& diff_id) { return lease->Add(diff_id); };
    TRY_ASSIGN(auto committed, layers->Commit(std::move(draft), {}, lease_it, {}));
    layer = committed.diff_id;
    TRY_ASSIGN(auto index, layers->Index(layer));
    TRY_ASSIGN(Digest tree, tree::ApplyLayer(*opened.store, tree::EmptyTree(), index));
    record.preimage = "{\"n\":1}";
    record.key = StepKey(Digest::Of(record.preimage));
    record.outputs = {{{layer}, tree}};
    record.slot = "slot";
    record.op_digest = Digest::Of("op");
    record.log = std::string(3000, 'l');
    TRY(opened.store->Put(record));
    recorded = true;
    TRY_ASSIGN(blob, blobs->Put("{\"layers\":[]}"));
    TRY(opened.store->PutImage({"docker.io/library/app:1", blob, SystemClock().Now()}));
    named = true;
    opened.store->UsedLayer(layer);
    return opened.store->Flush();
  }
};

// Whatever happened before: what a build would find now is right, and fsck makes the root clean.
void ExpectNoWrongHit(const Scenario& scenario, const std::string& boot, const std::string& what) {
  SCOPED_TRACE(what);
  ASSERT_TRUE(cache::PrepareRoot(scenario.root));
  auto opened = cache::OpenLocalStore(scenario.root, SystemClock());
  ASSERT_TRUE(opened) << opened.error().ToString();
  auto blobs = cas::OpenDiskStore(scenario.root).value();
  auto layers = snapshot::LocalLayerStore::Open(scenario.root, boot).value();
  auto found = opened->store->GetMany({StepKey(Digest::Of("{\"n\":1}"))});
  ASSERT_TRUE(found) << found.error().ToString();
  if ((*found)[0]) {
    const cache::StepRecord& record = *(*found)[0];
    EXPECT_EQ(record.outputs, scenario.record.outputs);
    EXPECT_EQ(record.log, scenario.record.log);
    const DiffId& layer = record.outputs[0].layers[0];
    if (layers->Has(layer).value()) {
      EXPECT_TRUE(layers->Verify(layer, false).value());
      EXPECT_EQ(ReadFile(layers->Directory(layer).value() + "/file").value(), "content of the layer");
    }
  }
  auto image = opened->store->GetImage("docker.io/library/app:1");
  ASSERT_TRUE(image);
  if (*image) {
    EXPECT_EQ((*image)->manifest, scenario.blob);
  }
  Stores stores{scenario.root, *opened->store, *blobs, *layers, SystemClock()};
  ASSERT_TRUE(Fsck(stores, {.repair = true}, {}));
  auto again = Fsck(stores, {}, {});
  ASSERT_TRUE(again) << again.error().ToString();
  for (const Finding& f : again->findings) ADD_FAILURE() << f.object << ": " << f.problem;
}

class FaultsTest : public testing::TestWithParam<int> {
 protected:
  Scenario New() {
    static int number = 0;
    // As the kernel spells it, to compare with.
    std::string base = fs::canonical(directory.path()).string();
    return {.root = fmt::format("{}/{}", base, number++)};
  }
  // In memory where that is: hundreds of stores are made, and each waits for the disk some times.
  sys::TempDir directory = *sys::TempDir::Create(
      access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir(), "faults-");
};

TEST_P(FaultsTest, EachWriteThatFailsIsAnErrorOrNoMatter) {
  const std::string boot = snapshot::CurrentBoot().value();
  size_t failed = 0;
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 2000);
    Scenario scenario = New();
    snprintf(plan.root, sizeof(plan.root), "%s/", scenario.root.c_str());
    plan.calls = 0;
    plan.fail_at = n;
    plan.error = GetParam();
    plan.active = true;
    Status ran = scenario.Run();
    plan.active = false;
    int calls = plan.calls;
    if (!ran) {
      ++failed;
      EXPECT_NE(ran.error().code, Code::kInternal) << ran.error().ToString();
      EXPECT_FALSE(ran.error().message.empty());
    }
    ExpectNoWrongHit(scenario, boot, fmt::format("call {} of {} failed", n, calls));
    // A build that comes after it is as if nothing had been.
    Scenario next{.root = scenario.root};
    Status redone = next.Run();
    EXPECT_TRUE(redone) << n << ": " << redone.error().ToString();
    if (calls < n) {
      EXPECT_TRUE(ran);
      RecordProperty("calls", calls);
      EXPECT_GT(n, 100) << "the interposed calls were not used";
      break;
    }
  }
  EXPECT_GT(failed, 10u);
}

INSTANTIATE_TEST_SUITE_P(Errors, FaultsTest, testing::Values(ENOSPC, EIO), [](const auto& error) {
  return error.param == ENOSPC ? "NoSpace" : "InputOutput";
});

// A power failure may take the content of any file that was not synced, and nothing in the store
// waits for a sync: each file in turn comes back empty, halved, or zeroed.
TEST_F(FaultsTest, EachFileThatAPowerFailureTookIsNoticed) {
  Scenario sample = New();
  ASSERT_TRUE(sample.Run());
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(sample.root)) {
    if (entry.is_regular_file() && entry.file_size() > 0) {
      files.push_back(entry.path().string().substr(sample.root.size()));
    }
  }
  ASSERT_GT(files.size(), 8u);
  for (const std::string& file : files) {
    if (file == "/version" || file.ends_with("-shm")) continue;
    for (int kind = 0; kind < 3; ++kind) {
      Scenario scenario = New();
      ASSERT_TRUE(scenario.Run());
      std::string path = scenario.root + file;
      if (!fs::exists(path)) continue;  // named by time
      ASSERT_EQ(chmod(path.c_str(), 0600), 0);
      auto size = fs::file_size(path);
      if (kind < 2) fs::resize_file(path, kind == 0 ? 0 : size / 2);
      if (kind == 2) {
        ASSERT_TRUE(WriteFileAtomically(path, std::string(size, '\0')));
      }
      ExpectNoWrongHit(scenario, "another boot", fmt::format("{} lost, kind {}", file, kind));
    }
  }
}

}  // namespace
}  // namespace varve::upkeep
