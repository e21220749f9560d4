// TOML 1.0 by toml++, for the .cc files that read it: the library is all headers, and large.
//
//   TRY_ASSIGN(toml::table table, ParseToml(text));
//
// toml++ 3.3.0 asserts where it should complain: "[@" ends the process. Its assertions are exceptions here, and so is
// what it has to say about malformed text; none of them leaves ParseToml.
#pragma once

#include <stdexcept>

namespace varve::toml_asserts {
struct Failed : std::logic_error {
  using std::logic_error::logic_error;
};
// A function: some assertions stand where nothing may be thrown, which ends the process, as theirs would.
[[noreturn]] inline void Fail() { throw Failed("this is not as TOML has it"); }
}  // namespace varve::toml_asserts

#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 1
#define TOML_ASSERT(expr) ((expr) ? void() : ::varve::toml_asserts::Fail())
#include <toml++/toml.h>

#include <string_view>

#include "base/result.h"

namespace varve {

// kInvalid: "line 3: …".
inline Result<toml::table> ParseToml(std::string_view text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return Invalid("line {}: {}", error.source().begin.line, error.description());
  } catch (const toml_asserts::Failed& error) {
    return Invalid("{}", error.what());
  }
}

}  // namespace varve
