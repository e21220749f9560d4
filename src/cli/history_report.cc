#include "cli/history_report.h"

#include <algorithm>
#include <functional>
#include <map>

#include "base/strings.h"
#include "history/trace.h"
#include "job/step_rules.h"

namespace varve::cli {

namespace {

using history::Build;
using history::Fate;
using history::Step;
using history::Summary;

// Columns as wide as their widest cell; the last one is not padded.
std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += i + 1 == row.size() ? row[i] : fmt::format("{:<{}}   ", row[i], widths[i]);
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string Percent(double ratio) { return fmt::format("{:.0f}%", ratio * 100); }

std::string NameOf(const Summary& build) {
  return build.target.empty() ? build.name : build.name + " (" + build.target + ")";
}

// --- Filters -----------------------------------------------------------------------------------------

bool Compare(std::string_view op, int64_t a, int64_t b) {
  if (op == "<") return a < b;
  if (op == "<=") return a <= b;
  if (op == ">") return a > b;
  if (op == ">=") return a >= b;
  return op == "!=" ? a != b : a == b;
}

using Test = std::function<bool(const Summary&)>;

Result<Test> TextFilter(const std::string& key, const std::string& op, const std::string& value) {
  if (op != "=" && op != "!=") return Invalid("--filter {} compares with = and !=", key);
  bool equal = op == "=";
  if (key == "status") {
    static constexpr std::string_view kStatuses[] = {"running", "completed", "error", "canceled", "killed"};
    if (std::ranges::find(kStatuses, value) == std::end(kStatuses)) {
      return Invalid("--filter status: \"{}\" is not running, completed, error, canceled or killed", value);
    }
    return Test([=](const Summary& b) { return (StatusName(b.status) == value) == equal; });
  }
  return Test([=](const Summary& b) {
    const std::string text = key == "ref" ? b.id : NameOf(b) + " " + b.project;
    return (text.find(value) != text.npos) == equal;
  });
}

Result<Test> NumberFilter(const std::string& key, const std::string& op, const std::string& value, Timestamp now) {
  auto age = job::ParseAge(value);
  if (key == "duration") {
    if (!age) return std::move(age).error().With("--filter duration");
    return Test([op, limit = age->count()](const Summary& b) { return Compare(op, b.duration.count(), limit); });
  }
  int64_t when = 0;
  if (age) {
    when = now.nanos - age->count();
  } else {
    auto time = ParseTime(value);
    if (!time) return Invalid("--filter {}: \"{}\" is no duration and no RFC 3339 time", key, value);
    when = time->nanos;
  }
  if (key == "startedAt") {
    return Test([=](const Summary& b) { return Compare(op, b.started.nanos, when); });
  }
  return Test([=](const Summary& b) {
    return b.status != history::BuildStatus::kRunning && Compare(op, b.started.nanos + b.duration.count(), when);
  });
}

Result<Test> ParseFilter(const std::string& filter, Timestamp now) {
  size_t at = filter.find_first_of("=!<>");
  if (at == filter.npos || at == 0) {
    return Invalid("invalid --filter \"{}\": KEY=VALUE expected, such as status=error or duration>1m", filter);
  }
  size_t end = filter.find_first_not_of("=!<>", at);
  std::string key = filter.substr(0, at), op = filter.substr(at, end == filter.npos ? end : end - at);
  std::string value = end == filter.npos ? "" : filter.substr(end);
  static constexpr std::string_view kOps[] = {"=", "!=", "<", "<=", ">", ">="};
  if (std::ranges::find(kOps, op) == std::end(kOps)) return Invalid("--filter has no operator \"{}\"", op);
  if (key == "repository") key = "name";
  if (key == "ref" || key == "name" || key == "status") return TextFilter(key, op, value);
  if (key == "startedAt" || key == "completedAt" || key == "duration") {
    return NumberFilter(key, op, value, now);
  }
  return Invalid("--filter has no key \"{}\": use ref, name, status, startedAt, completedAt or duration", key);
}

// --- Inspect -----------------------------------------------------------------------------------------

std::string_view BuildxStatus(history::BuildStatus status) {
  return status == history::BuildStatus::kFailed ? "failed" : StatusName(status);
}

std::string StepTime(const Step& step) {
  if (step.fate == Fate::kCached && step.saved.count() > 0) return "saved " + FormatDuration(step.saved);
  return step.started.nanos == 0 ? "" : FormatDuration(step.wall);
}

class ReplayClock final : public Clock {
 public:
  Timestamp Now() override { return now_; }
  Nanos Monotonic() override { return Nanos(now_.nanos); }
  void Set(Timestamp time) { now_ = time; }

