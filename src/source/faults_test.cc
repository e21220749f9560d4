// What writes beside the store: the stat cache of a context, and mirrors of git remotes. A full disk and files that a
// power failure took make a build fail at most once, and never give it other files than the source has.
#include <errno.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <filesystem>
#include <random>

#include "source/context.h"
#include "source/git_fixture.h"
#include "sys/testing/faulty_calls.h"

namespace varve::source {
namespace {

TEST(StatCacheFaults, AWriteThatFailsCostsNoBuildAndNoTruth) {
  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "stat-faults-");
  const std::string base = fs::canonical(directory.path()).string(), context = base + "/context",
                    cache = base + "/cache";
  FakeClock clock;
  clock.Set({SystemClock().Now().nanos + 3'600'000'000'000});  // files are settled at once
  fs::create_directories(context + "/sub");
  fs::create_directories(cache);
  auto write = [&](const std::string& name, std::string_view text) {
    ASSERT_TRUE(WriteFileAtomically(context + "/" + name, text));
  };
  write("same", "same");
  tree::MemoryTreeStore trees;
  const ContextSpec spec{.directory = context, .stat_cache_file = cache + "/stat"}, bare{.directory = context};
  for (int error : {ENOSPC, EIO}) {
    for (int n = 1;; ++n) {
      ASSERT_LT(n, 100);
      write("sub/file", std::to_string(n));
      sys::FaultyCalls faults(cache, n, error);
      auto walked = WalkContext(spec, trees, {}, clock);
      faults.Stop();
      SCOPED_TRACE(faults.failed());
      ASSERT_TRUE(walked) << walked.error().ToString();
      const Digest truth = WalkContext(bare, trees, {}, clock).value().root;
      EXPECT_EQ(walked->root, truth);
      EXPECT_EQ(WalkContext(spec, trees, {}, clock).value().root, truth);
      EXPECT_EQ(WalkContext(spec, trees, {}, clock).value().hashed_files, 0u) << "what was lost is there again";
      if (faults.calls() < n) {
        EXPECT_GT(n, 2) << "the interposed calls were not used";
        break;
      }
    }
  }
  // Every length and every byte of it.
  const std::string whole = ReadFile(cache + "/stat").value();
  const Digest truth = WalkContext(bare, trees, {}, clock).value().root;
  for (size_t i = 0; i < whole.size(); i += 7) {
    std::string flipped = whole;
    flipped[i] ^= 0x10;
    for (const std::string& damaged : {whole.substr(0, i), flipped}) {
      ASSERT_TRUE(WriteFileAtomically(cache + "/stat", damaged));
      EXPECT_EQ(WalkContext(spec, trees, {}, clock).value().root, truth) << i;
    }
  }
}

class GitFaults : public GitTest {};

// git is another program, whose calls cannot be replaced. No file may be larger than this.
TEST_F(GitFaults, ADiskThatIsFullForGitIsAnErrorAndLeavesNothingWrong) {
  std::string noise;
  std::mt19937 random(1);
  for (int i = 0; i < 300'000; ++i) noise += static_cast<char>(random());
  Write("work/noise", noise);
  Commit("work", "large");
  Push();
  rlimit all;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &all), 0);
  signal(SIGXFSZ, SIG_IGN);  // inherited: a write fails with EFBIG instead
  const graph::GitSource source = Source("main");
  int failed = 0;
  for (rlim_t limit : {0, 10, 100, 1'000, 10'000, 100'000, 299'000, 310'000}) {
    rlimit few = all;
    few.rlim_cur = limit;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &few), 0);
    auto tried = Fetch(source);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &all), 0);
    SCOPED_TRACE(limit);
    failed += !tried;
    auto fetched = Fetch(source);
    ASSERT_TRUE(fetched) << fetched.error().ToString();
    EXPECT_EQ(ReadFile(fetched->directory + "/noise").value(), noise);
    if (tried) {
      EXPECT_EQ(Listing(tried->root), Listing(fetched->root));
    }
    for (const auto& left : {tried ? tried->root : "", fetched->root}) fs::remove_all(left);
    EXPECT_TRUE(fs::is_empty(Path("out"))) << "checkouts that failed are removed";
    fs::remove_all(Path("cache"));
  }
  EXPECT_GE(failed, 5);
}

// A power failure may take any file of the mirror, since git syncs few of them.
TEST_F(GitFaults, AMirrorWithADamagedFileIsMadeAgain) {
  const graph::GitSource source = Source("main");
  auto whole = Fetch(source);
  ASSERT_TRUE(whole);
  const std::string listing = Listing(whole->root);
  std::vector<std::string> files;
  for (const auto& file : fs::recursive_directory_iterator(Path("cache"))) {
    if (file.is_regular_file() && file.file_size() > 0) files.push_back(file.path());
  }
  ASSERT_GT(files.size(), 3u);
  for (const std::string& path : files) {
    for (bool empty : {true, false}) {
      if (!fs::exists(path)) continue;  // packs are named by what is in them
      fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
      fs::resize_file(path, empty ? 0 : fs::file_size(path) / 2);
      SCOPED_TRACE(path);
      auto fetched = Fetch(source);
      ASSERT_TRUE(fetched) << fetched.error().ToString();
      EXPECT_EQ(Listing(fetched->root), listing);
    }
  }
}

}  // namespace
}  // namespace varve::source
