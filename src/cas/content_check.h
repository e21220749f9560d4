// The check behind every Commit.
#pragma once

#include <optional>

#include "base/digest.h"

namespace varve::cas {

inline Status CheckContent(const std::optional<Digest>& expected, const Digest& actual) {
  if (!expected || *expected == actual) return Ok();
  return Corrupt("blob {} arrived with other content: its digest is {}", expected->ToString(), actual.ToString());
}

}  // namespace varve::cas
