// The files of a commit that a mirror holds; the second half of FetchGit.
#pragma once

#include <string>

#include "base/result.h"
#include "source/git.h"
#include "source/git_command.h"

namespace varve::source {

// Where a mirror keeps a commit that it holds completely.
std::string MirrorRef(const std::string& commit);

// When the commit was made, by its committer: seconds since 1970. The mirror has the commit.
Result<int64_t> CommitTime(const GitCommand& git, const std::string& commit, const std::string& mirror);

// Writes the commit's files into the empty directory `root`. `mirror` is a bare repository with
// MirrorRef(commit). Submodules are fetched from where they are.
Status CheckOutGit(const GitCommand& git, const graph::GitSource& source, const GitRef& ref, const std::string& mirror,
                   const std::string& root);

}  // namespace varve::source
