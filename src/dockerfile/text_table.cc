#include "dockerfile/text_table.h"

#include <fmt/core.h>

#include <algorithm>

namespace varve::dockerfile {

std::string TextTable(const std::vector<std::vector<std::string>>& rows, size_t gap) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i + 1 < row.size(); ++i) {
      out += fmt::format("{:<{}}", row[i], widths[i] + gap);
    }
    if (!row.empty()) out += row.back();
    out += "\n";
  }
  return out;
}

}  // namespace varve::dockerfile
