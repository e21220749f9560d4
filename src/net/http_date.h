// Dates of HTTP headers in the three forms of RFC 9110 §5.6.7:
//
//   Sun, 06 Nov 1994 08:49:37 GMT      Sunday, 06-Nov-94 08:49:37 GMT      Sun Nov  6 08:49:37 1994
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"

namespace varve::net {

// Nothing for what is no such date. "UTC" is taken for "GMT", which some servers say.
std::optional<Timestamp> ParseHttpDate(std::string_view text);

}  // namespace varve::net
