// Go's %q for strings: BuildKit writes commands so, into an image's history and into errors.
#pragma once

#include <string>
#include <string_view>

namespace varve {

std::string GoQuote(std::string_view text);  // "a\tb", with the quotes

}  // namespace varve
