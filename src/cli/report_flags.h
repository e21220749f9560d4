// The flags of what a build leaves behind for people and monitors (job/build_reports.h).
#pragma once

#include "job/build_reports.h"

namespace CLI {
class App;
}

namespace varve::cli {

class NamedWords;

void DefineReportFlags(CLI::App& app, job::ReportFlags& flags, const NamedWords* words = nullptr);

}  // namespace varve::cli
