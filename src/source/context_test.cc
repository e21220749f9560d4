#include "source/context.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "base/json.h"
#include "source/context_hash.h"
#include "tree/pattern.h"

namespace varve::source {
namespace {

namespace fs = std::filesystem;
using tree::Node;
using tree::NodeType;

class CountingStore final : public tree::TreeStore {
 public:
  Result<std::shared_ptr<const tree::Directory>> Get(const Digest& digest) override { return memory.Get(digest); }
  Status Put(const std::vector<std::pair<Digest, std::string>>& objects) override {
    ++puts;
    return memory.Put(objects);
  }
  Status PutLater(std::vector<std::pair<Digest, std::string>> objects) override {
    ++puts_later;
    return memory.Put(objects);
  }
  tree::MemoryTreeStore memory;
  int puts = 0, puts_later = 0;
};

class ContextTest : public testing::Test {
 protected:
  ContextTest() {
    static int counter = 0;
    base_ = fmt::format("{}context-{}-{}", testing::TempDir(), getpid(), counter++);
    dir_ = base_ + "/ctx";
    fs::create_directories(dir_);
    spec_.directory = dir_;
    spec_.stat_cache_file = base_ + "/stat";
    // Files made by a test are settled at once.
    clock_.Set({SystemClock().Now().nanos + 3'600'000'000'000});
  }
  ~ContextTest() override { fs::remove_all(base_); }

  void Write(const std::string& path, std::string_view content, mode_t mode = 0644) {
    std::string full = dir_ + "/" + path;
    fs::create_directories(fs::path(full).parent_path());
    std::ofstream(full, std::ios::binary | std::ios::trunc) << content;
    ASSERT_EQ(chmod(full.c_str(), mode), 0);
  }
  void Symlink(const std::string& target, const std::string& path) {
    fs::create_directories(fs::path(dir_ + "/" + path).parent_path());
    ASSERT_EQ(symlink(target.c_str(), (dir_ + "/" + path).c_str()), 0);
  }

  ContextTree Walk() {
    auto walked = WalkContext(spec_, store_, {}, clock_);
    EXPECT_TRUE(walked) << walked.error().ToString();
    return walked.value_or(ContextTree());
  }
  Error WalkError() {
    auto walked = WalkContext(spec_, store_, {}, clock_);
    EXPECT_FALSE(walked);
    return walked ? Error() : walked.error();
  }

  // All paths of the tree, directories with a slash.
  std::string List(const Digest& root) {
    std::string out;
    tree::Selector all{.path = "/"};
    auto matches = tree::FindMatches(store_, root, all);
    EXPECT_TRUE(matches);
    auto visit = [&](const RelPath& below, const Node& node) -> Status {
      if (!below.IsRoot()) out += below.str() + (node.IsDirectory() ? "/ " : " ");
      return Ok();
    };
    EXPECT_TRUE(tree::WalkMatch(store_, all, matches->at(0), visit));
    if (!out.empty()) out.pop_back();
    return out;
  }
  std::string WalkAndList() { return List(Walk().root); }
  Node At(const Digest& root, std::string_view path) {
    auto node = tree::Lookup(store_, root, RelPath(path));
    EXPECT_TRUE(node && *node) << path;
    return node && *node ? **node : Node();
  }

