// A build as Markdown that GitHub shows on a job's page (GITHUB_STEP_SUMMARY), and that reads well as
// text too. GitHub Flavored Markdown, https://github.github.com/gfm/; a step's summary may be 1 MiB.
#pragma once

#include <string>
#include <string_view>

#include "report/story.h"

namespace varve::report {

std::string Markdown(const Story& story);

// The text so that Markdown shows it as it is, in a cell of a table too.
std::string MarkdownEscaped(std::string_view text);

}  // namespace varve::report
