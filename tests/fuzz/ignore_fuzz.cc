// Ignore files and patterns: any bytes give an error or a matcher, and the matcher keeps its
// promises.
//
// Input: the ignore file, a line "%%", then paths to match, one per line.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/rel_path.h"
#include "base/result.h"
#include "tree/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using varve::RelPath;
  using varve::tree::FileMatch;
  using varve::tree::Glob;
  using varve::tree::PatternList;
  if (size > 4096) return 0;
  std::string_view input(reinterpret_cast<const char*>(data), size);
  size_t cut = input.find("\n%%\n");
  std::string_view paths = cut == input.npos ? std::string_view("a/b.c\nx") : input.substr(cut + 4);

  auto patterns = varve::tree::ReadIgnoreFile(input.substr(0, cut));
  if (!patterns) return 0;
  auto list = PatternList::Compile(*patterns);
  if (list) {
    // Every pattern of a list that compiled compiles alone.
    for (const std::string& pattern : *patterns) CHECK(PatternList::Compile({pattern}).has_value());
  }
  while (!paths.empty()) {
    size_t end = paths.find('\n');
    RelPath path(paths.substr(0, end));
    paths = end == paths.npos ? std::string_view() : paths.substr(end + 1);
    for (const std::string& pattern : *patterns) (void)FileMatch(pattern, path.str());
    if (!list || path.IsRoot()) continue;
    (void)list->Matches(path.str());
    (void)list->MatchesWalking(path.str());
    for (const std::string& pattern : *patterns) {
      auto glob = Glob::CompileIgnore(pattern);
      if (!glob || !glob->Matches(path.str())) continue;
      for (RelPath p = path.Parent(); !p.IsRoot(); p = p.Parent()) {
        CHECK(glob->MayMatchBelow(p.str()));
      }
    }
  }
  return 0;
}
