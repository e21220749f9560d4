// How the operands of a logical line are cut up. One function per form; which instruction uses
// which is in raw.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::dockerfile {

// `RUN --mount=x --network=none make` → "RUN", the flags without their quotes, "make".
struct CommandParts {
  std::string keyword;
  std::vector<std::string> flags;
  std::string operands;  // trimmed
};
CommandParts SplitCommand(std::string_view line, char escape);

// Words at blanks outside quotes; quotes and escapes stay, to be taken off by expansion.
std::vector<std::string> SplitWords(std::string_view text, char escape);

// At runs of blanks, quotes or not. Nothing for no text.
std::vector<std::string> SplitBlanks(std::string_view text);

// ["a", "b"]; nothing when the text is no JSON array. kInvalid: an array of something else.
Result<std::optional<std::vector<std::string>>> ParseJsonForm(std::string_view text);

// ENV and LABEL: triples key, value, and "=" or (legacy form) "".
Result<std::vector<std::string>> SplitKeyValues(std::string_view text, std::string_view keyword, char escape);

}  // namespace varve::dockerfile