 private:
  Timestamp now_;
};

}  // namespace

std::string BuildLine(const Build& build) {
  history::Ratios ratios = RatiosOf(build);
  std::string line = fmt::format("build {} of {}, {}", build.id, build.name, StatusName(build.status));
  line += " " + FormatTimeAgo(build.started, SystemClock().Now());
  return line + fmt::format(": {} cached, {} run in {}", ratios.cached, ratios.ran, FormatDuration(build.Duration()));
}

Result<std::vector<Summary>> Filtered(std::vector<Summary> builds, const std::vector<std::string>& filters,
                                      Timestamp now) {
  for (const std::string& filter : filters) {
    TRY_ASSIGN(Test test, ParseFilter(filter, now));
    std::erase_if(builds, [&](const Summary& build) { return !test(build); });
  }
  return builds;
}

std::string ListText(const std::vector<Summary>& builds, Timestamp now, bool whole) {
  std::vector<std::vector<std::string>> rows = {
      {"BUILD ID", "NAME", "STATUS", "CREATED AT", "DURATION", "CACHED", "SAVED"}};
  for (const Summary& build : builds) {
    constexpr size_t kNameWidth = 32;
    std::string name = NameOf(build);
    if (!whole && name.size() > kNameWidth) name = name.substr(0, kNameWidth - 3) + "...";
    const history::Ratios& ratios = build.ratios;
    rows.push_back({build.id, name, std::string(StatusName(build.status)),
                    whole ? FormatTime(build.started) : FormatTimeAgo(build.started, now),
                    FormatDuration(build.duration), fmt::format("{}/{}", ratios.cached, ratios.steps),
                    ratios.saved.count() == 0 ? "" : FormatDuration(ratios.saved)});
  }
  return Table(rows);
}

Json ListJson(const std::vector<Summary>& builds) {
  Json list = Json::EmptyArray();
  for (const Summary& build : builds) {
    Json json = Json().Set("ref", build.id).Set("name", build.name).Set("project", build.project);
    json.Set("command", build.command).SetIf(!build.target.empty(), "target", build.target);
    json.Set("status", StatusName(build.status)).Set("created_at", FormatTime(build.started));
    if (build.status != history::BuildStatus::kRunning) {
      json.Set("completed_at", FormatTime({build.started.nanos + build.duration.count()}));
    }
    json.Set("duration_ns", build.duration.count());
    json.Set("total_steps", build.ratios.steps).Set("cached_steps", build.ratios.cached);
    json.Set("completed_steps", build.ratios.steps).Set("saved_ns", build.ratios.saved.count());
    json.Set("new_bytes", build.ratios.new_bytes);
    list.Append(json.SetIf(!build.error.empty(), "error", build.error));
  }
  return list;
}

std::string InspectText(const Build& build) {
  std::vector<std::vector<std::string>> head = {{"Name:", build.name}, {"Ref:", build.id}};
  auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) head.push_back({name, value});
  };
  add("Context:", build.context);
  add("Dockerfile:", build.dockerfile);
  add("Target:", build.target);
  add("Platform:", Join(build.platforms, ", "));
  add("Tags:", Join(build.tags, ", "));
  add("Command:", Join(build.arguments, " "));
  add("Started:", FormatTime(build.started));
  add("Duration:", build.ended.nanos == 0 ? "" : FormatDuration(build.Duration()));
  add("Status:", std::string(StatusName(build.status)));
  add("Error:", build.error);
  add("Image:", build.image);
  history::Ratios ratios = RatiosOf(build);
  add("Steps:", fmt::format("{} cached, {} run ({} hit)", ratios.cached, ratios.ran, Percent(ratios.BySteps())));
  add("Time:", fmt::format("{} saved, {} spent ({} hit)", FormatDuration(ratios.saved), FormatDuration(ratios.spent),
                           Percent(ratios.ByTime())));
  add("New:", ratios.new_bytes == 0 ? "" : FormatBytes(ratios.new_bytes));
  std::string out = Table(head) + "\n";
  std::vector<std::vector<std::string>> rows = {{"OUTCOME", "TIME", "STEP"}};
  for (const Step& step : build.steps) {
    if (step.internal || (step.source && step.started.nanos == 0)) continue;
    rows.push_back({std::string(FateName(step.fate)), StepTime(step), step.name.substr(0, step.name.find('\n'))});
    if (!step.why.empty()) rows.push_back({"", "", "  " + step.why});
    if (!step.error.empty()) rows.push_back({"", "", "  ERROR: " + step.error.substr(0, step.error.find('\n'))});
  }
  out += Table(rows);
  if (!build.build_args.empty()) {
    std::vector<std::vector<std::string>> args = {{"BUILD ARG", "VALUE"}};
    for (const auto& [name, value] : build.build_args) args.push_back({name, value});
    out += "\n" + Table(args);
  }
  return out;
}

