#include "hcl/source.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::hcl {

namespace {

size_t Characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string Excerpt(const Range& range) {
  std::vector<std::string> lines = Split(range.source->text, '\n');
  if (range.start.line > lines.size()) return "";
  size_t last = std::clamp(range.end.line, range.start.line, std::min(lines.size(), range.start.line + 4));
  // A range that ends where a line begins does not reach into it.
  if (last > range.start.line && range.end.line == last && range.end.column == 1) --last;
  std::string out = "--------------------\n";
  size_t from = range.start.line > 1 ? range.start.line - 1 : 1;
  for (size_t number = from; number <= std::min(lines.size(), last + 1); ++number) {
    std::string_view line = lines[number - 1];
    if (line.ends_with('\r')) line.remove_suffix(1);
    bool marked = number >= range.start.line && number <= last;
    if (number == lines.size() && line.empty() && !marked) break;
    out += fmt::format(" {:3} | {} {}\n", number, marked ? ">>>" : "   ", line);
    if (number != range.start.line) continue;
    size_t end = range.end.line == number ? range.end.column : Characters(line) + 1;
    size_t width = end > range.start.column ? end - range.start.column : 1;
    // Tabs keep their width above the caret.
    std::string indent;
    size_t column = 1;
    for (char c : line) {
      if ((static_cast<unsigned char>(c) & 0xc0) == 0x80) continue;
      if (column++ == range.start.column) break;
      indent += c == '\t' ? '\t' : ' ';
    }
    indent.resize(std::max(indent.size(), range.start.column - 1), ' ');
    out += fmt::format("     |     {}^{}\n", indent, std::string(width - 1, '~'));
  }
  return out + "--------------------";
}

}  // namespace

std::string_view Range::text() const {
  if (!source) return "";
  return std::string_view(source->text).substr(start.byte, end.byte - start.byte);
}

std::string Range::ToString() const {
  if (!source) return "";
  if (start.line == end.line) {
    return fmt::format("{}:{},{}-{}", source->name, start.line, start.column, end.column);
  }
  return fmt::format("{}:{},{}-{},{}", source->name, start.line, start.column, end.line, end.column);
}

Range RangeOver(const Range& first, const Range& last) { return {first.source, first.start, last.end}; }

Error ErrorAt(const Range& range, std::string_view summary, std::string_view detail) {
  if (!range.source) return Invalid("{}; {}", summary, detail);
  return Invalid("{}: {}; {}\n{}", range.ToString(), summary, detail, Excerpt(range));
}

}  // namespace varve::hcl
