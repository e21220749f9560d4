#include "cli/named_flags.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::cli {

NamedWords::NamedWords(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::string_view word = argv[i];
    if (word.starts_with('-') && !word.starts_with("--")) letters_ += word.substr(1);
    words_.insert(word.starts_with("--") ? word.substr(0, word.find('=')) : word);
  }
}

bool NamedWords::MayName(std::string_view names) const {
  return std::ranges::any_of(Split(names, ','), [&](std::string_view name) {
    if (name.starts_with('!')) name.remove_prefix(1);
    name = name.substr(0, name.find('{'));
    if (name.starts_with("--")) return words_.contains(name);
    return !name.starts_with('-') || letters_.find(name[1]) != letters_.npos;
  });
}

}  // namespace varve::cli
