// Heads of here-documents: [fd]<<[-]WORD.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace varve::dockerfile {

// `word` as a head, its content empty; nothing when it is none. kInvalid: quotes that do not close.
Result<std::optional<Heredoc>> ParseHeredocHead(std::string_view word);
bool IsHeredocHead(std::string_view word);

// All heads of a logical line, in order. None when the line does not split into shell words: then
// its
// `<<` is the shell's business.
Result<std::vector<Heredoc>> HeredocHeads(std::string_view line);

}  // namespace varve::dockerfile
