#include "source/git.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>

#include "source/git_fixture.h"

namespace varve::source {
namespace {

constexpr std::string_view kFilesOfSecond =
    "link -> readme\nreadme 644 two\nrun.sh 755 #!/bin/sh\nsub 755\nsub/deep 755\n"
    "sub/deep/file 644 deep\nsub/out -> ..";

TEST_F(GitTest, ResolvesEveryKindOfName) {
  const std::pair<std::string, std::string> cases[] = {{"", second_},
                                                       {"HEAD", second_},
                                                       {"main", second_},
                                                       {"feature/x", first_},
                                                       {"light", first_},
                                                       {"annotated", first_},
                                                       {"refs/tags/light", first_},
                                                       {"refs/heads/main", second_},
                                                       {"refs/pull/7/head", first_},
                                                       {"pull/7/head", first_},
                                                       {"refs/tags/annotated", first_}};
  for (const auto& [name, commit] : cases) {
    auto ref = Resolve(Source(name));
    ASSERT_TRUE(ref) << name << ": " << ref.error().ToString();
    EXPECT_EQ(ref->commit, commit) << name;
  }
  EXPECT_EQ(Resolve(Source())->name, "refs/heads/main");
  EXPECT_EQ(Resolve(Source("annotated"))->tag_object, Git("work", {"rev-parse", "annotated"}));
}

TEST_F(GitTest, BranchComesBeforeTagOfTheSameName) {
  Git("work", {"tag", "both", first_});
  Git("work", {"branch", "both", second_});
  Push();
  EXPECT_EQ(Resolve(Source("both"))->name, "refs/heads/both");
  EXPECT_EQ(Resolve(Source("refs/tags/both"))->commit, first_);
}

TEST_F(GitTest, CommitHashAsksNobody) {
  graph::GitSource source = Source(first_);
  source.remote = "file:///nowhere/at/all.git";
  auto ref = Resolve(source);
  ASSERT_TRUE(ref) << ref.error().ToString();
  EXPECT_EQ(ref->commit, first_);
  EXPECT_EQ(ref->name, "");
}

TEST_F(GitTest, UnknownRefIsNotFound) {
  for (const std::string& name : {std::string("nope"), std::string("ain"), first_.substr(0, 10)}) {
    auto ref = Resolve(Source(name));
    ASSERT_FALSE(ref) << name;
    EXPECT_EQ(ref.error().code, Code::kNotFound);
    EXPECT_NE(ref.error().message.find("repository does not contain ref " + name), std::string::npos);
    EXPECT_FALSE(ref.error().hint.empty());
  }
  auto checkout = Fetch(Source(std::string(40, '1')));
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, Code::kNotFound) << checkout.error().ToString();
}

TEST_F(GitTest, UnknownRepositoryIsNotFound) {
  graph::GitSource source = Source();
  source.remote = "file://" + Path("missing.git");
  auto ref = Resolve(source);
  ASSERT_FALSE(ref);
  EXPECT_EQ(ref.error().code, Code::kNotFound) << ref.error().ToString();
}

TEST_F(GitTest, ChecksumIsComparedWithCommitAndTagObject) {
  graph::GitSource source = Source("annotated");
  for (const std::string& good : {first_, first_.substr(0, 7), Git("work", {"rev-parse", "annotated"})}) {
    source.checksum = good;
    EXPECT_TRUE(Resolve(source)) << good;
  }
  source.checksum = second_;
  auto wrong = Resolve(source);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kInvalid);
  EXPECT_NE(wrong.error().message.find(first_), std::string::npos);
  EXPECT_NE(wrong.error().message.find(second_), std::string::npos);
  EXPECT_EQ(Fetch(source).error().code, Code::kInvalid);
}

TEST_F(GitTest, FetchByCommitIgnoresWhereTheRefPoints) {
  graph::GitSource source = Source("main");
  source.fetch_by_commit = true;
  EXPECT_EQ(Resolve(source).error().code, Code::kInvalid);
  source.checksum = first_;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(checkout->commit, first_);
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "one\n");
}

TEST_F(GitTest, CheckoutHasTheFilesAndNoRepository) {
  const mode_t old = umask(077);
  auto checkout = Fetch(Source("main"));
  umask(old);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(checkout->commit, second_);
  EXPECT_EQ(checkout->directory, checkout->root);
  EXPECT_EQ(Listing(checkout->directory), kFilesOfSecond);
  // Nothing beside the checkout is left.
  EXPECT_EQ(std::distance(fs::directory_iterator(Path("out")), fs::directory_iterator()), 1);
}

