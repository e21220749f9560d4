// What a build leaves behind for people and monitors besides its outputs: --summary, --report,
// --metrics-file, --metrics-push, OpenTelemetry data, and the page of the job on GitHub.
//
// A report that cannot be written is a warning: the build is what it is.
#pragma once

#include <string>
#include <vector>

#include "history/build.h"
#include "job/collect_after.h"
#include "job/global_flags.h"
#include "report/otlp_settings.h"
#include "report/prometheus.h"

namespace varve::job {

struct ReportFlags {
  std::string summary;                 // Markdown, written anew
  std::vector<std::string> pages;      // .html: a page; .json: the history's record of the build
  std::string metrics_file;            // Prometheus' text format; counters go on where the file has them
  std::string metrics_push;            // address of a Pushgateway
  std::string otlp;                    // address of an OpenTelemetry collector
  report::OtlpSettings otlp_settings;  // of that and the environment
  // Appended to, as $GITHUB_STEP_SUMMARY wants it.
  std::string github_summary;

  bool any() const;
};

// Adds what the environment says: GITHUB_STEP_SUMMARY, unless DOCKER_BUILD_SUMMARY is false, and
// OpenTelemetry's variables. kInvalid for a --report of another ending and for a --metrics-push or an
// OTLP endpoint that is no address.
Status FinishReportFlags(ReportFlags& flags);

// After the build, its history and the collection. `collected`: what that removed.
void WriteReports(const ReportFlags& flags, const GlobalFlags& global, const std::string& root,
                  const history::Build& build, const Collected& collected);

// What the root of `global` holds; walks what was not measured before. `collected` becomes its evictions.
Result<report::Storage> MeasureStorage(const GlobalFlags& global, const Collected& collected);

}  // namespace varve::job
