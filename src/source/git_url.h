// Git repositories as users write them.
//
//   https://host/project.git#v1.2:src       http(s) only with a path that ends in ".git"
//   git://host/project   ssh://git@host/project   git@host:project.git
//   https://host/project.git?branch=main&subdir=src&submodules=false
//
// Fragment: <ref>[:<subdir>]. Query keys (reference dockerfile.md §6): ref, tag, branch, subdir,
// checksum or commit, keep-git-dir, submodules, mtime (checkout, commit), fetch-by-commit. A
// boolean without a value is true.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "graph/graph.h"

namespace varve::source {

// Nothing when the text does not name a git repository: a local path, an http URL of a file, and
// "github.com/…", which the field has deprecated and reads as a path. kInvalid when it does and is
// wrong: an unknown or doubled key, fragment and query that contradict each other, or a password in
// the URL, which would end up in keys and logs. Pure.
Result<std::optional<graph::GitSource>> ParseGitUrl(std::string_view text);

// What the URL of a remote says, without query and fragment.
struct GitRemote {
  std::string scheme;  // "https", "http", "ssh" (also for user@host:path) or "git"
  std::string user;
  std::string host;  // with the port
};

// kInvalid for other schemes, among them those that run commands or read this disk, for what ssh
// could take for an option, and for a password. Does not ask for ".git".
Result<GitRemote> CheckGitRemote(std::string_view remote);

// All 40 (sha1) or 64 (sha256) lower-case hex digits of an object name.
bool IsCommitHash(std::string_view text);

// kInvalid for what git check-ref-format would refuse, and for what git could take for an option.
Status CheckGitRef(std::string_view ref);

}  // namespace varve::source
