// requirements.txt (pip.pypa.io, "Requirements File Format").
#include "base/strings.h"
#include "packages/forms.h"

namespace varve::packages {
namespace {

// Up to a '#' at the beginning or behind a blank.
std::string_view WithoutComment(std::string_view line) {
  for (size_t at = line.find('#'); at != line.npos; at = line.find('#', at + 1)) {
    if (at == 0 || line[at - 1] == ' ' || line[at - 1] == '\t') return line.substr(0, at);
  }
  return line;
}

}  // namespace

Form FormOfRequirements(std::string_view text) {
  std::string form, joined;
  // As pip does: lines are joined first, and a comment line ends what was begun.
  auto take = [&] {
    std::string_view line = TrimSpace(WithoutComment(joined));
    if (!line.empty()) form += std::string(line) + "\n";
    joined.clear();
  };
  for (std::string& line : Split(text, '\n')) {
    if (line.ends_with('\r')) line.pop_back();
    bool comment = TrimSpace(line).starts_with('#');
    if (!comment && line.ends_with('\\')) {
      joined += line.substr(0, line.size() - 1);
      continue;
    }
    // A blank in front, so that the comment of a line that went on is one.
    joined += comment ? " " + line : line;
    take();
  }
  take();
  return form;
}

}  // namespace varve::packages
