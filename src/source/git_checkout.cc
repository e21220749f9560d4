#include "source/git_checkout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <vector>

#include "base/strings.h"
#include "graph/source_url.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::source {
namespace {

// Gives what git wrote the modes and times of the contract. git applies the umask, which differs
// between machines, and knows only one permission bit; of its own objects nobody may write any.
class Settler {
 public:
  explicit Settler(std::optional<int64_t> mtime) : mtime_(mtime) {}

  // `path` is for messages. `keep_git`: a .git at this level stays.
  Status Settle(int dir_fd, const std::string& path, bool keep_git) {
    TRY_ASSIGN(std::vector<sys::DirEntry> entries, sys::ListDirectory(dir_fd));
    for (const sys::DirEntry& entry : entries) {
      const std::string name = path + "/" + entry.name;
      // In a submodule it is a file with a path; git lets no commit contain one.
      if (entry.name == ".git" && !keep_git) {
        TRY(sys::RemoveAllAt(dir_fd, entry.name));
        continue;
      }
      struct stat st;
      if (fstatat(dir_fd, entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoError(errno, "stat " + name);
      }
      if (S_ISDIR(st.st_mode)) {
        TRY(EnterDirectory(dir_fd, entry.name, name, keep_git));
      } else if (S_ISREG(st.st_mode)) {
        const mode_t mode = (st.st_mode & S_IXUSR) != 0 ? 0755 : (st.st_mode & S_IWUSR) != 0 ? 0644 : 0444;
        if ((st.st_mode & 07777) != mode && fchmodat(dir_fd, entry.name.c_str(), mode, 0) != 0) {
          return ErrnoError(errno, "chmod " + name);
        }
      }
      TRY(SetTime(dir_fd, entry.name, name));
    }
    return Ok();
  }

  Status SetTime(int dir_fd, const std::string& name, const std::string& path) {
    if (!mtime_) return Ok();
    const timespec times[2] = {{*mtime_, 0}, {*mtime_, 0}};
    if (utimensat(dir_fd, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "set the time of " + path);
    }
    return Ok();
  }

 private:
  Status EnterDirectory(int dir_fd, const std::string& name, const std::string& path, bool keep_git) {
    Fd fd(openat(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) return ErrnoError(errno, "open " + path);
    if (fchmod(fd.get(), 0755) != 0) return ErrnoError(errno, "chmod " + path);
    return Settle(fd.get(), path, keep_git);
  }

  const std::optional<int64_t> mtime_;
};

// Straight from the mirror's objects, with an index beside the files: nothing is copied.
Status CheckOutFiles(const GitCommand& git, const std::string& commit, const std::string& mirror,
                     const std::string& root) {
  const std::string index = root + ".index";
  const std::map<std::string, std::string> env = {{"GIT_INDEX_FILE", index}};
  const std::vector<std::string> where = {"--git-dir=" + mirror, "--work-tree=" + root};
  auto read = where, write = where;
  read.insert(read.end(), {"read-tree", commit});
  write.insert(write.end(), {"checkout-index", "--all", "--force"});
  Status status = Ok();
  if (auto done = git.RunLocal(read, env); !done) {
    status = std::move(done).error();
  } else if (auto written = git.RunLocal(write, env); !written) {
    status = std::move(written).error();
  }
  TRY(sys::RemoveAll(index));
  TRY(sys::RemoveAll(index + ".lock"));
  return status;
}

// Two checkouts of one commit are one tree, on every machine: the index is written anew, without the
// times and inode numbers of these very files, and what says when and from where is left out. A step that
// copies a kept repository would otherwise never be a hit.
Status MakeReproducible(const GitCommand& git, const std::string& git_dir) {
  for (const char* name : {"/FETCH_HEAD", "/ORIG_HEAD", "/logs"}) TRY(sys::RemoveAll(git_dir + name));
  TRY(git.RunLocal({"--git-dir=" + git_dir, "read-tree", "HEAD"}));
  return Ok();
}

// Those of submodules are below modules/, by the submodules' names, which may have slashes in them.
Status MakeModulesReproducible(const GitCommand& git, const std::string& directory) {
  auto fd = sys::OpenDir(directory);
  if (!fd) return fd.error().code == Code::kNotFound ? Ok() : Status(std::move(fd).error());
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
  for (const sys::DirEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    struct stat st;
    if (stat((path + "/objects").c_str(), &st) != 0 || stat((path + "/HEAD").c_str(), &st) != 0) {
      TRY(MakeModulesReproducible(git, path));
      continue;
    }
    TRY(MakeReproducible(git, path));
    TRY(MakeModulesReproducible(git, path + "/modules"));
  }
  return Ok();
}

// A repository of its own, for a .git that is kept and for submodules, which need one.
Status CheckOutRepository(const GitCommand& git, const GitRef& ref, const std::string& mirror,
                          const std::string& root) {
  const std::string git_dir = "--git-dir=" + root + "/.git";
  const std::string format = ref.commit.size() == 64 ? "sha256" : "sha1";
  TRY(git.RunLocal({"init", "--quiet", "--template=", "--object-format=" + format, root}));
  TRY(git.RunLocal({git_dir, "config", "remote.origin.url", git.remote()}));
  TRY(git.RunLocal({git_dir, "config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*"}));

  // Under which names people expect the commit; git describe and version stamps read them.
  std::vector<std::string> fetch = {git_dir, "fetch", "--quiet", "--depth=1", "--no-tags", "--update-head-ok",
                                    // What several threads pack is not the same twice.
                                    "--upload-pack=git -c pack.threads=1 upload-pack", "--", mirror};
  fetch.push_back(MirrorRef(ref.commit) + ":refs/varve/fetched");
  const bool tag_here = !ref.tag_object.empty() &&
                        git.RunLocal({"--git-dir=" + mirror, "cat-file", "-e", MirrorRef(ref.tag_object)}).has_value();
  if (tag_here && ref.name.starts_with("refs/tags/")) fetch.push_back(MirrorRef(ref.tag_object) + ":" + ref.name);
  TRY(git.RunLocal(fetch));
  constexpr std::string_view kHeads = "refs/heads/";
  if (ref.name.starts_with(kHeads)) {
    const std::string branch = ref.name.substr(kHeads.size());
    TRY(git.RunLocal({git_dir, "update-ref", ref.name, ref.commit}));
    TRY(git.RunLocal({git_dir, "update-ref", "refs/remotes/origin/" + branch, ref.commit}));
  } else if (ref.name.starts_with("refs/tags/") && !tag_here) {
    TRY(git.RunLocal({git_dir, "update-ref", ref.name, ref.commit}));
  }
  // Of no branch, as in BuildKit: what reads the file HEAD finds the commit.
  TRY(git.RunLocal({git_dir, "update-ref", "--no-deref", "HEAD", ref.commit + "^{commit}"}));
  TRY(git.RunLocal({git_dir, "update-ref", "-d", "refs/varve/fetched"}));
  TRY(git.RunLocal({git_dir, "--work-tree=" + root, "reset", "--quiet", "--hard", ref.commit}));
  return Ok();
}

// Under which name a bundle has the commit, as in BuildKit: who reads it may ask for the commit itself.
std::string NameInBundle(const std::string& ref) {
  if (ref.empty() || graph::IsCommitHash(ref)) return "refs/heads/main";
  if (ref.starts_with("refs/tags/")) return ref;
  std::string_view name = ref;
  for (std::string_view prefix : {"refs/", "heads/"}) {
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  }
  return "refs/heads/" + std::string(name);
}

// By a repository of its own, which borrows the mirror's objects: a bundle has the names of the one it is made of.
Status WriteBundle(const GitCommand& git, const std::string& name, const std::string& commit, const std::string& mirror,
                   const std::string& root) {
  const std::string repository = root + ".git", git_dir = "--git-dir=" + repository;
  const std::string format = commit.size() == 64 ? "sha256" : "sha1";
  auto write = [&]() -> Status {
    TRY(git.RunLocal({"init", "--quiet", "--bare", "--template=", "--object-format=" + format, repository}));
    TRY(sys::MkdirAll(repository + "/objects/info"));
    TRY(WriteFileAtomically(repository + "/objects/info/alternates", mirror + "/objects\n"));
    TRY(git.RunLocal({git_dir, "update-ref", name, commit}));
    // What several threads pack is not the same twice.
    TRY(git.RunLocal({git_dir, "-c", "pack.threads=1", "bundle", "create", "--quiet", root + "/bundle", name}));
    return Ok();
  };
  Status status = write();
  TRY(sys::RemoveAll(repository));
  return status;
}

Result<bool> HasSubmodules(const GitCommand& git, const std::string& commit, const std::string& mirror) {
  TRY_ASSIGN(const std::string found, git.RunLocal({"--git-dir=" + mirror, "ls-tree", commit, "--", ".gitmodules"}));
  return !found.empty();
}

}  // namespace

Result<int64_t> CommitTime(const GitCommand& git, const std::string& commit, const std::string& mirror) {
  TRY_ASSIGN(const std::string text,
             git.RunLocal({"--git-dir=" + mirror, "show", "--no-patch", "--format=%ct", commit}));
  const auto seconds = ParseInt(TrimSpace(text));
  if (!seconds) return Corrupt("git commit {} has no time: \"{}\"", commit, TrimSpace(text));
  return *seconds;
}

std::string MirrorRef(const std::string& commit) { return "refs/varve/" + commit; }

Status CheckOutGit(const GitCommand& git, const graph::GitSource& source, const GitRef& ref, const std::string& mirror,
                   const std::string& root) {
  bool submodules = false;
  if (source.submodules && !source.checkout_bundle) {
    TRY_ASSIGN(submodules, HasSubmodules(git, ref.commit, mirror));
  }
  if (source.checkout_bundle) {
    TRY(WriteBundle(git, NameInBundle(source.ref), ref.commit, mirror, root));
  } else if (submodules || source.keep_git_dir) {
    TRY(CheckOutRepository(git, ref, mirror, root));
  } else {
    TRY(CheckOutFiles(git, ref.commit, mirror, root));
  }
  if (submodules) {
    // --checkout: the way of updating comes from us, whatever .gitmodules says.
    const std::vector<std::string> update = {"submodule", "update", "--init", "--recursive", "--checkout"};
    auto shallow = update;
    shallow.push_back("--depth=1");
    // A web server that only has the files of a repository cannot leave its history out.
    if (!git.Run(shallow, root)) TRY(git.Run(update, root));
  }
  if (source.keep_git_dir) {
    TRY(MakeReproducible(git, root + "/.git"));
    TRY(MakeModulesReproducible(git, root + "/.git/modules"));
  }
  std::optional<int64_t> mtime;
  if (source.commit_mtime) {
    TRY_ASSIGN(mtime, CommitTime(git, ref.commit, mirror));
  }
  TRY_ASSIGN(Fd fd, sys::OpenDir(root));
  if (fchmod(fd.get(), 0755) != 0) return ErrnoError(errno, "chmod " + root);
  Settler settler(mtime);
  TRY(settler.Settle(fd.get(), root, source.keep_git_dir));
  return settler.SetTime(fd.get(), ".", root);
}

}  // namespace varve::source
