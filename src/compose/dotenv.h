// `.env` files: NAME=value lines with quotes, comments and variables (reference compose-bake.md,
// A8).
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "compose/template.h"

namespace varve::compose {

using Environment = std::map<std::string, std::string>;

// Adds the file's variables to `out`, later lines over earlier ones. Values may use variables:
// those of `outer` first, then those read so far. A name alone takes its value from `outer`, and is
// left out where that has none. kInvalid with "FILE:LINE: " for a name that is none and an open
// quote.
Status ReadDotenv(std::string_view text, const std::string& file, const Lookup& outer, Environment& out);

// The same of an `env_file` with `format: raw`: what is after the first = is the value as it stands.
void ReadRawEnv(std::string_view text, const Lookup& outer, Environment& out);

}  // namespace varve::compose
