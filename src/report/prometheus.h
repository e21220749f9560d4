// Builds as Prometheus metrics, in the text format 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/): for the textfile collector of the
// node exporter, and for a Pushgateway.
//
// A file carries its own counters: what it says is read, this build is added, and the whole is written
// again. Names and labels are in doc/metrics.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "history/build.h"

namespace varve::report {

using Labels = std::vector<std::pair<std::string, std::string>>;

struct Sample {
  std::string suffix;  // "_bucket", "_sum", "_count" of a histogram, else empty
  Labels labels;       // in the order in which they are written
  double value = 0;
};

struct Family {
  std::string name;
  std::string help;
  std::string type;  // "counter", "gauge", "histogram"
  std::vector<Sample> samples;
};

// What the root holds after a build, where that was measured.
struct Storage {
  std::map<std::string, uint64_t> bytes;  // by kind, as `varve du` names types
  std::optional<uint64_t> limit;          // that the policy keeps to
  uint64_t disk_free = 0, disk_total = 0;
  std::map<std::string, std::pair<uint64_t, uint64_t>> evicted;  // by rule: things, bytes
};

// Of this build alone: gauges, and counters that begin with it.
std::vector<Family> MetricsOf(const history::Build& build, const std::optional<Storage>& storage);
// Of the storage alone.
std::vector<Family> MetricsOf(const Storage& storage);
// Only the gauges: counters of a group that each push replaces would count to one.
std::vector<Family> GaugesOf(std::vector<Family> families);

// `before`, which Render wrote, with `now` added: counters and histograms are summed; gauges of the same
// project and target, and those of no project, are replaced; all else stays.
std::vector<Family> Added(std::vector<Family> before, std::vector<Family> now);

std::string Render(const std::vector<Family>& families);
// kCorrupt with the line for what is not the text format.
Result<std::vector<Family>> ParseMetrics(std::string_view text);

}  // namespace varve::report
