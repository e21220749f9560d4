#include "job/build_reports.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/fd.h"
#include "base/metric.h"
#include "base/strings.h"
#include "job/console.h"
#include "job/otlp_export.h"
#include "job/upkeep_stores.h"
#include "net/http_client.h"
#include "net/url.h"
#include "report/html.h"
#include "report/markdown.h"
#include "report/prometheus.h"
#include "upkeep/disk_use.h"
#include "upkeep/policy.h"

namespace varve::job {

namespace {

// GitHub shows none of a summary that is larger, nor of a job whose steps' sum is more than 20 of them.
constexpr size_t kGitHubLimit = 1 << 20;

Status AppendTo(const std::string& path, const std::string& text) {
  TRY_ASSIGN(Fd file, OpenFile(path, O_WRONLY | O_CREAT | O_APPEND, 0644));
  struct stat st;
  if (fstat(file.get(), &st) != 0) return ErrnoError(errno, "stat " + path);
  if (static_cast<size_t>(st.st_size) + text.size() > kGitHubLimit) {
    return Invalid("{} has no room for this build: GitHub shows at most 1 MiB of a step", path);
  }
  FdWriter out(file.get());
  return out.Write(text);
}

// Two builds that end together both count: the file is read and written under a lock beside it. The
// collector reads *.prom only, and sees the old text or the new one.
Status UpdateMetrics(const std::string& path, const std::vector<report::Family>& families) {
  size_t slash = path.rfind('/');
  std::string directory = slash == path.npos ? "" : path.substr(0, slash + 1);
  std::string lock = directory + "." + path.substr(directory.size()) + ".lock";
  TRY_ASSIGN(Fd held, OpenFile(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  while (flock(held.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(errno, "lock " + lock);
  }
  std::vector<report::Family> before;
  if (access(path.c_str(), F_OK) == 0) {
    TRY_ASSIGN(std::string text, ReadFile(path));
    auto read = report::ParseMetrics(text);
    if (!read) {
      Error error = Invalid("{} is no file of metrics that varve wrote: {}", path, read.error().message);
      error.hint = "remove it, or name another one";
      return error;
    }
    before = std::move(*read);
  }
  return WriteFileAtomically(path, report::Render(report::Added(std::move(before), families)), 0644);
}

// A label of the grouping key (github.com/prometheus/pushgateway, "URL"). An empty value, or one with a
// slash, has to be base64: names with a slash keep their last part, which is what a project's name is.
std::string Grouping(std::string_view label, std::string value) {
  if (size_t slash = value.rfind('/'); slash != value.npos) value = value.substr(slash + 1);
  return value.empty() ? "" : fmt::format("/{}/{}", label, net::PercentEncode(value));
}

Status Push(const std::string& address, const history::Build& build, const std::vector<report::Family>& families) {
  std::string url = address;
  while (url.ends_with('/')) url.pop_back();
  // An address with a group of its own is taken as it is.
  if (url.find("/metrics/job") == url.npos) {
    url += "/metrics/job/varve" + Grouping("project", build.name) + Grouping("target", build.target);
  }
  net::HttpClient http;
  net::Request request{.method = "PUT",
                       .url = url,
                       .headers = {{"Content-Type", "text/plain; version=0.0.4"}},
                       .body = report::Render(report::GaugesOf(families))};
  request.timeouts = {
      .connect = std::chrono::seconds(5), .stall = std::chrono::seconds(10), .total = std::chrono::seconds(20)};
  auto reply = http.Fetch(request, 64 << 10, {});
  if (!reply) return Error(std::move(reply).error());
  if (reply->head.status / 100 == 2) return Ok();
  std::string said(TrimSpace(reply->body));
  return Unavailable("PUT {} answered {}{}", url, reply->head.status, said.empty() ? "" : ": " + said.substr(0, 200));
}

void Warn(const std::string& what, const Error& error) {
  std::string text = fmt::format("WARN: {}: {}\n", what, error.message);
  if (!error.hint.empty()) text += "hint: " + error.hint + "\n";
  ToStderr(text);
}

}  // namespace

// What a removed build's row gives up last is what may be kept: the last policy is the widest.
Result<report::Storage> MeasureStorage(const GlobalFlags& global, const Collected& collected) {
  TRY_ASSIGN(UpkeepStores stores, UpkeepStores::Open(global));
  TRY_ASSIGN(upkeep::Inventory inventory, upkeep::TakeInventory(stores.view(), {.measure_all = false}));
  TRY_ASSIGN(upkeep::DiskSpace space, upkeep::SpaceOf(stores.root));
  TRY_ASSIGN(upkeep::PolicyFile policies, upkeep::LoadPolicies(stores.root, space));
  report::Storage storage{.disk_free = space.free, .disk_total = space.total};
  for (const upkeep::UsageRow& row : inventory.rows) {
    storage.bytes[std::string(upkeep::NameOf(row.type))] += row.bytes;
  }
  if (policies.enabled && !policies.policies.empty()) {
    storage.limit = upkeep::BytesToKeep(policies.policies.back().limits, inventory.bytes, space.free);
  }
  storage.evicted = collected;
  return storage;
}

bool ReportFlags::any() const {
  return !summary.empty() || !pages.empty() || !metrics_file.empty() || !metrics_push.empty() ||
         !github_summary.empty() || otlp_settings.any() || !otlp_settings.warnings.empty();
}

Status FinishReportFlags(ReportFlags& flags) {
  auto environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
  TRY_ASSIGN(flags.otlp_settings, report::ReadOtlpSettings(flags.otlp, environment));
  for (const std::string& page : flags.pages) {
    if (page.ends_with(".html") || page.ends_with(".json")) continue;
    return Invalid("--report {}: the name must end in .html or .json", page);
  }
  bool http = flags.metrics_push.starts_with("http://") || flags.metrics_push.starts_with("https://");
  if (!flags.metrics_push.empty() && !http) {
    return Invalid("--metrics-push {}: an address is expected, http://HOST:9091", flags.metrics_push);
  }
  const char* file = std::getenv("GITHUB_STEP_SUMMARY");
  const char* wanted = std::getenv("DOCKER_BUILD_SUMMARY");
  if (file != nullptr && ParseBool(wanted == nullptr ? "" : wanted).value_or(true)) flags.github_summary = file;
  // Named as well: it is one file, and other steps' text is in it.
  if (flags.summary == flags.github_summary) flags.summary.clear();
  return Ok();
}

void WriteReports(const ReportFlags& flags, const GlobalFlags& global, const std::string& root,
                  const history::Build& build, const Collected& collected) {
  if (!flags.any()) return;
  METRIC("report.write");
  auto check = [](const std::string& what, const Status& status) {
    if (!status) Warn(what, status.error());
  };
  bool has_page = std::ranges::any_of(flags.pages, [](const auto& page) { return page.ends_with(".html"); });
  if (!flags.summary.empty() || !flags.github_summary.empty() || has_page) {
    history::History history(root, SystemClock());
    report::Story story = report::StoryOf(history, build);
    std::string markdown = report::Markdown(story);
    if (!flags.summary.empty()) check("--summary", WriteFileAtomically(flags.summary, markdown, 0644));
    if (!flags.github_summary.empty()) check("GITHUB_STEP_SUMMARY", AppendTo(flags.github_summary, markdown + "\n"));
    for (const std::string& page : flags.pages) {
      if (page.ends_with(".html")) check("--report", WriteFileAtomically(page, report::Html(story), 0644));
    }
  }
  for (const std::string& page : flags.pages) {
    if (!page.ends_with(".json")) continue;
    check("--report", WriteFileAtomically(page, history::ToJson(build).Dump({.indent = 2}) + "\n", 0644));
  }
  const report::OtlpSettings& otlp = flags.otlp_settings;
  for (const std::string& warning : otlp.warnings) ToStderr(fmt::format("WARN: {}\n", warning));
  bool collector = true;  // one that did not take the trace is not asked again: one line is enough
  if (otlp.traces) {
    Status sent = SendOtlp(*otlp.traces, report::OtlpTraces(build, otlp.resource, otlp.parent));
    check("OpenTelemetry", sent);
    collector = sent.has_value();
  }
  bool otlp_metrics = otlp.metrics && collector;
  if (flags.metrics_file.empty() && flags.metrics_push.empty() && !otlp_metrics) return;
  std::optional<report::Storage> storage;
  if (auto measured = MeasureStorage(global, collected)) {
    storage = std::move(*measured);
  } else {
    Warn("metrics of the storage", measured.error());
  }
  std::vector<report::Family> families = report::MetricsOf(build, storage);
  if (!flags.metrics_file.empty()) check("--metrics-file", UpdateMetrics(flags.metrics_file, families));
  if (!flags.metrics_push.empty()) check("--metrics-push", Push(flags.metrics_push, build, families));
  if (otlp_metrics) {
    check("OpenTelemetry", SendOtlp(*otlp.metrics, report::OtlpMetrics(build, families, otlp.resource)));
  }
}

}  // namespace varve::job
