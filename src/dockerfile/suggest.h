// "did you mean": the rule of the reference implementation, which base's NearestWord is not: an
// edit distance of at most two whatever the length (RNU → RUN), nothing for an exact match.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace varve::dockerfile {

// The candidate nearest to `word`, or "". Without `case_sensitive`, the answer takes word's case.
std::string Suggest(std::string_view word, std::span<const std::string_view> candidates, bool case_sensitive);

// " (did you mean X?)", or "".
std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates, bool case_sensitive);

}  // namespace varve::dockerfile
