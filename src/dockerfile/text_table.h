// Columns as Go's tabwriter sets them, which is what clients of the reference print.
#pragma once

#include <string>
#include <vector>

namespace varve::dockerfile {

// Each column is padded to its widest cell and `gap` blanks; the last one is not padded.
std::string TextTable(const std::vector<std::vector<std::string>>& rows, size_t gap);

}  // namespace varve::dockerfile