TEST_F(GitTest, CommitsAndTagsCanBeCheckedOut) {
  for (const std::string& name : {first_, std::string("light"), std::string("annotated"), std::string("feature/x"),
                                  std::string("refs/pull/7/head")}) {
    auto checkout = Fetch(Source(name));
    ASSERT_TRUE(checkout) << name << ": " << checkout.error().ToString();
    EXPECT_EQ(checkout->commit, first_);
    EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "one\n");
  }
}

TEST_F(GitTest, SecondFetchOfACommitDoesNotNeedTheRemote) {
  ASSERT_TRUE(Fetch(Source("main")));
  EXPECT_FALSE(progress_.empty());
  fs::rename(Path("remote.git"), Path("gone.git"));
  progress_.clear();
  auto checkout = Fetch(Source(second_));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(Listing(checkout->directory), kFilesOfSecond);
  EXPECT_EQ(progress_, std::vector<std::string>());
  EXPECT_FALSE(Fetch(Source(first_)));  // that one was never fetched: the fetch had depth 1
}

TEST_F(GitTest, MirrorFollowsARefThatMoves) {
  ASSERT_TRUE(Fetch(Source("main")));
  Git("work", {"reset", "-q", "--hard", first_});
  Write("work/readme", "three\n");
  const std::string third = Commit("work", "third");
  Push();
  auto checkout = Fetch(Source("main"));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(checkout->commit, third);
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "three\n");
}

TEST_F(GitTest, PinHoldsThoughTheRefMovesBetweenResolveAndFetch) {
  auto ref = Resolve(Source("main"));
  ASSERT_TRUE(ref);
  Write("work/readme", "three\n");
  Commit("work", "third");
  Push();
  auto checkout = FetchGit({Source("main"), *ref, Path("cache"), Path("out"), access_});
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(checkout->commit, second_);
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "two\n");
}

TEST_F(GitTest, TheCommitOfATagThatWasMadeAnewIsStillFound) {
  graph::GitSource source = Source("annotated");
  auto ref = Resolve(source);
  ASSERT_TRUE(ref);
  Git("work", {"tag", "-f", "-a", "-m", "other notes", "annotated", second_});
  Push();
  Git("remote.git", {"gc", "-q", "--prune=now"});  // the tag object that was resolved is nowhere any more
  source.keep_git_dir = true;
  auto checkout = FetchGit({source, *ref, Path("cache"), Path("out"), access_});
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "one\n");
  EXPECT_EQ(Git("", {"--git-dir=" + checkout->directory + "/.git", "rev-parse", "annotated"}), first_);
}

TEST_F(GitTest, ServerThatServesOnlyRefsStillGivesOldCommits) {
  // Such servers speak protocol 0; here a git in front of the real one refuses as they do.
  Write("bin/git",
        "#!/bin/sh\ncase \"$*\" in *" + first_ +
            ":refs/fetched)\n"
            "  echo 'error: Server does not allow request for unadvertised object' >&2\n"
            "  exit 128;;\nesac\nexec " +
            *sys::FindProgram("git") + " \"$@\"\n",
        0755);
  Git("work", {"tag", "-d", "light"});
  Git("work", {"tag", "-d", "annotated"});
  Git("work", {"branch", "-D", "feature/x"});
  Push();
  ASSERT_TRUE(Fetch(Source("main")));  // leaves a shallow mirror, which has to be deepened
  const std::string path = getenv("PATH");
  setenv("PATH", (Path("bin") + ":" + path).c_str(), 1);
  auto checkout = Fetch(Source(first_));
  auto unknown = Fetch(Source(std::string(40, '1')));
  setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "one\n");
  EXPECT_EQ(unknown.error().code, Code::kNotFound);
}

