#include "source/git.h"

#include <sys/stat.h>

#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/metric.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "source/build_answers.h"
#include "source/git_checkout.h"
#include "source/git_command.h"
#include "sys/flock.h"
#include "sys/open.h"
#include "sys/remove.h"
#include "sys/tempdir.h"

namespace varve::source {
namespace {

// What `git ls-remote` prints: "<object>\t<name>\n", an annotated tag's commit as "<name>^{}".
std::map<std::string, std::string> ParseRemoteRefs(std::string_view text) {
  std::map<std::string, std::string> refs;
  for (const std::string& line : Split(text, '\n')) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos || !graph::IsCommitHash(line.substr(0, tab))) continue;
    refs[line.substr(tab + 1)] = line.substr(0, tab);
  }
  return refs;
}

// The names that a ref may mean, most likely first. Branches come before tags, as in git checkout.
std::vector<std::string> Candidates(const std::string& ref) {
  if (ref.empty() || ref == "HEAD") return {"HEAD"};
  if (ref.starts_with("refs/")) return {ref};
  return {"refs/heads/" + ref, "refs/tags/" + ref, "refs/" + ref};
}

// The branch that HEAD is, from the line "ref: refs/heads/main\tHEAD".
std::string HeadBranch(std::string_view text) {
  for (const std::string& line : Split(text, '\n')) {
    if (line.starts_with("ref: ") && line.ends_with("\tHEAD")) return line.substr(5, line.size() - 10);
  }
  return "HEAD";
}

Status CheckChecksum(const GitCommand& git, const graph::GitSource& source, const GitRef& ref) {
  if (source.checksum.empty() || ref.commit.starts_with(source.checksum) ||
      ref.tag_object.starts_with(source.checksum)) {
    return Ok();
  }
  Error error = Invalid("git repository {}: expected checksum to match {}, got {} at {}", git.shown_remote(),
                        source.checksum, ref.commit, source.ref.empty() ? "HEAD" : source.ref);
  error.hint = "the ref has moved, or the checksum is wrong: find out which before changing it";
  return error;
}

Error RefNotFound(const GitCommand& git, const graph::GitSource& source) {
  // The words that clients look for.
  Error error = NotFound("git repository {}: repository does not contain ref {}", git.shown_remote(),
                         source.ref.empty() ? "HEAD" : source.ref);
  error.hint = "a commit must be given with all its digits; list names with git ls-remote";
  return error;
}

Result<std::string> ListRefs(const GitCommand& git, const std::vector<std::string>& names, const std::string& bundle) {
  std::vector<std::string> arguments = {"ls-remote", "--symref", "--", bundle.empty() ? git.remote() : bundle};
  for (const std::string& name : names) {
    arguments.push_back(name);
    arguments.push_back(name + "^{}");
  }
  return bundle.empty() ? git.Run(arguments) : git.RunLocal(arguments);
}

Result<GitRef> Resolve(const GitCommand& git, const graph::GitSource& source, const std::string& bundle) {
  TRY(graph::CheckGitRef(source.ref));
  GitRef ref;
  if (graph::IsCommitHash(source.ref)) {
    ref.commit = source.ref;
  } else if (graph::IsCommitHash(source.checksum) && (source.fetch_by_commit || source.ref.empty())) {
    ref.commit = source.checksum;
  } else if (source.fetch_by_commit) {
    Error error = Invalid("git repository {} is to be fetched by commit, and no commit is given", git.shown_remote());
    error.hint = "add checksum= with all digits of the commit";
    return error;
  } else {
    const std::vector<std::string> candidates = Candidates(source.ref);
    TRY_ASSIGN(const std::string text, ListRefs(git, candidates, bundle));
    const std::map<std::string, std::string> refs = ParseRemoteRefs(text);
    for (const std::string& name : candidates) {
      const auto found = refs.find(name);
      if (found == refs.end()) continue;
      ref.name = name == "HEAD" ? HeadBranch(text) : name;
      ref.commit = found->second;
      if (const auto peeled = refs.find(name + "^{}"); peeled != refs.end()) {
        ref.tag_object = std::exchange(ref.commit, peeled->second);
      }
      break;
    }
    if (ref.commit.empty()) return RefNotFound(git, source);
  }
  TRY(CheckChecksum(git, source, ref));
  return ref;
}

// A bare repository with what was ever fetched of one remote. Commits that are complete have a ref
// of their own, which also keeps git gc from dropping them.
class Mirror {
 public:
  static Result<Mirror> Open(const GitCommand& git, const GitRequest& request, const std::string& commit,
                             std::stop_token stop) {
    const bool sha256 = commit.size() == 64;  // a repository has one object format
    Mirror mirror(git, request.bundle);
    const std::string parent = request.cache_directory + "/git";
    mirror.path_ = fmt::format("{}/{}{}", parent, Digest::Of(git.remote()).Hex(), sha256 ? "-sha256" : "");
    mirror.format_ = sha256 ? "sha256" : "sha1";
    TRY(sys::MkdirAll(parent));
    TRY_ASSIGN(mirror.lock_, sys::FlockGuard::Lock(mirror.path_ + ".lock", sys::LockMode::kExclusive, std::move(stop)));
    TRY(mirror.Initialise());
    return mirror;
  }

