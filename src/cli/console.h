// Text to the user. Nobody who reads it is no failure of ours: errors of these writes are dropped.
#pragma once

#include <string_view>

namespace varve::cli {

void ToStdout(std::string_view text);
void ToStderr(std::string_view text);

}  // namespace varve::cli