  std::string base_, dir_;
  ContextSpec spec_;
  CountingStore store_;
  FakeClock clock_;
};

TEST_F(ContextTest, TreeHasWhatTheDirectoryHas) {
  Write("a", "content a", 0600);
  Write("bin/run", "#!/bin/sh\n", 04755);
  Symlink("../a", "bin/link");
  fs::create_directories(dir_ + "/empty");
  ASSERT_EQ(chmod((dir_ + "/empty").c_str(), 01777), 0);
  ASSERT_EQ(mkfifo((dir_ + "/fifo").c_str(), 0640), 0);
  ContextTree walked = Walk();
  EXPECT_EQ(List(walked.root), "a bin/ bin/link bin/run empty/ fifo");
  EXPECT_EQ(walked.files, 2u);
  EXPECT_EQ(walked.bytes, 19u);
  EXPECT_EQ(walked.hashed_files, 2u);
  EXPECT_EQ(walked.hashed_bytes, 19u);
  Node run = At(walked.root, "bin/run");
  EXPECT_EQ(run.mode, 04755u);
  EXPECT_EQ(run.size, 10u);
  EXPECT_EQ(run.digest, Digest::Of("#!/bin/sh\n"));
  EXPECT_EQ(At(walked.root, "bin/link").target, "../a");
  EXPECT_EQ(At(walked.root, "bin/link").mode, 0777u);
  EXPECT_EQ(At(walked.root, "empty").mode, 01777u);
  EXPECT_EQ(At(walked.root, "fifo").type, NodeType::kFifo);
}

TEST_F(ContextTest, EmptyDirectoryIsTheEmptyTree) { EXPECT_EQ(Walk().root, tree::EmptyTree()); }

TEST_F(ContextTest, OwnersDoNotCount) {
  Write("a", "x");
  Digest before = Walk().root;
  if (chown((dir_ + "/a").c_str(), 1234, 4321) != 0) GTEST_SKIP() << "needs root to change owners";
  EXPECT_EQ(Walk().root, before);
  EXPECT_EQ(At(before, "a").uid, 0u);
}

TEST_F(ContextTest, SocketsAreLeftOut) {
  Write("a", "x");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = dir_ + "/s";
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, path.size());
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(WalkAndList(), "a");
  close(fd);
}

TEST_F(ContextTest, DevicesKeepTheirNumbers) {
  if (mknod((dir_ + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)) != 0) {
    GTEST_SKIP() << "needs root to make device nodes";
  }
  EXPECT_EQ(At(Walk().root, "null").rdev, uint64_t{1} << 32 | 3);
}

TEST_F(ContextTest, UnchangedFilesAreNotReadAgain) {
  for (int i = 0; i < 300; ++i) Write(fmt::format("d{}/f{}", i, i), std::to_string(i));
  ContextTree first = Walk();
  EXPECT_EQ(first.hashed_files, 300u);
  ContextTree second = Walk();
  EXPECT_EQ(second.root, first.root);
  EXPECT_EQ(second.files, 300u);
  EXPECT_EQ(second.hashed_files, 0u);
  EXPECT_EQ(store_.puts, 1);

  Write("d3/f3", "new");
  Write("d3/more", "more");
  fs::remove(dir_ + "/d4/f4");
  ContextTree third = Walk();
  EXPECT_NE(third.root, first.root);
  EXPECT_EQ(third.hashed_files, 2u);
  EXPECT_EQ(Walk().hashed_files, 0u);

  // The same as without a stat cache.
  spec_.stat_cache_file.clear();
  EXPECT_EQ(Walk().root, third.root);
  EXPECT_EQ(Walk().hashed_files, 300u);
}

TEST_F(ContextTest, StatCacheFileIsLeftAloneWhenNothingChanged) {
  Write("a/b", "x");
  Walk();
  struct stat before, after;
  ASSERT_EQ(stat(spec_.stat_cache_file.c_str(), &before), 0);
  Walk();
  ASSERT_EQ(stat(spec_.stat_cache_file.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(ContextTest, FilesThatAreTooYoungAreHashedAgain) {
  Write("a", "x");
  clock_.Set({SystemClock().Now().nanos - 1'000'000'000});
  EXPECT_EQ(Walk().hashed_files, 1u);
  EXPECT_EQ(Walk().hashed_files, 1u);
  clock_.Advance(std::chrono::hours(1));
  EXPECT_EQ(Walk().hashed_files, 1u);
  EXPECT_EQ(Walk().hashed_files, 0u);
}

TEST_F(ContextTest, TheFirstWalkMakesTheStatCacheAlsoOfYoungFiles) {
  Write("a", "x");
  clock_.Set({SystemClock().Now().nanos - 1'000'000'000});
  Walk();
  EXPECT_EQ(access(spec_.stat_cache_file.c_str(), F_OK), 0);
  EXPECT_EQ(tree::StatCache::Open(spec_.stat_cache_file).directories(), 0u);
  EXPECT_EQ(Walk().hashed_files, 1u);
}

TEST_F(ContextTest, SameSizeAndModificationTimeDoNotFoolTheStatCache) {
  Write("a", "1");
  Digest before = Walk().root;
  struct stat st;
  ASSERT_EQ(stat((dir_ + "/a").c_str(), &st), 0);
  Write("a", "2");
  timespec times[2] = {st.st_atim, st.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, (dir_ + "/a").c_str(), times, 0), 0);
  EXPECT_NE(Walk().root, before);
}

TEST_F(ContextTest, DamagedStatCacheIsReplaced) {
  Write("a", "x");
  Digest root = Walk().root;
  std::ofstream(spec_.stat_cache_file, std::ios::trunc) << "varvesc1 nonsense";
  ContextTree again = Walk();
  EXPECT_EQ(again.root, root);
  EXPECT_EQ(again.hashed_files, 1u);
  EXPECT_EQ(Walk().hashed_files, 0u);
}

TEST_F(ContextTest, StoreThatLostTheRootIsFilledAgain) {
  for (int i = 0; i < 300; ++i) Write(fmt::format("d{}/f", i), "x");
  Digest root = Walk().root;
  CountingStore other;
  ASSERT_TRUE(WalkContext(spec_, other, {}, clock_));
  EXPECT_EQ(other.puts, 1);
  EXPECT_TRUE(*other.Get(root));
}

TEST_F(ContextTest, TreesOfASmallContextArePutLater) {
  Write("a/b", "x");
  Digest root = Walk().root;
  CountingStore other;
  auto walked = WalkContext(spec_, other, {}, clock_);
  ASSERT_TRUE(walked);
  EXPECT_EQ(walked->root, root);
  EXPECT_EQ(walked->hashed_files, 0u);
  EXPECT_EQ(other.puts_later, 1);
  EXPECT_EQ(other.puts, 0);
}

TEST_F(ContextTest, IgnorePatternsKeepOut) {
  Write("keep", "k");
  Write("node_modules/x/index.js", "x");
  Write("node_modules/keep/me.js", "m");
  Write("src/a.log", "l");
  Write("src/a.c", "c");
  spec_.exclude = {"node_modules", "**/*.log"};
  EXPECT_EQ(WalkAndList(), "keep src/ src/a.c");
  spec_.exclude = {"node_modules", "!node_modules/keep"};
  EXPECT_EQ(WalkAndList(),
            "keep node_modules/ node_modules/keep/ node_modules/keep/me.js "
            "src/ src/a.c src/a.log");
  spec_.exclude = {"node_modules", "!node_modules/none"};
  EXPECT_EQ(WalkAndList(), "keep src/ src/a.c src/a.log");
  spec_.exclude = {"*", "!**/*.c"};
  EXPECT_EQ(WalkAndList(), "src/ src/a.c");
  spec_.exclude = {"["};
  EXPECT_EQ(WalkError().code, Code::kInvalid);
}

TEST_F(ContextTest, ExcludedDirectoryIsNotListed) {
  Write("secret/x", "x");
  Write("a", "a");
  ASSERT_EQ(chmod((dir_ + "/secret").c_str(), 0), 0);
  ASSERT_EQ(chmod(base_.c_str(), 0777), 0);
  bool root = geteuid() == 0;
  ASSERT_EQ(root ? seteuid(65534) : 0, 0);
  spec_.stat_cache_file.clear();
  spec_.exclude = {"secret", "!other/*"};
  std::string listed = WalkAndList();
  spec_.exclude.clear();
  Error error = WalkError();
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  EXPECT_EQ(listed, "a");
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_EQ(error.hint, "make it readable, or exclude it in .dockerignore");
}

TEST_F(ContextTest, IncludePatternsBringTheirParents) {
  Write("a/b/c.txt", "c");
  Write("a/b/d.txt", "d");
  Write("e", "e");
  spec_.include = {"a/b/c*"};
  EXPECT_EQ(WalkAndList(), "a/ a/b/ a/b/c.txt");
  spec_.exclude = {"a/b/*.txt"};
  EXPECT_EQ(WalkAndList(), "");
}

TEST_F(ContextTest, OnlyWhatSelectorsReachIsWalked) {
  Write("package.json", "{}");
  Write("src/a.js", "a");
  Write("src/lib/b.js", "b");
  Write("docs/x.md", "x");
  Write("docs/deep/y.md", "y");
  Symlink("docs/deep", "manual");
  Symlink("../package.json", "src/link.json");
  auto reach = [&](std::vector<tree::Selector> selectors) {
    for (auto& selector : selectors) selector.wildcards = selector.allow_empty = true;
    spec_.reach = std::move(selectors);
    ContextTree walked = Walk();
    // Whatever is reached is enough to evaluate the selectors.
    ContextSpec whole = spec_;
    whole.reach.clear();
    auto all = WalkContext(whole, store_, {}, clock_);
    EXPECT_TRUE(all);
    auto reached_digest = tree::SelectionDigest(store_, walked.root, spec_.reach);
    auto whole_digest = tree::SelectionDigest(store_, all->root, spec_.reach);
    EXPECT_EQ(reached_digest.has_value(), whole_digest.has_value());
    if (reached_digest && whole_digest) {
      EXPECT_EQ(*reached_digest, *whole_digest);
    }
    return List(walked.root);
  };
  EXPECT_EQ(reach({{.path = "src/a.js"}}), "src/ src/a.js");
  EXPECT_EQ(reach({{.path = "/src"}}), "src/ src/a.js src/lib/ src/lib/b.js src/link.json");
  EXPECT_EQ(reach({{.path = "manual/y.md"}}), "docs/ docs/deep/ docs/deep/y.md manual");
  EXPECT_EQ(reach({{.path = "manual"}}), "docs/ docs/deep/ docs/deep/y.md manual");
  EXPECT_EQ(reach({{.path = "manual", .follow_last = false}}), "manual");
  EXPECT_EQ(reach({{.path = "src/*.json"}}), "package.json src/ src/link.json");
  EXPECT_EQ(reach({{.path = "s*/*/b.js"}}), "src/ src/lib/ src/lib/b.js");
  EXPECT_EQ(reach({{.path = "missing"}}), "");
  EXPECT_EQ(reach({{.path = "missing/*"}, {.path = "package.json"}}), "package.json");
  EXPECT_EQ(reach({{.path = "./docs/./**/*.md", .parents = true}}), "docs/ docs/deep/ docs/deep/y.md docs/x.md");
  EXPECT_EQ(reach({{.path = "docs/deep/y.md", .parents = true}}), "docs/ docs/deep/ docs/deep/y.md");
  EXPECT_EQ(reach({{.path = "*"}}), reach({{.path = "/"}}));
}

// What is pruned from the walk must be nothing that the patterns let through.
TEST_F(ContextTest, AnyIgnoreListGivesWhatAskingForEachFileGives) {
  std::mt19937 random(11);
  auto name = [&] { return std::string(1, static_cast<char>('a' + random() % 3)); };
  std::set<std::string> files;
  for (int i = 0; i < 120; ++i) {
    std::string path = name();
    while (random() % 3) path += "/" + name();
    files.insert(path + ".f");
  }
  for (const std::string& file : files) Write(file, "x");
  const std::vector<std::string> parts = {"a", "b", "c", "*", "**", "[ab]", "?", "a.f", "*.f", "b*"};
  size_t kept = 0, ignored = 0;
  for (int round = 0; round < 300; ++round) {
    spec_.exclude.clear();
    spec_.include.clear();
    for (size_t i = 1 + random() % 4; i > 0; --i) {
      std::string pattern = random() % 2 ? "!" : "";
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        pattern += parts[random() % parts.size()] + (n > 1 ? "/" : "");
      }
      bool include = random() % 4 == 0 && pattern[0] != '!';
      (include ? spec_.include : spec_.exclude).push_back(pattern);
    }
    std::set<std::string> expected, walked;
    for (const std::string& file : files) {
      bool is_ignored = *IsIgnored(spec_, RelPath(file));
      ++(is_ignored ? ignored : kept);
      if (!is_ignored) expected.insert(file);
    }
    tree::Selector all{.path = "/"};
    auto matches = tree::FindMatches(store_, Walk().root, all);
    ASSERT_TRUE(matches);
    auto visit = [&](const RelPath& below, const Node& node) -> Status {
      if (!node.IsDirectory()) walked.insert(below.str());
      return Ok();
    };
    ASSERT_TRUE(tree::WalkMatch(store_, all, matches->at(0), visit));
    ASSERT_EQ(walked, expected) << Json::Strings(spec_.exclude).Dump() << Json::Strings(spec_.include).Dump();
  }
  EXPECT_GT(kept, 1000u);
  EXPECT_GT(ignored, 1000u);
}

// A walk of what selectors reach is as good for them as a walk of everything.
TEST_F(ContextTest, AnySelectorIsReachedCompletely) {
  std::mt19937 random(12);
  auto name = [&] { return std::string(1, static_cast<char>('a' + random() % 4)); };
  const std::vector<std::string> parts = {"a", "b", "c", "d", "*", "[ab]", "?", "**", "..", "."};
  size_t found = 0;
  for (int tree_number = 0; tree_number < 12; ++tree_number) {
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    for (int i = 0; i < 25; ++i) {
      std::string path = dir_ + "/" + name();
      while (random() % 2) path += "/" + name();
      std::error_code error;
      fs::create_directories(fs::path(path).parent_path(), error);
      if (error || fs::symlink_status(path).type() != fs::file_type::not_found) continue;
      std::string target = random() % 2 ? "/" + name() : "../" + name() + "/" + name();
      switch (random() % 3) {
        case 0:
          fs::create_symlink(target, path);
          break;
        case 1:
          fs::create_directory(path);
          break;
        default:
          std::ofstream(path) << i;
      }
    }
    spec_.reach.clear();
    Digest whole = Walk().root;
    for (int round = 0; round < 150; ++round) {
      tree::Selector selector{.wildcards = random() % 4 != 0, .allow_empty = random() % 2 == 0};
      for (size_t n = 1 + random() % 3; n > 0; --n) {
        selector.path += parts[random() % parts.size()] + (n > 1 ? "/" : "");
      }
      selector.follow_last = random() % 4 != 0;
      selector.parents = random() % 4 == 0;
      if (random() % 4 == 0) selector.exclude = {name(), "*/" + name()};
      spec_.reach = {selector};
      auto walked = WalkContext(spec_, store_, {}, clock_);
      auto expected = tree::SelectionDigest(store_, whole, {selector});
      if (!walked) {
        ASSERT_FALSE(expected) << selector.ToJson().Dump() << walked.error().ToString();
        continue;
      }
      auto reached = tree::SelectionDigest(store_, walked->root, {selector});
      ASSERT_EQ(reached.has_value(), expected.has_value()) << selector.ToJson().Dump();
      if (!expected) continue;
      ++found;
      ASSERT_EQ(*reached, *expected) << selector.ToJson().Dump();
    }
  }
  EXPECT_GT(found, 300u);
}

TEST_F(ContextTest, PartialWalksKeepTheRestOfTheStatCache) {
  Write("src/a.js", "a");
  Write("src/b.js", "b");
  Write("docs/deep/x.md", "x");
  Write("gone/y", "y");
  EXPECT_EQ(Walk().hashed_files, 4u);
  fs::remove_all(dir_ + "/gone");
  Write("src/a.js", "changed");
  spec_.reach = {{.path = "src/a.js"}};
  EXPECT_EQ(Walk().hashed_files, 1u);
  spec_.reach.clear();
  ContextTree walked = Walk();
  EXPECT_EQ(walked.hashed_files, 0u);
  EXPECT_EQ(walked.files, 3u);
  EXPECT_EQ(tree::StatCache::Open(spec_.stat_cache_file).Find("gone").size(), 0u);
}

TEST_F(ContextTest, BigFileAndManyFilesGetTheRightDigests) {
  std::string big(3 << 20, 'x');
  Write("many/big", big);
  for (int i = 0; i < 200; ++i) Write(fmt::format("many/f{}", i), std::string(i, 'y'));
  ContextTree walked = Walk();
  EXPECT_EQ(At(walked.root, "many/big").digest, Digest::Of(big));
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(At(walked.root, fmt::format("many/f{}", i)).digest, Digest::Of(std::string(i, 'y')));
  }
}

TEST_F(ContextTest, MissingOrWrongDirectoryIsAnError) {
  spec_.directory = base_ + "/none";
  Error error = WalkError();
  EXPECT_EQ(error.code, Code::kNotFound);
  EXPECT_EQ(error.hint, "pass an existing directory as the context");
  Write("file", "x");
  spec_.directory = dir_ + "/file";
  EXPECT_EQ(WalkError().code, Code::kInvalid);
}

TEST_F(ContextTest, UnreadableFileIsNamed) {
  Write("ok", "x");
  Write("sub/secret", "x", 0);
  if (geteuid() == 0) {
    // Root reads everything, but for files that drop the capability: run the walk as somebody else.
    ASSERT_EQ(chmod(base_.c_str(), 0777), 0);
    ASSERT_EQ(seteuid(65534), 0);
    Error error = WalkError();
    ASSERT_EQ(seteuid(0), 0);
    EXPECT_EQ(error.code, Code::kInvalid);
    EXPECT_EQ(error.message, "read /sub/secret of the context: Permission denied");
    EXPECT_EQ(error.hint, "make it readable, or exclude it in .dockerignore");
  } else {
    EXPECT_EQ(WalkError().code, Code::kInvalid);
  }
}

TEST_F(ContextTest, StopsWhenAsked) {
  Write("a", "x");
  std::stop_source stop;
  stop.request_stop();
  auto walked = WalkContext(spec_, store_, stop.get_token(), clock_);
  ASSERT_FALSE(walked);
  EXPECT_EQ(walked.error().code, Code::kCancelled);
}

TEST_F(ContextTest, IsIgnoredAnswersAsTheWalkDoes) {
  spec_.exclude = {"dist", "!dist/keep", "*.log"};
  EXPECT_TRUE(*IsIgnored(spec_, RelPath("dist/x")));
  EXPECT_FALSE(*IsIgnored(spec_, RelPath("dist/keep")));
  EXPECT_TRUE(*IsIgnored(spec_, RelPath("a.log")));
  EXPECT_FALSE(*IsIgnored(spec_, RelPath()));
  spec_.include = {"src"};
  EXPECT_FALSE(*IsIgnored(spec_, RelPath("src/a")));
  EXPECT_TRUE(*IsIgnored(spec_, RelPath("other")));
}

TEST_F(ContextTest, RootOpensFilesButNoLinks) {
  Write("a/b", "content");
  Symlink("a", "link");
  Symlink("/etc/passwd", "out");
  auto root = ContextRoot::Open(dir_);
  ASSERT_TRUE(root);
  auto fd = root->OpenFile(RelPath("a/b"));
  ASSERT_TRUE(fd);
  FdReader reader(fd->get());
  EXPECT_EQ(*ReadAll(reader, 100), "content");
  EXPECT_FALSE(root->OpenFile(RelPath("link/b")));
  EXPECT_FALSE(root->OpenFile(RelPath("out")));
}

using HashFileTest = ContextTest;

TEST_F(HashFileTest, FileThatChangesOnceIsReadAgain) {
  Write("a", "old");
  auto root = ContextRoot::Open(dir_);
  int reads = 0;
  auto hashed = HashFile(root->fd(), "a", "a", clock_, [&] {
    if (++reads == 1) Write("a", "newer");
  });
  ASSERT_TRUE(hashed) << hashed.error().ToString();
  EXPECT_EQ(reads, 2);
  EXPECT_EQ(hashed->digest, Digest::Of("newer"));
  EXPECT_EQ(hashed->stamp.size, 5u);
}

TEST_F(HashFileTest, FileThatKeepsChangingIsAnError) {
  Write("sub/a", "x");
  auto root = ContextRoot::Open(dir_ + "/sub");
  std::string content;
  auto hashed = HashFile(root->fd(), "a", "sub/a", clock_, [&] { Write("sub/a", content += "y"); });
  ASSERT_FALSE(hashed);
  EXPECT_EQ(hashed.error().message, "/sub/a of the context changes while it is read");
  EXPECT_EQ(hashed.error().code, Code::kInvalid);
}

TEST_F(HashFileTest, FileThatBecameALinkIsNotFollowed) {
  Write("a", "x");
  Symlink("a", "l");
  auto root = ContextRoot::Open(dir_);
  EXPECT_FALSE(HashFile(root->fd(), "l", "l", clock_));
}

}  // namespace
}  // namespace varve::source
