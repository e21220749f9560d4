#include "cli/report_flags.h"

#include "cli/named_flags.h"

namespace varve::cli {

void DefineReportFlags(CLI::App& to, job::ReportFlags& flags, const NamedWords* words) {
  NamedFlags app(to, words);
  app.add_option("--summary", flags.summary, "Write a report of the build as Markdown to this file");
  app.add_option("--report", flags.pages,
                 "Write a report with a timeline and the graph: FILE.html, or FILE.json for programs")
      ->allow_extra_args(false);
  app.add_option("--metrics-file", flags.metrics_file,
                 "Add the build to this file of Prometheus metrics (node exporter's textfile collector)");
  app.add_option("--metrics-push", flags.metrics_push, "Push the build's metrics to this Pushgateway");
  app.add_option("--otlp", flags.otlp,
                 "Send the build's trace and metrics to this OpenTelemetry collector, http://HOST:4318");
}

}  // namespace varve::cli
