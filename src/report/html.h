// A build as one HTML page that needs nothing else: no script, no font, no address. Light and dark as
// the reader's system is.
#pragma once

#include <string>

#include "report/story.h"

namespace varve::report {

std::string Html(const Story& story);

}  // namespace varve::report
