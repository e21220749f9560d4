// The patterns of ${name#pat}, ${name%pat} and ${name/pat/rep}: `*` and `?`, and `\` before one of
// * ? \ } /. Neither wildcard matches a line end.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::dockerfile {

// `value` without its shortest (or, `longest`, longest) prefix or suffix that matches. kInvalid for
// a bad pattern, and when the match would take more than 2^26 steps.
Result<std::string> TrimPatternPrefix(std::string_view pattern, std::string_view value, bool longest);
Result<std::string> TrimPatternSuffix(std::string_view pattern, std::string_view value, bool longest);

// The first (or every) longest match replaced. With `all`, $0 and ${0} in the replacement are the
// match, $$ is a dollar, any other $name is empty: there are no groups.
Result<std::string> ReplacePattern(std::string_view pattern, std::string_view value, std::string_view replacement,
                                   bool all);

}  // namespace varve::dockerfile
