#include "dockerfile/excerpt.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "base/strings.h"

namespace varve::dockerfile {
namespace {

int EndOf(const Span& span) { return std::max(span.start_line, span.end_line); }

}  // namespace

std::string RenderExcerpt(std::string_view filename, std::string_view source, std::span<const Span> spans) {
  if (spans.empty()) return "";
  std::vector<std::string> lines = Split(source, '\n');
  int count = static_cast<int>(lines.size());
  int start = spans[0].start_line;
  int end = 0;
  for (const Span& span : spans) {
    start = std::min(start, span.start_line);
    end = std::max(end, EndOf(span));
  }
  if (start < 1 || start > count) return "";
  end = std::min(end, count);

  // Rounds, not lines: a round adds a line on each side that has one, and costs one more by itself.
  // This is the reference's arithmetic, which its users' eyes are used to.
  int wanted = start == end ? 4 : 2;
  int first = start;
  for (int padding = 0; padding < wanted; ++padding) {
    if (first > 1) {
      --first;
      ++padding;
    }
    if (end != count) {
      ++end;
      ++padding;
    }
  }

  std::string out = fmt::format("{}:{}\n--------------------\n", filename, start);
  for (int line = first; line <= end; ++line) {
    bool marked = std::any_of(spans.begin(), spans.end(),
                              [&](const Span& span) { return span.start_line <= line && line <= EndOf(span); });
    std::string_view text = lines[static_cast<size_t>(line - 1)];
    if (text.ends_with('\r')) text.remove_suffix(1);
    out += fmt::format(" {:3} | {} {}\n", line, marked ? ">>>" : "   ", text);
  }
  return out + "--------------------\n";
}

}  // namespace varve::dockerfile
