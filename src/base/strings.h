// Small text functions used all over.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve {

std::string_view TrimSpace(std::string_view text);
std::string ToLower(std::string_view text);  // ASCII
std::string ToUpper(std::string_view text);  // ASCII
bool EqualsIgnoreCase(std::string_view a, std::string_view b);
std::vector<std::string> Split(std::string_view text, char separator);  // "" gives one empty part
std::string Join(std::span<const std::string> parts, std::string_view separator);
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);
std::optional<int64_t> ParseInt(std::string_view text, int base = 10);  // the whole text, or nothing
std::optional<bool> ParseBool(std::string_view text);                   // Go's strconv.ParseBool

// One CSV record as Go's encoding/csv reads it: a field may be quoted, "" inside is a quote.
Result<std::vector<std::string>> ParseCsvRecord(std::string_view line);

// The candidate nearest to `word` by edit distance, for "did you mean"; nothing within a third of
// its length.
std::optional<std::string> NearestWord(std::string_view word, std::span<const std::string_view> candidates);

// 1.5 GB, 340 kB: decimal units, as the field's tools print sizes.
std::string FormatBytes(uint64_t bytes);

// "64m", "1.5GB", "100": binary multiples as docker's units.RAMInBytes reads them.
Result<uint64_t> ParseRamBytes(std::string_view text);

}  // namespace varve