  const std::string& path() const { return path_; }

  bool Has(const std::string& object) const {
    return git_.RunLocal({Dir(), "cat-file", "-e", MirrorRef(object)}).has_value();
  }

  // Makes the commit, and the tag object that leads to it, complete here; for a bundle with what it stands on.
  Status Fetch(const graph::GitSource& source, const GitRef& ref) {
    const bool here = Has(ref.commit) && (ref.tag_object.empty() || Has(ref.tag_object));
    if (here && !(source.checkout_bundle && IsShallow())) return Ok();
    METRIC("source.git_fetch");
    if (!bundle_.empty()) return FetchBundle(ref);
    if (!source.checkout_bundle) {
      Status fetched = FetchShallow(source, ref);
      if (fetched || fetched.error().code != Code::kExec) return fetched;
    }
    // Some servers hand out only what a ref names. Then the commit is somewhere in the history.
    TRY(FetchHistory());
    if (!git_.RunLocal({Dir(), "cat-file", "-e", ref.commit + "^{commit}"})) {
      return RefNotFound(git_, source);
    }
    return Keep(ref);
  }

  // After a failure that is not the remote's: what a killed git left behind may be in the way.
  Status Rebuild() {
    TRY(sys::RemoveAll(path_));
    return Initialise();
  }

 private:
  Mirror(const GitCommand& git, std::string bundle) : git_(git), bundle_(std::move(bundle)) {}

  std::string Dir() const { return "--git-dir=" + path_; }

  Status Initialise() {
    struct stat st;
    if (stat((path_ + "/HEAD").c_str(), &st) == 0) return Ok();
    TRY(sys::RemoveAll(path_));  // of a git that was killed here: its locks would stop the next one for ever
    TRY(git_.RunLocal({"init", "--quiet", "--bare", "--template=", "--object-format=" + format_, path_}));
    return Ok();
  }

  Status FetchShallow(const graph::GitSource& source, const GitRef& ref) {
    std::vector<std::string> fetch = {Dir(),       "fetch",   "--progress", "--depth=1",
                                      "--no-tags", "--force", "--",         git_.remote()};
    // By name first: not all servers take a commit. The ref may have moved since it was resolved.
    if (!ref.name.empty() && !source.fetch_by_commit) {
      auto by_name = fetch;
      by_name.push_back(ref.name + ":refs/fetched");
      TRY(git_.Run(by_name));
      if (Keep(ref)) return Ok();
    }
    fetch.push_back(ref.commit + ":refs/fetched");
    TRY(git_.Run(fetch));
    return Keep(ref);
  }

  bool IsShallow() const {
    struct stat st;
    return stat((path_ + "/shallow").c_str(), &st) == 0;
  }

  Status FetchBundle(const GitRef& ref) {
    TRY(git_.RunLocal({Dir(), "fetch", "--no-tags", "--force", "--", bundle_, "+refs/*:refs/remotes/bundle/*"}));
    if (!git_.RunLocal({Dir(), "cat-file", "-e", ref.commit + "^{commit}"})) {
      return NotFound("git repository {}: commit {} not found in its bundle", git_.shown_remote(), ref.commit);
    }
    return Keep(ref);
  }

  Status FetchHistory() {
    std::vector<std::string> fetch = {Dir(), "fetch", "--progress", "--no-tags", "--force"};
    if (IsShallow()) fetch.push_back("--unshallow");
    fetch.insert(fetch.end(),
                 {"--", git_.remote(), "+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*"});
    TRY(git_.Run(fetch));
    return Ok();
  }

  // A tag that was made anew since it was resolved is gone with its message; the commit may still be had.
  Status Keep(const GitRef& ref) {
    TRY(git_.RunLocal({Dir(), "update-ref", MirrorRef(ref.commit), ref.commit + "^{commit}"}));
    if (!ref.tag_object.empty() && git_.RunLocal({Dir(), "cat-file", "-e", ref.tag_object})) {
      TRY(git_.RunLocal({Dir(), "update-ref", MirrorRef(ref.tag_object), ref.tag_object}));
    }
    return Ok();
  }

  const GitCommand& git_;
  const std::string bundle_;
  std::string path_;
  std::string format_;
  std::optional<sys::FlockGuard> lock_;
};

