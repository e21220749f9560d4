// Percent-encoding (RFC 3986 section 2.1) in foreign text. What is no escape stays as it is.
#pragma once

#include <string>
#include <string_view>

namespace varve {

std::string PercentDecode(std::string_view text);

// The form encoding (application/x-www-form-urlencoded), in which "+" is a blank.
std::string FormDecode(std::string_view text);

}  // namespace varve
