// For tests of git sources: repositories of which every commit is known.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/strings.h"
#include "source/git.h"
#include "sys/process.h"
#include "sys/tempdir.h"

namespace varve::source {

namespace fs = std::filesystem;

// Runs the real git on repositories in a temporary directory. Fixed names and dates: the commits
// have the same hashes in every run.
class GitTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!sys::FindProgram("git")) GTEST_SKIP() << "the program git is missing";
    auto temp = sys::TempDir::Create(testing::TempDir(), "varve-git-");
    ASSERT_TRUE(temp);
    temp_ = std::move(*temp);
    access_.allow_local = true;
    if (prepared_) {
      const auto options = fs::copy_options::recursive | fs::copy_options::copy_symlinks;
      fs::copy(prepared_->path(), temp_.path(), options);
      return;
    }
    MakeRepositories();
    // Twenty runs of git, half of what all tests take: once for all.
    auto prepared = sys::TempDir::Create(testing::TempDir(), "varve-git-prepared-");
    ASSERT_TRUE(prepared);
    fs::copy(temp_.path(), prepared->path(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    prepared_ = std::make_unique<sys::TempDir>(std::move(*prepared));
  }
  static void TearDownTestSuite() { prepared_.reset(); }

  void MakeRepositories() {
    Git("", {"init", "-q", "-b", "main", Path("work")});
    Write("work/readme", "one\n");
    Write("work/sub/deep/file", "deep\n");
    Write("work/run.sh", "#!/bin/sh\n", 0755);
    fs::create_symlink("readme", Path("work/link"));
    fs::create_symlink("..", Path("work/sub/out"));
    first_ = Commit("work", "first");
    Git("work", {"tag", "light"});
    Git("work", {"tag", "-a", "-m", "notes", "annotated"});
    Write("work/readme", "two\n");
    second_ = Commit("work", "second");
    Git("work", {"branch", "feature/x", first_});
    Git("work", {"update-ref", "refs/pull/7/head", first_});
    Git("", {"clone", "-q", "--mirror", Path("work"), Path("remote.git")});
  }

  std::string Path(const std::string& name) const { return temp_.path() + "/" + name; }

  std::string Git(const std::string& directory, std::vector<std::string> arguments) {
    sys::SpawnSpec spec;
    spec.argv = {"git", "-c", "protocol.file.allow=always"};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    if (!directory.empty()) spec.cwd = Path(directory);
    spec.env = {{"PATH=" + std::string(getenv("PATH")), "HOME=" + temp_.path(), "GIT_CONFIG_NOSYSTEM=1",
                 "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=c",
                 "GIT_COMMITTER_EMAIL=c@example.com", "GIT_AUTHOR_DATE=1700000000 +0000",
                 "GIT_COMMITTER_DATE=1700000001 +0000"}};
    auto text = sys::RunAndRead(std::move(spec));
    EXPECT_TRUE(text) << (text ? "" : text.error().ToString());
    return text ? std::string(TrimSpace(*text)) : "";
  }

  std::string Commit(const std::string& directory, const std::string& message) {
    Git(directory, {"add", "-A"});
    Git(directory, {"commit", "-q", "-m", message});
    return Git(directory, {"rev-parse", "HEAD"});
  }

  void Push() { Git("work", {"push", "-q", "--mirror", "--force", Path("remote.git")}); }

  void Write(const std::string& name, std::string_view text, unsigned mode = 0644) {
    fs::create_directories(fs::path(Path(name)).parent_path());
    ASSERT_TRUE(WriteFileAtomically(Path(name), text, mode));
  }

  graph::GitSource Source(const std::string& ref = "") const {
    graph::GitSource source;
    source.remote = "file://" + Path("remote.git");
    source.ref = ref;
    return source;
  }

  Result<GitRef> Resolve(const graph::GitSource& source) { return ResolveGitRef(source, access_); }

  Result<GitCheckout> Fetch(const graph::GitSource& source, const std::string& bundle = {}) {
    return FetchGit({source, {}, Path("cache"), Path("out"), access_, nullptr, bundle},
                    [this](std::string_view line) { progress_.emplace_back(line); });
  }

  // Whatever is below, "path mode content", without .git directories.
  std::string Listing(const std::string& directory) {
    std::vector<std::string> lines;
    for (auto it = fs::recursive_directory_iterator(directory); it != fs::end(it); ++it) {
      const std::string name = it->path().lexically_relative(directory);
      struct stat st;
      EXPECT_EQ(lstat(it->path().c_str(), &st), 0);
      if (it->path().filename() == ".git") {
        lines.push_back(name);
        it.disable_recursion_pending();
      } else if (it->is_symlink()) {
        lines.push_back(name + " -> " + fs::read_symlink(it->path()).string());
      } else if (it->is_directory()) {
        lines.push_back(fmt::format("{} {:o}", name, st.st_mode & 07777));
      } else {
        auto text = ReadFile(it->path());
        lines.push_back(fmt::format("{} {:o} {}", name, st.st_mode & 07777, text ? TrimSpace(*text) : "unreadable"));
      }
    }
    std::sort(lines.begin(), lines.end());
    return Join(lines, "\n");
  }

  sys::TempDir temp_;
  static inline std::unique_ptr<sys::TempDir> prepared_;
  static inline std::string first_, second_;
  GitAccess access_;
  std::vector<std::string> progress_;
};

}  // namespace varve::source