TEST_F(GitTest, ABundleHasTheCommitWithItsHistoryUnderTheNameThatWasAskedFor) {
  graph::GitSource source = Source("main");
  ASSERT_TRUE(Fetch(source));  // shallow: a bundle of that would lead nowhere
  source.checkout_bundle = true;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(Listing(checkout->directory).substr(0, 11), "bundle 644 ");
  Git("", {"init", "-q", "--bare", Path("elsewhere")});
  Git("elsewhere", {"fetch", "-q", checkout->directory + "/bundle", "+refs/*:refs/*"});
  EXPECT_EQ(Git("elsewhere", {"rev-parse", "refs/heads/main"}), second_);
  EXPECT_EQ(Git("elsewhere", {"rev-parse", "main~1"}), first_);

  auto again = Fetch(source);
  ASSERT_TRUE(again);
  EXPECT_EQ(*ReadFile(again->directory + "/bundle"), *ReadFile(checkout->directory + "/bundle"));
  source.ref = "refs/tags/annotated";
  auto tag = Fetch(source);
  ASSERT_TRUE(tag) << tag.error().ToString();
  EXPECT_EQ(Git("", {"ls-remote", tag->directory + "/bundle"}), first_ + "\trefs/tags/annotated");
}

TEST_F(GitTest, CommitsOfABundleNeedNoRemote) {
  Git("work", {"bundle", "create", "-q", Path("b"), "main", "annotated"});
  graph::GitSource source = Source("main");
  source.remote = "https://git.invalid/project.git";
  source.checksum = second_;
  auto checkout = Fetch(source, Path("b"));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(*ReadFile(checkout->directory + "/readme"), "two\n");

  auto ref = ResolveGitRef(source, access_, {}, nullptr, Path("b"));
  ASSERT_TRUE(ref);
  EXPECT_EQ(ref->name, "refs/heads/main");
  source.ref = "annotated";
  EXPECT_EQ(Fetch(source, Path("b")).error().code, Code::kInvalid);  // another commit than the checksum says

  source.ref = source.checksum = std::string(40, 'a');
  EXPECT_NE(Fetch(source, Path("b")).error().message.find("not found in its bundle"), std::string::npos);
}

TEST_F(GitTest, SubdirectoryMustBeOneInTheCommit) {
  graph::GitSource source = Source("main");
  source.subdir = "sub/deep";
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(Listing(checkout->directory), "file 644 deep");
  for (const char* bad : {"missing", "readme", "sub/out", "sub/out/sub", "link"}) {
    source.subdir = bad;
    auto failed = Fetch(source);
    ASSERT_FALSE(failed) << bad;
    EXPECT_EQ(failed.error().code, Code::kNotFound);
  }
}

