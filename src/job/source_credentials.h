// How a build reaches git and http sources outside of its steps: its main context, and what it asks for the time of.
#pragma once

#include <string>

#include "exec/secrets.h"
#include "graph/graph.h"
#include "job/build_flags.h"
#include "source/git.h"

namespace varve::job {

struct BuildClient;

class SourceCredentials {
 public:
  // Of the flags and this process's agent; for a client, its own alone. Both outlive this.
  SourceCredentials(const BuildFlags& flags, const BuildClient* client);

  Result<source::GitAccess> Of(const graph::GitSource& git) const;
  // The Authorization header; empty: none.
  Result<std::string> Of(const graph::HttpSource& http) const;

 private:
  const BuildClient* const client_;
  const exec::Secrets secrets_;
};

}  // namespace varve::job
