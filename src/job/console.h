// Text to the user. Nobody who reads it is no failure of ours: errors of these writes are dropped.
#pragma once

#include <string_view>

#include "base/error.h"

namespace varve::job {

void ToStdout(std::string_view text);
void ToStderr(std::string_view text);
// "ERROR: …", and the hint in a second line.
void PrintCommandError(const Error& error);

}  // namespace varve::job
