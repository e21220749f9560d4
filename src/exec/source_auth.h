// Which of a build's secrets are credentials for a git or http source (reference dockerfile.md §6).
//
//   git over http(s)  GIT_AUTH_HEADER.<host>, GIT_AUTH_TOKEN.<host>, GIT_AUTH_HEADER, GIT_AUTH_TOKEN:
//                     the first that was given; <host> with its port, where the URL has one
//   http(s)           the header that the source itself names, else HTTP_AUTH_TOKEN_<host>, else
//   HTTP_AUTH_HEADER_<host>; <host> without the port
//
// A header is the value of Authorization, a token becomes "Bearer …", for git the password of
// x-access-token. What is returned is never written to a key, a record, a log or an error.
#pragma once

#include <string>

#include "exec/secrets.h"
#include "graph/graph.h"
#include "source/git.h"

namespace varve::exec {

// `token` or `header`, or neither.
Result<source::GitAccess> FindGitAccess(const graph::GitSource& source, const Secrets& secrets);

// The value of the Authorization header; empty: none was given.
Result<std::string> FindHttpAuthorization(const graph::HttpSource& source, const Secrets& secrets);

}  // namespace varve::exec
