#include "daemon/metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/fd.h"
#include "base/metric.h"
#include "base/strings.h"
#include "job/version.h"

namespace varve::daemon {

namespace {

using report::Family;
using report::Labels;
using report::Sample;

// Of the label that names a cache, which clients choose; the rest is summed up as "other".
constexpr size_t kMaxTiers = 100;

Family One(std::string name, std::string type, std::string help, double value, Labels labels = {}) {
  return {.name = std::move(name),
          .help = std::move(help),
          .type = std::move(type),
          .samples = {{.suffix = {}, .labels = std::move(labels), .value = value}}};
}

// What /proc/self/stat says after the program's name: "S 1 2 …", the third field first.
std::vector<std::string> StatFields() {
  auto text = ReadFile("/proc/self/stat", 4096);
  if (!text) return {};
  const size_t end = text->rfind(") ");
  return end == text->npos ? std::vector<std::string>() : Split(text->substr(end + 2), ' ');
}

double FieldOf(const std::vector<std::string>& fields, size_t number) {
  const size_t index = number - 3;
  return index < fields.size() ? static_cast<double>(ParseInt(fields[index]).value_or(0)) : 0;
}

// When the machine started, in seconds since 1970.
double BootTime() {
  auto text = ReadFile("/proc/stat", 1 << 20);
  if (!text) return 0;
  for (const std::string& line : Split(*text, '\n')) {
    if (line.starts_with("btime ")) return static_cast<double>(ParseInt(line.substr(6)).value_or(0));
  }
  return 0;
}

size_t OpenFiles() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  size_t count = 0;
  while (const dirent* entry = readdir(directory)) count += entry->d_name[0] != '.';
  closedir(directory);
  return count - (count > 0 ? 1 : 0);  // the directory itself
}

// No project and no target, and a bounded number of tiers.
void Anonymise(history::Build& build, const std::vector<Family>& known) {
  build.name.clear();
  build.target.clear();
  auto hits = std::ranges::find(known, "varve_tier_hits_total", &Family::name);
  if (hits == known.end() || hits->samples.size() < kMaxTiers) return;
  for (history::TierUse& tier : build.tiers) {
    bool seen =
        std::ranges::any_of(hits->samples, [&](const Sample& sample) { return sample.labels[0].second == tier.name; });
    if (!seen) tier.name = "other";
  }
}

}  // namespace

void Metrics::Solved(const std::string& status) { ++sums_.Lock()->solves[status]; }

void Metrics::Ended(history::Build build) {
  auto sums = sums_.Lock();
  Anonymise(build, sums->builds);
  std::vector<Family> families = report::MetricsOf(build, std::nullopt);
  // The last of many clients' builds says nothing.
  std::erase_if(families, [](const Family& family) { return family.type == "gauge"; });
  sums->builds = report::Added(std::move(sums->builds), std::move(families));
}

std::vector<Family> Metrics::Collect(const DaemonFacts& facts, const std::optional<report::Storage>& storage) const {
  std::vector<Family> all;
  all.push_back(One("varve_daemon_info", "gauge", "The version of this daemon.", 1, {{"version", job::kVersion}}));
  all.push_back(
      One("varve_daemon_builds_running", "gauge", "Builds that run now.", static_cast<double>(facts.running_builds)));
  all.push_back(One("varve_daemon_sessions_open", "gauge", "Sessions of clients that are open now.",
                    static_cast<double>(facts.open_sessions)));
  all.push_back(One("varve_daemon_draining", "gauge", "1 once no new builds are taken.", facts.draining));
  Family counters{.name = "varve_daemon_events_total",
                  .help = "Varve's own counters, as --stats names them.",
                  .type = "counter",
                  .samples = {}};
  for (const auto& [name, value] : CounterSnapshot()) {
    counters.samples.push_back({.suffix = {}, .labels = {{"name", name}}, .value = static_cast<double>(value)});
  }
  auto sums = sums_.Lock();
  Family solves{.name = "varve_daemon_solves_total",
                .help = "Calls of Solve that have ended, by their status.",
                .type = "counter",
                .samples = {}};
  for (const auto& [status, count] : sums->solves) {
    solves.samples.push_back({.suffix = {}, .labels = {{"status", status}}, .value = static_cast<double>(count)});
  }
  all.push_back(std::move(solves));
  all.insert(all.end(), sums->builds.begin(), sums->builds.end());
  if (storage) std::ranges::move(report::MetricsOf(*storage), std::back_inserter(all));
  all.push_back(std::move(counters));
  std::ranges::move(ProcessMetrics(), std::back_inserter(all));
  return all;
}

std::vector<Family> ProcessMetrics() {
  const std::vector<std::string> stat = StatFields();  // proc(5): numbers of fields count from 1
  const double tick = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return {
      One("process_cpu_seconds_total", "counter", "User and system time of this process.",
          (FieldOf(stat, 14) + FieldOf(stat, 15)) / tick),
      One("process_start_time_seconds", "gauge", "When this process started.", BootTime() + FieldOf(stat, 22) / tick),
      One("process_virtual_memory_bytes", "gauge", "Virtual memory.", FieldOf(stat, 23)),
      One("process_resident_memory_bytes", "gauge", "Resident memory.", FieldOf(stat, 24) * page),
      One("process_threads", "gauge", "Threads.", FieldOf(stat, 20)),
      One("process_open_fds", "gauge", "Open files.", static_cast<double>(OpenFiles())),
      One("process_max_fds", "gauge", "How many files may be open.", static_cast<double>(files.rlim_cur)),
  };
}

std::string StatusCodeName(int code) {
  static constexpr std::array kNames = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
      "DATA_LOSS", "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < kNames.size() ? kNames[index] : fmt::format("{}", code);
}

}  // namespace varve::daemon
