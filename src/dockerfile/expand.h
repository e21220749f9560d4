// Variable expansion and word splitting: the shell-like language inside Dockerfile words.
//
//   Environment: std::map or any callable  name → value, nothing when unset
//
//   TRY_ASSIGN(Expansion e, ProcessWord("${V:-1}.x", get, {.escape = file.escape}));
//   e.text == "1.x"; e.unmatched == {"V"}
//
// Syntax: $name ${name} ${name:-word} ${name-word} ${name:+word} ${name+word} ${name:?text}
// ${name?text} ${name#pat} ${name##pat} ${name%pat} ${name%%pat} ${name/pat/rep} ${name//pat/rep};
// single and double quotes; the escape character. Words inside operators are expanded too. In
// patterns `*` and `?` are wildcards. The rules are those of the reference implementation
// (frontend/dockerfile/shell), recorded in tests/golden/dockerfile.
//
// Three bounds that it does not have, because our stack, time and memory are finite: substitutions
// nest at most 100 deep, one pattern operator takes at most 2^26 steps, and a result has at most
// 64 MiB; kInvalid beyond.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::dockerfile {

using GetVariable = std::function<std::optional<std::string>(std::string_view name)>;

struct ExpandOptions {
  char escape = '\\';
  bool raw_quotes = false;   // keep quotes in the result
  bool raw_escapes = false;  // keep escape characters in the result
  bool skip_unset = false;   // leave references to unset names as they are
  bool skip_quotes = false;  // quotes are ordinary characters (bodies of COPY here-documents)
};

struct Expansion {
  std::string text;
  std::vector<std::string> words;   // `text` split at blanks outside quotes, as the shell would
  std::set<std::string> matched;    // names that were looked up and set …
  std::set<std::string> unmatched;  // … and not set, for checks
};

// Errors (kInvalid) read `failed to process "WORD": reason`.
Result<Expansion> ProcessWord(std::string_view word, const GetVariable& get, const ExpandOptions& options = {});

// The words only: EXPOSE, and heads of here-documents.
Result<std::vector<std::string>> ProcessWords(std::string_view word, const GetVariable& get,
                                              const ExpandOptions& options = {});

// No variable is set.
const GetVariable& NoVariables();

}  // namespace varve::dockerfile
