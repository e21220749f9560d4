// A build as a timeline: Chrome's Trace Event Format (the "JSON object format" of
// https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU), which
// ui.perfetto.dev, chrome://tracing and speedscope open.
//
// Each stage is a process of the trace and has as many lanes (threads) as it had steps at work at
// one time; what is no step (metadata, the context, exporting) is in the first one, "build". A step
// is a complete event ("X", microseconds since the build's start) whose args hold what became of it,
// why, its key, and what was saved; cached steps are of the category "cached". The parts of a step's
// work, such as the layers that it downloaded, are below it as events of their own.
#pragma once

#include "base/json.h"
#include "history/build.h"

namespace varve::history {

Json Trace(const Build& build);

}  // namespace varve::history
