// Errors of a Dockerfile say in their message what is wrong, in the reference's words, for which
// scripts look; and in their hint what was expected, in ours.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace varve::dockerfile {

inline Error Hinted(Error error, std::string hint) {
  error.hint = std::move(hint);
  return error;
}

// "a, b or c".
inline std::string OneOf(std::span<const std::string_view> words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 < words.size() ? ", " : " or ";
    out += words[i];
  }
  return out;
}

}  // namespace varve::dockerfile
