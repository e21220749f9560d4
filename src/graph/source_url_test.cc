#include "graph/source_url.h"

#include <gtest/gtest.h>

namespace varve::graph {
namespace {

GitSource Parsed(std::string_view text) {
  auto source = ParseGitUrl(text);
  EXPECT_TRUE(source) << text << ": " << (source ? "" : source.error().ToString());
  if (!source || !*source) {
    ADD_FAILURE() << text << " is no git URL";
    return {};
  }
  return (*source)->source;
}

Error Refused(std::string_view text) {
  auto source = ParseGitUrl(text);
  if (source) {
    ADD_FAILURE() << text << " was accepted";
    return {};
  }
  EXPECT_EQ(source.error().code, Code::kInvalid);
  return source.error();
}

TEST(ParseGitUrl, TakesTheFormsOfRepositories) {
  for (std::string_view text :
       {"https://example.com/x.git", "http://example.com/a/b.git", "https://example.com:8443/x.git",
        "git://example.com/x", "ssh://git@example.com/x", "ssh://git@example.com:2222/x.git", "git@example.com:x",
        "git@example.com:group/x.git", "https://user@example.com/x.git"}) {
    GitSource source = Parsed(text);
    EXPECT_EQ(source.remote, text);
    EXPECT_EQ(source.ref, "");
    EXPECT_EQ(source.subdir, "");
    EXPECT_TRUE(source.submodules);
    EXPECT_FALSE(source.keep_git_dir);
  }
}

TEST(ParseGitUrl, LeavesEverythingElseAlone) {
  for (std::string_view text : {"",
                                ".",
                                "-",
                                "/src/x.git",
                                "./x.git",
                                "../x.git",
                                "x.git",
                                "https://example.com/x",
                                "https://example.com/x.tar.gz",
                                "https://example.com/x.git/raw/file",
                                "https://example.com/x#y.git",
                                "https://example.com/x?f=y.git",
                                "file:///x.git",
                                "ext::sh -c id",
                                "ftp://example.com/x.git",
                                "example.com:x",
                                "c:\\x",
                                "@example.com:x",
                                "git@:x",
                                "git@example.com:",
                                "https:///x.git",
                                "git@-oProxyCommand=id:x",
                                "-u@example.com:x",
                                "ssh://-oProxyCommand=id/x",
                                "a b@example.com:x"}) {
    auto source = ParseGitUrl(text);
    ASSERT_TRUE(source) << text;
    EXPECT_FALSE(*source) << text;
  }
}

TEST(ParseGitUrl, WhatLooksLikeADirectoryOfGithubSaysSo) {
  for (std::string_view text : {"github.com/a/b", "github.com/a/b.git"}) {
    auto url = ParseGitUrl(text);
    ASSERT_TRUE(url && *url) << text;
    EXPECT_TRUE((*url)->looks_local);
    EXPECT_EQ((*url)->source.remote, "https://" + std::string(text));
  }
  EXPECT_FALSE((*ParseGitUrl("https://github.com/a/b.git"))->looks_local);
  EXPECT_FALSE(IsHttpUrl("github.com/a/b"));
}

TEST(ParseGitUrl, SchemesAreLowerCaseSoThatOneRepositoryHasOneName) {
  EXPECT_EQ(Parsed("HTTPS://example.com/X.git").remote, "https://example.com/X.git");
}

TEST(ParseGitUrl, AnEncodedSuffixIsASuffix) {
  EXPECT_EQ(Parsed("https://example.com/x%2Egit").remote, "https://example.com/x%2Egit");
}

TEST(ParseGitUrl, TellsWhetherTheUrlItselfAsksForTheGitDirectory) {
  EXPECT_EQ((*ParseGitUrl("https://h/r.git"))->keep_git_dir, std::nullopt);
  EXPECT_EQ((*ParseGitUrl("https://h/r.git?keep-git-dir"))->keep_git_dir, true);
  EXPECT_EQ((*ParseGitUrl("https://h/r.git?keep-git-dir=false"))->keep_git_dir, false);
}

TEST(IsHttpUrl, TakesFilesAndNoRepositories) {
  for (std::string_view text :
       {"http://h/x", "https://h/x.tar.gz?y=1", "https://h/x.git/raw/f", "https://h", "https://h/%zz"}) {
    EXPECT_TRUE(IsHttpUrl(text)) << text;
  }
  for (std::string_view text :
       {"https://h/x.git", "https://h/x.git?bad=1", "ftp://h/x", "h/x", "git://h/x", "https:///x"}) {
    EXPECT_FALSE(IsHttpUrl(text)) << text;
  }
}

TEST(HttpFileName, IsTheLastPartOfThePath) {
  EXPECT_EQ(HttpFileName("https://h/a/b.txt?c=d#e"), "b.txt");
  EXPECT_EQ(HttpFileName("https://h/a%20b"), "a b");
  EXPECT_EQ(HttpFileName("https://h/a/"), "a");
  EXPECT_EQ(HttpFileName("https://h/"), "__unnamed__");
  EXPECT_EQ(HttpFileName("https://h"), "__unnamed__");
  EXPECT_EQ(HttpFileName("https://h/a/.."), "__unnamed__");
}

TEST(ParseGitUrl, FragmentIsRefAndDirectory) {
  GitSource source = Parsed("https://example.com/x.git#v1.2:sub/dir");
  EXPECT_EQ(source.remote, "https://example.com/x.git");
  EXPECT_EQ(source.ref, "v1.2");
  EXPECT_EQ(source.subdir, "sub/dir");

  EXPECT_EQ(Parsed("git@example.com:x.git#main").ref, "main");
  EXPECT_EQ(Parsed("git@example.com:x.git#main").remote, "git@example.com:x.git");
  EXPECT_EQ(Parsed("git://example.com/x#:docs").ref, "");
  EXPECT_EQ(Parsed("git://example.com/x#:docs").subdir, "docs");
  EXPECT_EQ(Parsed("git://example.com/x#main:").subdir, "");
  EXPECT_EQ(Parsed("git://example.com/x#").ref, "");
  EXPECT_EQ(Parsed("git://example.com/x#feature%2Fone").ref, "feature/one");
  EXPECT_EQ(Parsed("git://example.com/x#refs/pull/7/head").ref, "refs/pull/7/head");
}

TEST(ParseGitUrl, DirectoryCannotClimbOut) {
  EXPECT_EQ(Parsed("git://example.com/x#main:../../etc").subdir, "etc");
  EXPECT_EQ(Parsed("git://example.com/x#main:/a/./b/").subdir, "a/b");
  EXPECT_EQ(Parsed("git://example.com/x?subdir=../etc").subdir, "etc");
  EXPECT_EQ(Parsed("git://example.com/x#main:.").subdir, "");
}

TEST(ParseGitUrl, QuerySetsEveryField) {
  const std::string commit(40, 'a');
  GitSource source = Parsed(
      "https://example.com/x.git?branch=main&subdir=a%20b&keep-git-dir=1&submodules=false&"
      "mtime=commit&fetch-by-commit&commit=" +
      commit);
  EXPECT_EQ(source.remote, "https://example.com/x.git");
  EXPECT_EQ(source.ref, "refs/heads/main");
  EXPECT_EQ(source.subdir, "a b");
  EXPECT_EQ(source.checksum, commit);
  EXPECT_TRUE(source.keep_git_dir);
  EXPECT_FALSE(source.submodules);
  EXPECT_TRUE(source.commit_mtime);
  EXPECT_TRUE(source.fetch_by_commit);

  EXPECT_EQ(Parsed("https://example.com/x.git?tag=v1").ref, "refs/tags/v1");
  EXPECT_EQ(Parsed("https://example.com/x.git?tag=refs/tags/v1").ref, "refs/tags/v1");
  EXPECT_EQ(Parsed("https://example.com/x.git?ref=v1").ref, "v1");
  EXPECT_EQ(Parsed("https://example.com/x.git?checksum=0123abc").checksum, "0123abc");
  EXPECT_TRUE(Parsed("https://example.com/x.git?keep-git-dir").keep_git_dir);
  EXPECT_FALSE(Parsed("https://example.com/x.git?mtime=checkout").commit_mtime);
  EXPECT_EQ(Parsed("git@example.com:x.git?tag=v1#:d").subdir, "d");
  EXPECT_EQ(Parsed("https://example.com/x.git?").ref, "");
}

TEST(ParseGitUrl, QueryAndFragmentMayAgreeAndMustNotContradict) {
  EXPECT_EQ(Parsed("https://example.com/x.git?ref=v1#v1").ref, "v1");
  EXPECT_EQ(Refused("https://example.com/x.git?ref=v1#v2").message, "ref conflicts: \"v1\" vs \"v2\"");
  Refused("https://example.com/x.git?tag=a&branch=a");
  Refused("https://example.com/x.git?subdir=a#main:b");
  Refused("https://example.com/x.git?commit=aa&checksum=bb");
}

TEST(ParseGitUrl, RefusesMistakesInTheQuery) {
  EXPECT_EQ(Refused("https://example.com/x.git?brnch=main").hint, "did you mean \"branch\"?");
  Refused("https://example.com/x.git?unknown=1");
  Refused("https://example.com/x.git?ref=a&ref=a");
  Refused("https://example.com/x.git?ref=");
  Refused("https://example.com/x.git?subdir");
  Refused("https://example.com/x.git?submodules=maybe");
  Refused("https://example.com/x.git?mtime=now");
  Refused("https://example.com/x.git?checksum=xyz");
  Refused("https://example.com/x.git?checksum=ABCD");
  Refused("https://example.com/x.git?ref=a%2");
  Refused("https://example.com/x.git?ref=a%zz");
}

TEST(ParseGitUrl, RefusesRefsThatGitCouldMisread) {
  for (std::string_view ref :
       {"--upload-pack=id", "+main", "a..b", "a b", "a^{}", "a~1", "a*", "a@{1}", "/a", "a/", "a//b", "a.lock", "a."}) {
    Error error = Refused(fmt::format("https://example.com/x.git#{}", ref));
    EXPECT_EQ(error.message, fmt::format("\"{}\" is not a valid git ref", ref));
  }
  Refused("https://example.com/x.git?ref=a:b");
  Refused("https://example.com/x.git?ref=a%0ab");
}

TEST(ParseGitUrl, RefusesPasswordsThatNothingTakesAndDoesNotRepeatThem) {
  EXPECT_EQ(Parsed("https://user:hunter2@example.com/x.git").remote, "https://user:hunter2@example.com/x.git");
  Error error = Refused("ssh://user:hunter2@example.com/x.git");
  EXPECT_EQ(error.ToString().find("hunter2"), std::string::npos);
  EXPECT_NE(error.hint.find("--ssh"), std::string::npos);
}

TEST(WithoutPassword, LeavesThePlaceAlone) {
  EXPECT_EQ(WithoutPassword("https://user:hunter2@example.com:8443/x.git#main"), "https://example.com:8443/x.git#main");
  for (const char* url : {"https://user@example.com/x.git", "ssh://git@example.com:2222/x", "git@example.com:x:y.git",
                          "https://example.com/a:b@c.git", "../a:b@c"}) {
    EXPECT_EQ(WithoutPassword(url), url);
  }
}

TEST(WithoutPassword, IsWhatKeysAreMadeOf) {
  auto canonical = [](const char* remote) {
    return CanonicalOp({.op = GitSource{.remote = remote}, .platform = {}}).DumpCanonical();
  };
  EXPECT_EQ(canonical("https://user:hunter2@example.com/x.git"), canonical("https://example.com/x.git"));
}

TEST(ParseGitUrl, RefusesRemotesThatWouldNotBeFetched) {
  for (const char* text : {"git@example.com:a b.git", "git@example.com:\x1b[31m.git", "https://example.com/a\tb.git",
                           "git://example.com/x\n#main"}) {
    auto source = ParseGitUrl(text);
    ASSERT_FALSE(source) << text;
    EXPECT_EQ(source.error().message, "\"(unprintable)\" is not the URL of a git repository");
  }
}

TEST(CheckGitRemote, TakesWhatGitMayBeGiven) {
  auto remote = CheckGitRemote("https://me@example.com:8443/x");
  ASSERT_TRUE(remote);
  EXPECT_EQ(remote->scheme, "https");
  EXPECT_EQ(remote->user, "me");
  EXPECT_EQ(remote->host, "example.com:8443");
  EXPECT_EQ(CheckGitRemote("git@example.com:x")->scheme, "ssh");
  EXPECT_EQ(CheckGitRemote("SSH://git@example.com/x")->scheme, "ssh");
  EXPECT_EQ(CheckGitRemote("git://example.com/x")->host, "example.com");
}

TEST(CheckGitRemote, RefusesTheRest) {
  for (std::string_view text :
       {"", "/x", "x.git", "file:///x", "ext::sh -c id", "ext::id", "fd::3", "--upload-pack=id", "ftp://example.com/x",
        "ssh://-oProxyCommand=id/x", "git@-oProxyCommand=id:x", "https://example.com/x y", "https://example.com/x\ny",
        "https://example.com/x#main", "https://example.com/x?ref=main", "ssh://me:hunter2@example.com/x",
        "https://me:hunter2@example.com/x#main", "ftp://me:hunter2@example.com/x"}) {
    auto remote = CheckGitRemote(text);
    ASSERT_FALSE(remote) << text;
    EXPECT_EQ(remote.error().code, Code::kInvalid);
    EXPECT_EQ(remote.error().ToString().find("hunter2"), std::string::npos);
    EXPECT_FALSE(remote.error().hint.empty()) << text;
  }
}

TEST(IsCommitHash, WantsAllDigits) {
  EXPECT_TRUE(IsCommitHash(std::string(40, 'f')));
  EXPECT_TRUE(IsCommitHash(std::string(64, '0')));
  EXPECT_FALSE(IsCommitHash(std::string(39, 'f')));
  EXPECT_FALSE(IsCommitHash(std::string(40, 'F')));
  EXPECT_FALSE(IsCommitHash(std::string(40, 'g')));
  EXPECT_FALSE(IsCommitHash(""));
}

}  // namespace
}  // namespace varve::graph