TEST_F(GitTest, CommitTimeIsSetOnEverything) {
  graph::GitSource source = Source("main");
  source.commit_mtime = true;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  for (const char* name : {"", "/readme", "/link", "/sub", "/sub/deep", "/sub/deep/file"}) {
    struct stat st;
    ASSERT_EQ(lstat((checkout->directory + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_mtim.tv_sec, 1700000001) << name;
    EXPECT_EQ(st.st_mtim.tv_nsec, 0) << name;
  }
}

TEST_F(GitTest, ObjectsAreThoseThatHashesAndSignaturesAreOver) {
  auto objects = FetchGitObjects({Source("annotated"), {}, Path("cache"), "", access_});
  ASSERT_TRUE(objects) << objects.error().ToString();
  EXPECT_EQ(TrimSpace(objects->commit), Git("work", {"cat-file", "commit", first_}));
  EXPECT_EQ(TrimSpace(objects->tag), Git("work", {"cat-file", "tag", "annotated"}));
  EXPECT_TRUE(objects->commit.ends_with("\n"));
  objects = FetchGitObjects({Source(second_), {}, Path("cache"), "", access_});
  ASSERT_TRUE(objects) << objects.error().ToString();
  EXPECT_EQ(TrimSpace(objects->commit), Git("work", {"cat-file", "commit", second_}));
  EXPECT_EQ(objects->tag, "");
}

TEST_F(GitTest, KeptRepositoryIsCleanAndKnowsItsNames) {
  graph::GitSource source = Source("main");
  source.keep_git_dir = true;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_TRUE(fs::is_directory(checkout->directory + "/.git"));
  const std::string out = fs::relative(checkout->directory, temp_.path());
  EXPECT_EQ(Git(out, {"status", "--porcelain"}), "");
  EXPECT_EQ(Git(out, {"rev-parse", "HEAD"}), second_);
  EXPECT_EQ(TrimSpace(*ReadFile(checkout->directory + "/.git/HEAD")), second_);
  EXPECT_EQ(Git(out, {"rev-parse", "refs/heads/main"}), second_);
  EXPECT_EQ(Git(out, {"config", "remote.origin.url"}), source.remote);
  EXPECT_EQ(Git(out, {"log", "--format=%s"}), "second");  // depth 1
  EXPECT_EQ(Git(out, {"fsck"}), "");
  EXPECT_FALSE(fs::exists(checkout->directory + "/.git/hooks"));

  source.ref = "annotated";
  auto tagged = Fetch(source);
  ASSERT_TRUE(tagged) << tagged.error().ToString();
  EXPECT_EQ(Git(fs::relative(tagged->directory, temp_.path()), {"describe"}), "annotated");
}

// "path mode sha256" of everything, the repository's own files included.
std::string Everything(const std::string& directory) {
  std::vector<std::string> lines;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    struct stat st;
    EXPECT_EQ(lstat(entry.path().c_str(), &st), 0);
    auto text = entry.is_regular_file() && !entry.is_symlink() ? ReadFile(entry.path()) : std::string();
    EXPECT_TRUE(text);
    lines.push_back(fmt::format("{} {:o} {}", entry.path().lexically_relative(directory).string(), st.st_mode,
                                Digest::Of(text.value_or("")).Hex()));
  }
  std::ranges::sort(lines);
  return Join(lines, "\n");
}

TEST_F(GitTest, KeptRepositoriesOfOneCommitAreTheSameTree) {
  for (int i = 0; i < 150; ++i) Write(fmt::format("work/many/{}", i), fmt::format("file {}\n", i));
  const std::string commit = Commit("work", "more than git keeps as single objects");
  Push();
  graph::GitSource source = Source("main");
  source.keep_git_dir = true;
  auto first = Fetch(source);
  ASSERT_TRUE(first) << first.error().ToString();
  // Another time and umask, another machine's cache, and a checksum that changes nothing.
  const mode_t umask_before = umask(077);
  source.checksum = commit;
  auto second = FetchGit({source, {}, Path("other-cache"), Path("out"), access_});
  umask(umask_before);
  ASSERT_TRUE(second) << second.error().ToString();
  EXPECT_EQ(Everything(first->directory), Everything(second->directory));
  EXPECT_EQ(Git(fs::relative(second->directory, temp_.path()), {"status", "--porcelain"}), "");
}

class GitSubmoduleTest : public GitTest {
 protected:
  void AddSubmodule(const std::string& url) {
    Git("", {"init", "-q", "-b", "main", Path("library")});
    Write("library/code", "library\n");
    Commit("library", "library");
    Git("work", {"submodule", "add", "-q", Path("library"), "vendor/library"});
    Git("work", {"config", "-f", ".gitmodules", "submodule.vendor/library.url", url});
    Commit("work", "with submodule");
    Push();
  }
};

TEST_F(GitSubmoduleTest, FilesOfSubmodulesAreThereAndTheirRepositoriesAreNot) {
  AddSubmodule("file://" + Path("library"));
  auto checkout = Fetch(Source("main"));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(*ReadFile(checkout->directory + "/vendor/library/code"), "library\n");
  EXPECT_EQ(Listing(checkout->directory).find(".git\n"), std::string::npos);
  EXPECT_FALSE(fs::exists(checkout->directory + "/.git"));
  EXPECT_FALSE(fs::exists(checkout->directory + "/vendor/library/.git"));
}

TEST_F(GitSubmoduleTest, KeptRepositoriesWithSubmodulesAreTheSameTree) {
  AddSubmodule("file://" + Path("library"));
  graph::GitSource source = Source("main");
  source.keep_git_dir = true;
  auto first = Fetch(source), second = Fetch(source);
  ASSERT_TRUE(first) << first.error().ToString();
  ASSERT_TRUE(second) << second.error().ToString();
  EXPECT_EQ(Everything(first->directory), Everything(second->directory));
  const std::string library = fs::relative(second->directory, temp_.path()).string() + "/vendor/library";
  EXPECT_EQ(Git(library, {"status", "--porcelain"}), "");
}

TEST_F(GitSubmoduleTest, SubmodulesCanBeLeftOut) {
  AddSubmodule("file://" + Path("missing"));
  graph::GitSource source = Source("main");
  source.submodules = false;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_TRUE(fs::is_empty(checkout->directory + "/vendor/library"));
  EXPECT_FALSE(Fetch(Source("main")));
}

TEST_F(GitSubmoduleTest, SubmoduleCannotRunACommand) {
  AddSubmodule("ext::sh -c \"touch% " + Path("pwned") + "\"");
  auto checkout = Fetch(Source("main"));
  ASSERT_FALSE(checkout);
  EXPECT_FALSE(fs::exists(Path("pwned")));
  EXPECT_EQ(checkout.error().code, Code::kInvalid) << checkout.error().ToString();
  EXPECT_TRUE(fs::is_empty(Path("out")));
}

TEST_F(GitTest, ProtocolsThatReadThisMachineAreRefused) {
  access_.allow_local = false;
  for (std::string remote :
       {"file://" + Path("remote.git"), Path("remote.git"), std::string("ext::sh -c id"),
        std::string("--upload-pack=id"), std::string("ssh://-oProxyCommand=id/x"), std::string("")}) {
    graph::GitSource source = Source("main");
    source.remote = remote;
    auto ref = Resolve(source);
    ASSERT_FALSE(ref) << remote;
    EXPECT_EQ(ref.error().code, Code::kInvalid) << remote;
  }
}

TEST_F(GitTest, HooksAndConfigurationOfTheUserAreNotUsed) {
  Write(".gitconfig", "[core]\n\thooksPath = " + Path("hooks") +
                          "\n[url \"file:///nowhere\"]\n"
                          "\tinsteadOf = file://" +
                          temp_.path() + "\n");
  Write("hooks/post-checkout", "#!/bin/sh\ntouch " + Path("hooked") + "\n", 0755);
  const char* home = getenv("HOME");
  const std::string old = home ? home : "";
  setenv("HOME", temp_.path().c_str(), 1);
  graph::GitSource source = Source("main");
  source.keep_git_dir = true;
  auto checkout = Fetch(source);
  setenv("HOME", old.c_str(), 1);
  EXPECT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_FALSE(fs::exists(Path("hooked")));
}

TEST_F(GitTest, LeftoversOfAKilledGitAreRepaired) {
  ASSERT_TRUE(Fetch(Source("light")));
  for (const auto& entry : fs::directory_iterator(Path("cache/git"))) {
    if (!entry.is_directory()) continue;
    std::ofstream(entry.path() / "shallow.lock") << "x";
    std::ofstream(entry.path() / "packed-refs.lock") << "x";
    std::ofstream(entry.path() / "config.lock") << "x";
  }
  auto checkout = Fetch(Source("main"));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(Listing(checkout->directory), kFilesOfSecond);
}

TEST_F(GitTest, DamagedMirrorIsFetchedAgain) {
  ASSERT_TRUE(Fetch(Source("main")));
  for (const auto& entry : fs::recursive_directory_iterator(Path("cache/git"))) {
    if (entry.path().extension() == ".pack") {
      fs::permissions(entry.path(), fs::perms::owner_all);
      fs::resize_file(entry.path(), 20);
    }
    if (entry.is_regular_file() && entry.path().string().find("/objects/") != std::string::npos &&
        entry.path().extension() == "") {
      fs::permissions(entry.path(), fs::perms::owner_all);
      fs::resize_file(entry.path(), 3);
    }
  }
  auto checkout = Fetch(Source("main"));
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(Listing(checkout->directory), kFilesOfSecond);
}

TEST_F(GitTest, StopEndsTheWork) {
  std::stop_source stop;
  stop.request_stop();
  auto checkout = FetchGit({Source("main"), {}, Path("cache"), Path("out"), access_}, {}, stop.get_token());
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, Code::kCancelled);
}

TEST_F(GitTest, Sha256RepositoriesWork) {
  Git("", {"init", "-q", "-b", "main", "--object-format=sha256", Path("wide")});
  Write("wide/file", "wide\n");
  const std::string commit = Commit("wide", "wide");
  ASSERT_EQ(commit.size(), 64u);
  graph::GitSource source = Source("main");
  source.remote = "file://" + Path("wide");
  source.keep_git_dir = true;
  auto checkout = Fetch(source);
  ASSERT_TRUE(checkout) << checkout.error().ToString();
  EXPECT_EQ(checkout->commit, commit);
  EXPECT_EQ(*ReadFile(checkout->directory + "/file"), "wide\n");
}

}  // namespace
}  // namespace varve::source
