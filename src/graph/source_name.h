// Sources as BuildKit names them (solver/pb/ops.proto, SourceOp): a URL whose scheme says what kind of source it is,
// and attributes that say the rest (solver/pb/attr.go; source/*/source.go says what they mean). LLB carries them so,
// and source policies select and rewrite them in these words.
//
//   docker-image://docker.io/library/alpine:latest     image.resolvemode=pull
//   git://host/project.git#v1.2:src                    git.fullurl=https://host/project.git, git.keepgitdir=true
//   https://host/file                                  http.checksum=sha256:…
//   local://context                                    local.excludepatterns=["*.o"]
//   oci-layout://name@sha256:…                         oci.store=…
//   docker-image+blob://host/repository@sha256:…       http.filename=…, http.perm=…
//   oci-layout+blob://name@sha256:…                    oci.store=…
//
// Pure.
#pragma once

#include <map>
#include <string>

#include "base/result.h"
#include "graph/graph.h"

namespace varve::graph {

struct SourceName {
  std::string identifier;
  std::map<std::string, std::string> attributes;
  bool operator==(const SourceName&) const = default;
};

// kInvalid for a malformed one, a kind that is not known, and an attribute that varve does not honour.
Result<Op> ParseSource(const SourceName& name);

// Of a source (IsSource). ParseSource gives the source back, but for LocalSource::ignore_file.
SourceName NameOfSource(const Op& op);

}  // namespace varve::graph
