// The graph of a build's steps as SVG: a lane a stage, time from left to right as the dependencies have
// it, an arrow from each step to those that build on it or read from it.
#pragma once

#include <string>

#include "history/build.h"

namespace varve::report {

// Empty when no step has inputs. Colours as in gantt.h.
std::string StepGraph(const history::Build& build);

}  // namespace varve::report
