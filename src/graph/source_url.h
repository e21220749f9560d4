// Sources that are named by a URL, as users write them: git repositories, and files over http.
//
//   https://host/project.git#v1.2:src       http(s) only with a path that ends in ".git"
//   git://host/project   ssh://git@host/project   git@host:project.git
//   https://host/project.git?branch=main&subdir=src&submodules=false
//
// Fragment: <ref>[:<subdir>]. Query keys (reference dockerfile.md §6): ref, tag, branch, subdir,
// checksum or commit, keep-git-dir, submodules, mtime (checkout, commit), fetch-by-commit. A
// boolean without a value is true.
//
// Everything here is pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "graph/graph.h"

namespace varve::graph {

// A password in a URL is nobody's business: "https://xxxxx:xxxxx@host/", as BuildKit writes it.
std::string WithoutCredentials(const std::string& url);

// The same URL for the place alone, as it enters keys, names of steps and what is kept: without a user who has a
// password. Who has none stays: it is git@ of ssh, or the name of an account.
std::string WithoutPassword(const std::string& url);

struct GitUrl {
  GitSource source;
  std::optional<bool> keep_git_dir;  // what the URL itself says about it
  // "github.com/org/repo", which the field has deprecated: where such a directory exists it means
  // that, and a source of ADD or COPY is always a path.
  bool looks_local = false;
};

// Nothing when the text does not name a git repository: a local path or an http URL of a file.
// kInvalid when it does and is wrong: an unknown or doubled key, fragment and query that contradict
// each other, or a password in a URL that is not of http.
Result<std::optional<GitUrl>> ParseGitUrl(std::string_view text);

// http:// and https:// URLs that name no git repository.
bool IsHttpUrl(std::string_view text);

// The name that a file downloaded from `url` gets: the last part of the path, or "__unnamed__".
std::string HttpFileName(std::string_view url);

// What the URL of a remote says, without query and fragment.
struct GitRemote {
  std::string scheme;  // "https", "http", "ssh" (also for user@host:path) or "git"
  std::string user;
  std::string host;  // with the port
};

// kInvalid for other schemes, among them those that run commands or read this disk, for what ssh
// could take for an option, and for a password of other schemes than http. Does not ask for ".git".
Result<GitRemote> CheckGitRemote(std::string_view remote);

// All 40 (sha1) or 64 (sha256) lower-case hex digits of an object name.
bool IsCommitHash(std::string_view text);

// kInvalid for what cannot be the first digits of an object name.
Status CheckCommitPrefix(std::string_view text);

// kInvalid for what git check-ref-format would refuse, and for what git could take for an option.
Status CheckGitRef(std::string_view ref);

}  // namespace varve::graph
