#include "dockerfile/parse_warnings.h"

#include "dockerfile/parser.h"

namespace varve::dockerfile {

std::vector<Warning> WarningsAbove(std::string_view text, int line, const std::optional<std::string>& override_value) {
  size_t end = 0;
  for (int i = 1; i < line && end < text.size(); ++i) {
    const size_t newline = text.find('\n', end);
    end = newline == text.npos ? text.size() : newline + 1;
  }
  auto file = ParseDockerfile(text.substr(0, end));
  if (!file) return {};
  auto options = FileCheckOptions(file->directives, override_value);
  if (!options) return {};
  Linter linter(std::move(*options));
  CheckFile(*file, linter);
  return linter.warnings();
}

}  // namespace varve::dockerfile
