// Image references as people write them and as registries know them (distribution/reference).
//
//   reference := name [":" tag] ["@" digest]
//   name      := [domain "/"] path        "node" is docker.io/library/node
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/result.h"

namespace varve::oci {

struct Reference {
  std::string domain;  // "docker.io"
  std::string path;    // "library/node"
  std::string tag;     // empty: none
  std::optional<Digest> digest;

  std::string Name() const { return domain + "/" + path; }
  std::string String() const;    // "docker.io/library/node:20"
  std::string Familiar() const;  // "node:20"
  // With ":latest" when there is neither tag nor digest.
  Reference WithDefaultTag() const;
  // What a registry is asked for: the digest if there is one, else the tag.
  std::string Identifier() const;

  bool operator==(const Reference&) const = default;
};

// kInvalid with the rule that is broken: "repository name must be lowercase".
Result<Reference> ParseReference(std::string_view text);

}  // namespace varve::oci
