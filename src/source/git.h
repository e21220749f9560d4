// Git sources: from what a Dockerfile names to a commit, and from a commit to files.
//
//   TRY_ASSIGN(GitRef ref, ResolveGitRef(source, access, stop));        // git ls-remote: the pin
//   TRY_ASSIGN(GitCheckout files, FetchGit({source, ref, cache, work, access}, progress, stop));
//
// The git program does the work, without a shell, with none of the user's or the machine's
// configuration and no hooks; nothing may ask for a password. Remotes and submodules are reached
// over http, https, ssh and git only: "ext::" would run a command, "file://" would read this disk.
// A bundle, which has the commits in a file, takes the place of the remote where the source has one.
// Credentials go to git in its environment, never on a command line, and are masked in what comes
// back.
//
// Safe from any thread and process: a mirror is locked while it changes. Everything blocks; a stop
// kills git and gives kCancelled.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"
#include "graph/graph.h"

namespace varve::source {

// How to get at remotes. `token` and `header` are values of secrets, sent to the host of the remote
// alone (its submodules on the same host included).
struct GitAccess {
  std::string token;          // as the password of the user x-access-token
  std::string header;         // value of the Authorization header; wins over `token`
  std::string ssh_auth_sock;  // socket of an agent; empty: no keys at all
  std::string known_hosts;    // file; empty: ssh's own. A host that is not in it is refused
  bool allow_local = false;   // permits file:// remotes; for tests
};

class BuildAnswers;

struct GitRef {
  std::string commit;      // 40 or 64 hex digits
  std::string tag_object;  // of an annotated tag, which leads to the commit
  std::string name;        // "refs/heads/main"; empty: only the commit is known
};

// The commit that the source's ref means now. A ref that is a commit hash is taken as it is and
// nobody is asked. A name without "refs/" is a branch before it is a tag. The source's checksum is
// checked against the commit and the tag object. Errors: kNotFound (repository or ref), kInvalid
// (credentials, checksum, protocol), kUnavailable (the host did not answer).
//
// `bundle`: the file with the source's bundle, which is asked instead of the remote; empty: it has none.
Result<GitRef> ResolveGitRef(const graph::GitSource& source, const GitAccess& access, std::stop_token stop = {},
                             BuildAnswers* answers = nullptr, const std::string& bundle = {});

struct GitRequest {
  graph::GitSource source;
  GitRef ref;                   // of ResolveGitRef; without a commit, FetchGit resolves
  std::string cache_directory;  // mirrors live in its git/; shared between builds
  std::string work_directory;   // the checkout is made in here
  GitAccess access;
  BuildAnswers* answers = nullptr;  // of the build; null: the remote is asked anew
  std::string bundle = {};          // as of ResolveGitRef
};

struct GitCheckout {
  std::string commit;
  std::string directory;  // the source's subdir, where it has one
  std::string root;       // the directory to remove when done, the caller's from now on
};

// Lines that git says while it works: "Receiving objects:  45% (9/20)". On the calling thread.
using GitProgress = std::function<void(std::string_view line)>;

// Files are owned by this process's user, of mode 0644 or 0755 whatever the umask; times are those
// of the checkout, or all the commit's (commit_mtime). Without keep_git_dir no .git is left, not
// those of submodules either. Only what the mirror lacks is fetched, with a depth of one commit. With
// checkout_bundle there is one file, "bundle", and the whole history is fetched.
Result<GitCheckout> FetchGit(const GitRequest& request, const GitProgress& progress = {}, std::stop_token stop = {});

// When the source's commit was made, by its committer: seconds since 1970. Brings the commit into the
// mirror; makes no checkout, and `work_directory` is not used.
Result<int64_t> FetchGitTime(const GitRequest& request, const GitProgress& progress = {}, std::stop_token stop = {});

// Objects as git has them, without their headers: what signatures are made over.
struct GitObjects {
  std::string commit;
  std::string tag;  // empty: no annotated tag led to the commit
};
// As FetchGitTime.
Result<GitObjects> FetchGitObjects(const GitRequest& request, const GitProgress& progress = {},
                                   std::stop_token stop = {});

}  // namespace varve::source
