// What a build says at its end: errors with the lines they are about, checks, the summary, counters.
#pragma once

#include <string>
#include <vector>

#include "dockerfile/lower.h"
#include "engine/engine.h"
#include "export/output.h"
#include "job/build_context.h"
#include "progress/board.h"

namespace varve::job {

// "ERROR: failed to build: …", and the hint.
void PrintError(const Error& error);
void PrintErrorAt(const Error& error, const BuildContext& context, const dockerfile::Span& span);

// Closes the board, if there is one, and prints the error, with the lines that it is about. An error
// without a place of its own is about the build, not about a line of its Dockerfile. Returns the exit
// code.
int FailWith(const Error& error, progress::Board* board);
int FailWith(const dockerfile::SourceError& error, const BuildContext& context, progress::Board* board);

// A step failed: the display has shown its last lines; this adds the Dockerfile's, the error, and how
// to look further. Returns the exit code.
int FailBuild(const graph::Graph& graph, const engine::Outcome& outcome, const BuildContext& context,
              progress::Board& board);

void ShowWarnings(const std::vector<dockerfile::Warning>& warnings, progress::Board& board,
                  const BuildContext& context);

// "18 steps cached, 2 run · 34.2 MB new · 3.1s · saved 41s".
std::string SummaryLine(const engine::Totals& totals, Nanos wall);
void PrintSummary(const graph::Graph& graph, const engine::Outcome& outcome,
                  const std::vector<exporter::Output>& outputs, Nanos wall);
void PrintStats();

// For tests: counters and the fate of every step, as JSON.
void WriteStatsFile(const std::string& path, const graph::Graph& graph, const engine::Outcome& outcome);

}  // namespace varve::job
