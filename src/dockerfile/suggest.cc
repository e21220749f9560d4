#include "dockerfile/suggest.h"

#include <algorithm>

#include "base/edit_distance.h"
#include "base/strings.h"

namespace varve::dockerfile {
namespace {

constexpr size_t kFar = 3;  // no slip any more

size_t Distance(std::string_view a, std::string_view b) {
  if (a.size() > b.size() + 2 || b.size() > a.size() + 2) return kFar;
  return std::min(EditDistance(a, b), kFar);
}

}  // namespace

std::string Suggest(std::string_view word, std::span<const std::string_view> candidates, bool case_sensitive) {
  std::string wanted = case_sensitive ? std::string(word) : ToLower(word);
  std::string best;
  size_t best_distance = kFar;
  for (std::string_view candidate : candidates) {
    std::string option = case_sensitive ? std::string(candidate) : ToLower(candidate);
    if (option == wanted) return "";
    size_t distance = Distance(wanted, option);
    // Among equals, the first letter is the one that people get right: RNU is RUN, not ENV.
    bool same_start = !option.empty() && wanted.starts_with(option[0]);
    bool better = distance < best_distance ||
                  (distance == best_distance && distance < kFar && same_start && !wanted.starts_with(best[0]));
    if (better) {
      best_distance = distance;
      best = std::move(option);
    }
  }
  if (!case_sensitive && word != ToLower(word) && word == ToUpper(word)) return ToUpper(best);
  return best;
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates, bool case_sensitive) {
  std::string best = Suggest(word, candidates, case_sensitive);
  return best.empty() ? "" : " (did you mean " + best + "?)";
}

}  // namespace varve::dockerfile