Json InspectJson(const Build& build) {
  history::Ratios ratios = RatiosOf(build);
  Json json;
  json.Set("Name", build.name).Set("Ref", build.id).Set("Context", build.context);
  json.Set("Dockerfile", build.dockerfile).SetIf(!build.target.empty(), "Target", build.target);
  json.SetIf(!build.platforms.empty(), "Platform", Json::Strings(build.platforms));
  json.Set("StartedAt", FormatTime(build.started));
  if (build.ended.nanos != 0) json.Set("CompletedAt", FormatTime(build.ended));
  json.Set("Duration", build.Duration().count()).Set("Status", BuildxStatus(build.status));
  if (!build.error.empty()) json.Set("Error", Json().Set("Code", build.exit_code).Set("Message", build.error));
  json.Set("NumCompletedSteps", ratios.steps);
  int total = 0;
  for (const Step& step : build.steps) total += !step.internal && !step.source;
  json.Set("NumTotalSteps", total).Set("NumCachedSteps", ratios.cached);
  Json args = Json::EmptyArray();
  for (const auto& [name, value] : build.build_args) {
    args.Append(Json().Set("Name", name).Set("Value", value));
  }
  json.SetIf(!build.build_args.empty(), "BuildArgs", std::move(args));
  json.SetIf(!build.tags.empty(), "Tags", Json::Strings(build.tags));
  json.SetIf(!build.image.empty(), "Image", build.image);
  json.Set("Command", Json::Strings(build.arguments));
  json.Set("Cache", Json()
                        .Set("HitRatioBySteps", ratios.BySteps())
                        .Set("HitRatioByTime", ratios.ByTime())
                        .Set("SavedNs", ratios.saved.count())
                        .Set("SpentNs", ratios.spent.count())
                        .Set("NewBytes", ratios.new_bytes));
  Json steps = Json::EmptyArray();
  for (const Step& step : build.steps) steps.Append(history::ToJson(step));
  return json.Set("Steps", std::move(steps));
}

// --- Replay ------------------------------------------------------------------------------------------

void Replay(const Build& build, const std::vector<history::LogLine>& lines,
            std::unique_ptr<progress::Display> display) {
  struct Event {
    Timestamp time;
    int order;  // of events at one time
    std::function<void(progress::Board&)> happen;
  };
  std::vector<Event> events;
  std::map<uint32_t, uint32_t> vertices;
  std::vector<const Step*> shown;
  for (const Step& step : build.steps) {
    if (step.started.nanos == 0 || step.fate == Fate::kSkipped) continue;
    auto vertex = static_cast<uint32_t>(shown.size());
    vertices[step.index] = vertex;
    shown.push_back(&step);
    events.push_back({step.started, 0, [vertex, &step](progress::Board& board) {
                        board.Start(vertex);
                        if (!step.why.empty()) board.Why(vertex, step.why);
                      }});
    if (step.fate == Fate::kRunning) continue;
    Timestamp end{step.started.nanos + step.wall.count()};
    events.push_back({end, 2, [vertex, &step](progress::Board& board) {
                        board.Finish(vertex, {.cached = step.fate == Fate::kCached,
                                              .cancelled = step.fate == Fate::kCancelled,
                                              .error = step.error});
                      }});
  }
  for (const history::LogLine& line : lines) {
    auto it = vertices.find(line.step);
    if (it == vertices.end()) continue;
    events.push_back({line.time, 1, [vertex = it->second, &line](progress::Board& board) {
                        board.Log(vertex, line.stream, line.text);
                      }});
  }
  std::ranges::stable_sort(
      events, [](const Event& a, const Event& b) { return std::pair(a.time, a.order) < std::pair(b.time, b.order); });
  ReplayClock clock;
  clock.Set(build.started);
  progress::Board board(std::move(display), clock);
  for (const Step* step : shown) board.Add(step->name);
  for (const Event& event : events) {
    clock.Set(event.time);
    event.happen(board);
  }
  board.Close();
}

Json ExportJson(const Build& build, const std::vector<history::LogLine>& lines) {
  Json log = Json::EmptyArray();
  for (const history::LogLine& line : lines) {
    log.Append(Json()
                   .Set("step", line.step)
                   .Set("time", FormatTime(line.time))
                   .Set("stream", line.stream)
                   .Set("text", line.text));
  }
  return Json().Set("build", history::ToJson(build)).Set("log", std::move(log)).Set("trace", Trace(build));
}

}  // namespace varve::cli
