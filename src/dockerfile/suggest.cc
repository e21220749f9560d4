#include "dockerfile/suggest.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/strings.h"

namespace varve::dockerfile {
namespace {

// Levenshtein's; anything above two is as good as infinite.
size_t Distance(std::string_view a, std::string_view b) {
  constexpr size_t kFar = 3;
  if (a.size() > b.size() + 2 || b.size() > a.size() + 2) return kFar;
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return std::min(row.back(), kFar);
}

}  // namespace

std::string Suggest(std::string_view word, std::span<const std::string_view> candidates,
                    bool case_sensitive) {
  std::string wanted = case_sensitive ? std::string(word) : ToLower(word);
  std::string best;
  size_t best_distance = 3;
  for (std::string_view candidate : candidates) {
    std::string option = case_sensitive ? std::string(candidate) : ToLower(candidate);
    if (option == wanted) return "";
    size_t distance = Distance(wanted, option);
    // Among equals, the first letter is the one that people get right: RNU is RUN, not ENV.
    bool same_start = !option.empty() && wanted.starts_with(option[0]);
    bool better = distance < best_distance || (distance == best_distance && distance < 3 &&
                                               same_start && !wanted.starts_with(best[0]));
    if (better) {
      best_distance = distance;
      best = std::move(option);
    }
  }
  if (!case_sensitive && word != ToLower(word) && word == ToUpper(word)) return ToUpper(best);
  return best;
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates,
                       bool case_sensitive) {
  std::string best = Suggest(word, candidates, case_sensitive);
  return best.empty() ? "" : " (did you mean " + best + "?)";
}

}  // namespace varve::dockerfile
