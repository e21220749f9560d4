// When each step ran, as SVG: a line a step, the parts of its work (downloads) in it.
#pragma once

#include <string>

#include "history/build.h"

namespace varve::report {

// Colours are classes that the page defines: cached, ran, failed, other, source. Empty when nothing has
// a time.
std::string Gantt(const history::Build& build);

// Text for XML and HTML, in attributes too.
std::string HtmlEscaped(std::string_view text);
// The class of what became of a step.
std::string_view FateClass(const history::Step& step);

}  // namespace varve::report
