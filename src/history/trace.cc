#include "history/trace.h"

#include <algorithm>
#include <map>
#include <vector>

namespace varve::history {

namespace {

// Lanes of one stage: an event takes the first that is free when it begins.
class Lanes {
 public:
  int Take(int64_t begin, int64_t end) {
    for (size_t i = 0; i < free_from_.size(); ++i) {
      if (free_from_[i] > begin) continue;
      free_from_[i] = end;
      return static_cast<int>(i) + 1;
    }
    free_from_.push_back(end);
    return static_cast<int>(free_from_.size());
  }
  size_t size() const { return free_from_.size(); }

 private:
  std::vector<int64_t> free_from_;
};

struct Process {
  int pid = 0;
  Lanes lanes;
};

class Tracer {
 public:
  explicit Tracer(const Build& build) : build_(build) { ProcessOf(""); }

  Json Run() {
    std::vector<const Step*> steps;
    for (const Step& step : build_.steps) {
      if (step.started.nanos != 0) steps.push_back(&step);
    }
    std::ranges::stable_sort(steps, {}, [](const Step* step) { return step->started; });
    for (const Step* step : steps) Add(*step);
    NameLanes();
    Json other = Json().Set("build", build_.id).Set("status", StatusName(build_.status));
    other.Set("started", FormatTime(build_.started)).Set("varve", build_.varve_version);
    return Json()
        .Set("traceEvents", std::move(events_))
        .Set("displayTimeUnit", "ms")
        .Set("otherData", std::move(other));
  }

 private:
  Process& ProcessOf(const std::string& stage) {
    auto [it, is_new] = processes_.try_emplace(stage);
    if (is_new) {
      it->second.pid = static_cast<int>(processes_.size());
      order_.push_back(stage);
    }
    return it->second;
  }

  int64_t Micros(Timestamp time) const { return std::max<int64_t>(0, time.nanos - build_.started.nanos) / 1000; }

  static Json Event(const std::string& name, std::string_view category, int64_t begin, int64_t wall, int pid, int tid) {
    return Json()
        .Set("name", name)
        .Set("cat", category)
        .Set("ph", "X")
        .Set("ts", begin)
        .Set("dur", wall)
        .Set("pid", pid)
        .Set("tid", tid);
  }

  void Add(const Step& step) {
    Process& process = ProcessOf(step.internal ? "" : step.stage);
    int64_t begin = Micros(step.started);
    // Nothing shorter than a microsecond: viewers drop what has no width.
    int64_t wall = std::max<int64_t>(1, step.wall.count() / 1000);
    int lane = process.lanes.Take(begin, begin + wall);
    Json args = Json().Set("outcome", FateName(step.fate));
    args.SetIf(!step.why.empty(), "why", step.why).SetIf(!step.key.empty(), "key", step.key);
    args.SetIf(step.saved.count() != 0, "saved_ms", step.saved.count() / 1'000'000);
    args.SetIf(step.new_bytes != 0, "new_bytes", step.new_bytes);
    args.SetIf(!step.error.empty(), "error", step.error);
    std::string name = step.fate == Fate::kCached && !step.source ? "CACHED " + step.name : step.name;
    events_.Append(Event(name, FateName(step.fate), begin, wall, process.pid, lane).Set("args", std::move(args)));
    for (const Part& part : step.parts) {
      if (part.started.nanos == 0) continue;
      int64_t part_begin = Micros(part.started);
      int64_t part_wall = std::max<int64_t>(1, part.wall.count() / 1000);
      int part_lane = process.lanes.Take(part_begin, part_begin + part_wall);
      events_.Append(Event(part.name, "part", part_begin, part_wall, process.pid, part_lane)
                         .Set("args", Json().Set("bytes", part.bytes).Set("step", step.name)));
    }
  }

  void NameLanes() {
    auto metadata = [&](const char* what, int pid, int tid, Json args) {
      events_.Append(
          Json().Set("name", what).Set("ph", "M").Set("pid", pid).Set("tid", tid).Set("args", std::move(args)));
    };
    for (const std::string& stage : order_) {
      const Process& process = processes_.at(stage);
      std::string name = stage.empty() ? "build" : "stage " + stage;
      metadata("process_name", process.pid, 0, Json().Set("name", name));
      metadata("process_sort_index", process.pid, 0, Json().Set("sort_index", process.pid));
      for (size_t lane = 1; lane <= process.lanes.size(); ++lane) {
        metadata("thread_name", process.pid, static_cast<int>(lane),
                 Json().Set("name", lane == 1 ? name : fmt::format("{} ({})", name, lane)));
      }
    }
  }

  const Build& build_;
  Json events_ = Json::EmptyArray();
  std::map<std::string, Process> processes_;
  std::vector<std::string> order_;
};

}  // namespace

Json Trace(const Build& build) { return Tracer(build).Run(); }

}  // namespace varve::history
