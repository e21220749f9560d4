// The words by which two commands differ.
#pragma once

#include <string_view>
#include <vector>

#include "engine/reason.h"

namespace varve::engine {

// Words are separated by white space. Neighbouring words that went or came make one edit. Commands of
// more than 1,000 words are compared from both ends only, so that the middle is one edit.
std::vector<Reason::Edit> WordEdits(std::string_view before, std::string_view now);

}  // namespace varve::engine