// The requested directory of the checkout, which a symlink in the commit must not lead out of.
Result<std::string> Subdirectory(const GitCommand& git, const graph::GitSource& source, const std::string& root) {
  const RelPath subdir(source.subdir);
  if (subdir.IsRoot()) return root;
  TRY_ASSIGN(const Fd fd, sys::OpenDir(root));
  if (!sys::OpenDirNoFollow(fd.get(), subdir)) {
    Error error = NotFound("git repository {} has no directory \"{}\" at {}", git.shown_remote(), subdir.str(),
                           source.ref.empty() ? "HEAD" : source.ref);
    error.hint = "symlinks are not followed here: name the directory itself";
    return error;
  }
  return root + "/" + subdir.str();
}

// As the build was answered before.
Result<GitRef> ResolveOnce(const GitCommand& git, const graph::GitSource& source, BuildAnswers* answers,
                           const std::string& bundle) {
  if (answers == nullptr || !bundle.empty()) return Resolve(git, source, bundle);
  if (auto known = answers->Git(source)) {
    TRY(CheckChecksum(git, source, *known));
    return *known;
  }
  TRY_ASSIGN(GitRef ref, Resolve(git, source, bundle));
  answers->SetGit(source, ref);
  return ref;
}

}  // namespace

Result<GitRef> ResolveGitRef(const graph::GitSource& source, const GitAccess& access, std::stop_token stop,
                             BuildAnswers* answers, const std::string& bundle) {
  METRIC("source.git_resolve");
  TRY_ASSIGN(const GitCommand git, GitCommand::Create(source.remote, access, {}, std::move(stop)));
  return ResolveOnce(git, source, answers, bundle);
}

namespace {

// The ref that the request names or resolves to, checked.
Result<GitRef> RefOf(const GitCommand& git, const GitRequest& request) {
  GitRef ref = request.ref;
  if (ref.commit.empty()) {
    TRY_ASSIGN(ref, ResolveOnce(git, request.source, request.answers, request.bundle));
  } else if (!graph::IsCommitHash(ref.commit)) {
    return Invalid("\"{}\" is not a commit hash", ref.commit);
  }
  TRY(CheckChecksum(git, request.source, ref));
  return ref;
}

// Brings the request's commit into its mirror, then calls `use` with where that is. The mirror stays
// locked until then: a collection by a second process would move the objects from under this one.
Status UseMirror(const GitCommand& git, const GitRequest& request, const GitRef& ref, std::stop_token stop,
                 const std::function<Status(const std::string& path)>& use) {
  TRY_ASSIGN(Mirror mirror, Mirror::Open(git, request, ref.commit, stop));
  for (int attempt = 0;; ++attempt) {
    Status status = mirror.Fetch(request.source, ref);
    if (status) status = use(mirror.path());
    if (status || status.error().code != Code::kExec || attempt > 0) return status;
    TRY(mirror.Rebuild());
  }
}

}  // namespace

Result<int64_t> FetchGitTime(const GitRequest& request, const GitProgress& progress, std::stop_token stop) {
  TRY_ASSIGN(const GitCommand git, GitCommand::Create(request.source.remote, request.access, progress, stop));
  TRY_ASSIGN(const GitRef ref, RefOf(git, request));
  int64_t seconds = 0;
  TRY(UseMirror(git, request, ref, stop, [&](const std::string& mirror) -> Status {
    TRY_ASSIGN(seconds, CommitTime(git, ref.commit, mirror));
    return Ok();
  }));
  return seconds;
}

Result<GitObjects> FetchGitObjects(const GitRequest& request, const GitProgress& progress, std::stop_token stop) {
  TRY_ASSIGN(const GitCommand git, GitCommand::Create(request.source.remote, request.access, progress, stop));
  TRY_ASSIGN(const GitRef ref, RefOf(git, request));
  GitObjects objects;
  TRY(UseMirror(git, request, ref, stop, [&](const std::string& mirror) -> Status {
    const std::string git_dir = "--git-dir=" + mirror;
    TRY_ASSIGN(objects.commit, git.RunLocal({git_dir, "cat-file", "commit", ref.commit}));
    if (ref.tag_object.empty()) return Ok();
    TRY_ASSIGN(objects.tag, git.RunLocal({git_dir, "cat-file", "tag", ref.tag_object}));
    return Ok();
  }));
  return objects;
}

Result<GitCheckout> FetchGit(const GitRequest& request, const GitProgress& progress, std::stop_token stop) {
  TRY_ASSIGN(const GitCommand git, GitCommand::Create(request.source.remote, request.access, progress, stop));
  TRY_ASSIGN(const GitRef ref, RefOf(git, request));
  sys::TempDir root;
  TRY(UseMirror(git, request, ref, stop, [&](const std::string& mirror) -> Status {
    METRIC("source.git_checkout");
    TRY_ASSIGN(root, sys::TempDir::Create(request.work_directory, "git-"));
    return CheckOutGit(git, request.source, ref, mirror, root.path());
  }));
  TRY_ASSIGN(std::string directory, Subdirectory(git, request.source, root.path()));
  return GitCheckout{ref.commit, std::move(directory), root.Release()};
}

}  // namespace varve::source
