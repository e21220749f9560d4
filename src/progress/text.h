// Pieces of text that the displays share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "progress/board.h"

namespace varve::progress {

// "1.50MB", "999B": decimal units with two decimals, as the field's progress prints sizes.
std::string FormatSize(uint64_t bytes);

// Seconds between two times with one decimal: "1.2".
std::string Seconds(Timestamp from, Timestamp to);

// The last `n` lines of a log, without carriage-return overprints and escape sequences.
std::vector<std::string> LastLines(std::string_view log, size_t n);

// One line without control characters and ANSI sequences: logs must not move our cursor.
std::string CleanLine(std::string_view line);

// At most `width` columns, counting UTF-8 characters as one; cut text ends in "…".
std::string Fit(std::string_view text, size_t width);

// The block that names each failed vertex again, with its last lines.
std::string FailureBlocks(const std::vector<Vertex>& vertices);

// " 1 warning found:" and one " - " line each; empty without warnings. The command that shows them again is
// named where one is of the Dockerfile's checks.
std::string WarningBlock(const std::vector<Warning>& warnings);

}  // namespace varve::progress
