// Which sources of ADD, build contexts and named contexts are git repositories, and what they ask
// of them (reference dockerfile.md §6).
//
//   https://host/org/repo.git#ref:subdir      http(s) only where the path ends in ".git"
//   git://… ssh://… user@host:path
//   https://host/org/repo.git?branch=main&subdir=docs&checksum=1234567…
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "graph/graph.h"

namespace varve::dockerfile {

struct GitRef {
  std::string remote;  // URL without query and fragment
  std::string ref;
  std::string subdir;  // no leading slash
  std::string checksum;
  std::optional<bool> keep_git_dir;
  std::optional<bool> submodules;
  std::string mtime;  // "checkout", "commit", or empty
  bool fetch_by_commit = false;
  // "github.com/org/repo", which may be a local path: a context may be written so, a source of ADD
  // is then a path.
  bool may_be_local = false;

  graph::GitSource ToSource() const;
};

// Nothing when `text` is no git repository; kInvalid when it is one with a query that makes no
// sense.
Result<std::optional<GitRef>> ParseGitRef(std::string_view text);

// http:// and https:// URLs that are no git repository.
bool IsHttpUrl(std::string_view text);

// The name that a file downloaded from `url` gets: the last part of the path, or "__unnamed__".
std::string HttpFileName(std::string_view url);

}  // namespace varve::dockerfile
