#include "progress/text.h"

#include <fmt/core.h>

#include <algorithm>

namespace varve::progress {

std::string FormatSize(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  if (bytes < 1000) return fmt::format("{}B", bytes);
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f}{}", value, kUnits[unit]);
}

std::string Seconds(Timestamp from, Timestamp to) {
  return fmt::format("{:.1f}", static_cast<double>(std::max<int64_t>(0, to.nanos - from.nanos)) / 1e9);
}

std::string CleanLine(std::string_view line) {
  // What a terminal would show of "50%\r100%": the text after the last carriage return.
  while (line.ends_with('\r')) line.remove_suffix(1);
  if (size_t cr = line.rfind('\r'); cr != line.npos) line.remove_prefix(cr + 1);
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    auto c = static_cast<unsigned char>(line[i]);
    if (c == 0x1b) {
      // CSI sequences end at a byte in 0x40–0x7e; other escapes are two bytes (ECMA-48 §5.4).
      if (i + 1 < line.size() && line[i + 1] == '[') {
        i += 2;
        while (i < line.size() && (line[i] < 0x40 || line[i] > 0x7e)) ++i;
      } else {
        ++i;
      }
    } else if (c == '\t') {
      out += ' ';
    } else if (c >= 0x20 && c != 0x7f) {
      out += line[i];
    }
  }
  return out;
}

std::vector<std::string> LastLines(std::string_view log, size_t n) {
  std::vector<std::string> lines;
  while (log.ends_with('\n')) log.remove_suffix(1);
  while (!log.empty() && lines.size() < n) {
    size_t newline = log.rfind('\n');
    std::string_view line = newline == log.npos ? log : log.substr(newline + 1);
    lines.push_back(CleanLine(line));
    if (newline == log.npos) break;
    log = log.substr(0, newline);
  }
  std::ranges::reverse(lines);
  return lines;
}

std::string Fit(std::string_view text, size_t width) {
  size_t columns = 0, end = 0, cut = 0;
  while (end < text.size()) {
    size_t next = end + 1;
    while (next < text.size() && (static_cast<unsigned char>(text[next]) & 0xc0) == 0x80) ++next;
    if (++columns == width) cut = end;
    end = next;
    if (columns > width) return std::string(text.substr(0, cut)) + "…";
  }
  return std::string(text);
}

std::string FailureBlocks(const std::vector<Vertex>& vertices) {
  std::string out;
  for (const Vertex& v : vertices) {
    if (v.error.empty() || v.cancelled || v.excused) continue;
    out += fmt::format("------\n > {}:\n", v.name);
    for (const std::string& line : LastLines(v.log_tail, 10)) out += line + "\n";
    out += "------\n";
  }
  return out;
}

std::string WarningBlock(const std::vector<Warning>& warnings) {
  if (warnings.empty()) return "";
  // Only those of the Dockerfile's checks are shown again, with their lines, by that command.
  const bool checked = std::any_of(warnings.begin(), warnings.end(), [](const Warning& w) { return w.line != 0; });
  std::string out = fmt::format("\n {} warning{} found{}:\n", warnings.size(), warnings.size() == 1 ? "" : "s",
                                checked ? " (see them all with --call=check)" : "");
  for (const Warning& warning : warnings) {
    out += " - " + warning.text + "\n";
    // Of a check the detail explains the rule, which its name says; of others it says what to do.
    if (warning.line == 0 && !warning.detail.empty()) out += "   hint: " + warning.detail + "\n";
  }
  return out;
}

}  // namespace varve::progress
