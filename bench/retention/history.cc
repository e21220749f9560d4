#include "bench/retention/history.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"

namespace varve::bench {

namespace {

constexpr int64_t kDay = 24 * 3600;

// What a branch of a project has checked out: versions of its parts.
struct Branch {
  int code = 0, dependencies = 0, system = 0, dockerfile = 0;
  int left = 0;  // pushes until it is merged
};

struct Project {
  int number = 0;
  int base = 0;  // which base image
  double pushes_per_day = 1;
  bool nightly = false;
  bool tests = false;   // a stage whose result only CI asks for
  bool assets = false;  // a second stage with its own dependencies
  double scale = 1;     // of seconds and bytes
  std::vector<Branch> branches = {Branch{}};
  int versions = 0;
};

class Generator {
 public:
  explicit Generator(const Team& team) : team_(team), random_(team.seed) {}

  History Run() {
    for (int i = 0; i < team_.projects; ++i) projects_.push_back(NewProject(i));
    for (int day = 0; day < team_.days; ++day) Day(day);
    std::ranges::stable_sort(history_, {}, &HistoryBuild::time);
    return std::move(history_);
  }

 private:
  bool Chance(double p) { return std::bernoulli_distribution(p)(random_); }
  int Below(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  double LogNormal(double median, double sigma) {
    return std::lognormal_distribution<double>(std::log(median), sigma)(random_);
  }

  Project NewProject(int number) {
    Project project{.number = number, .base = Below(4)};
    // A few busy ones, many quiet ones.
    project.pushes_per_day = std::min(20.0, LogNormal(1.2, 1.2));
    project.nightly = Chance(0.25);
    project.tests = Chance(0.5);
    project.assets = Chance(0.4);
    project.scale = LogNormal(1.0, 0.7);
    return project;
  }

  void Day(int day) {
    bool weekend = day % 7 >= 5;
    for (int& version : bases_) version += Chance(1.0 / 21);
    for (Project& project : projects_) {
      double mean = project.pushes_per_day * (weekend ? 0.05 : 1.0);
      int pushes = std::poisson_distribution<int>(mean)(random_);
      std::vector<int64_t> times;
      for (int i = 0; i < pushes; ++i) times.push_back(day * kDay + 9 * 3600 + Below(9 * 3600));
      std::ranges::sort(times);
      for (int64_t time : times) Push(project, time);
      if (project.nightly) Build(project, project.branches[0], day * kDay + 2 * 3600 + Below(7200));
    }
  }

  void Push(Project& project, int64_t time) {
    if (project.branches.size() < 4 && Chance(0.15)) {
      Branch branch = project.branches[0];
      branch.left = 2 + Below(12);
      project.branches.push_back(branch);
    }
    size_t which = static_cast<size_t>(Below(static_cast<int>(project.branches.size())));
    Branch& branch = project.branches[which];
    ++project.versions;
    branch.code = project.versions;
    if (Chance(0.07)) branch.dependencies = project.versions;
    if (Chance(0.01)) branch.system = project.versions;
    if (Chance(0.02)) branch.dockerfile = project.versions;
    Build(project, branch, time);
    if (Chance(0.15)) Build(project, branch, time + 600 + Below(7200));  // run again
    if (which != 0 && --branch.left <= 0) {
      // Merged: main now has this code; its build is of the merge.
      branch.code = ++project.versions;
      project.branches[0] = branch;
      project.branches.erase(project.branches.begin() + static_cast<std::ptrdiff_t>(which));
      Build(project, project.branches[0], time + 1800);
    }
  }

  // Sizes and seconds are the project's, the same for each version of a step up to a tenth.
  HistoryStep Step(const Project& project, const std::string& name, const std::string& inputs, double seconds,
                   double megabytes) {
    std::mt19937_64 own(std::hash<std::string>{}(fmt::format("{} {} {}", team_.seed, name, inputs)));
    double factor = project.scale * std::uniform_real_distribution<double>(0.9, 1.1)(own);
    return {.key = fmt::format("{} {}", name, inputs),
            .slot = fmt::format("{}", name),
            .inputs = {},
            .seconds = seconds * factor,
            .bytes = static_cast<uint64_t>(megabytes * 1e6 * factor)};
  }

  void Build(const Project& project, const Branch& branch, int64_t time) {
    HistoryBuild build{.time = time, .steps = {}, .wanted = {}};
    auto add = [&](HistoryStep step, int parent, std::vector<int> inputs = {}) {
      if (parent >= 0) step.key = build.steps[static_cast<size_t>(parent)].key + "/" + step.key;
      for (int input : inputs) step.key += "+" + build.steps[static_cast<size_t>(input)].key;
      step.parent = parent;
      step.inputs = std::move(inputs);
      build.steps.push_back(std::move(step));
      return static_cast<int>(build.steps.size()) - 1;
    };
    auto base = [&](const char* kind, double megabytes) {
      size_t number = static_cast<size_t>(project.base);
      std::string key = fmt::format("{}{} v{}", kind, number, bases_[number]);
      return add({.key = key,
                  .slot = {},
                  .inputs = {},
                  .seconds = megabytes / 30,
                  .bytes = static_cast<uint64_t>(megabytes * 1e6)},
                 -1);
    };
    auto step = [&](const char* name, int version, double seconds, double megabytes) {
      return Step(project, fmt::format("p{} {}", project.number, name), fmt::format("v{}", version), seconds,
                  megabytes);
    };
    int sdk = base("sdk", 350);
    int system = add(step("apt", branch.system, 25, 180), sdk);
    int manifest = add(step("copy manifest", branch.dependencies, 0.05, 0.1), system);
    int dependencies = add(step("install", branch.dependencies, 45, 300), manifest);
    int code = add(step("copy code", branch.code, 0.2, 15), dependencies);
    int built = add(step("compile", branch.code, 40, 60), code);
    if (project.tests) build.wanted.push_back(add(step("test", branch.code, 60, 2), built));
    int slim = base("slim", 80);
    int tools = add(step("runtime apt", branch.system * 1000 + branch.dockerfile, 12, 60), slim);
    std::vector<int> from = {built};
    if (project.assets) {
      int node = add(step("assets install", branch.dependencies, 30, 250), sdk);
      int sources = add(step("assets copy", branch.code / 3, 0.1, 5), node);
      from.push_back(add(step("assets build", branch.code / 3, 20, 12), sources));
    }
    build.wanted.push_back(add(step("copy result", 0, 0.1, 40), tools, from));
    history_.push_back(std::move(build));
  }

  const Team team_;
  std::mt19937_64 random_;
  std::vector<Project> projects_;
  std::vector<int> bases_ = {0, 0, 0, 0};
  History history_;
};

// Parents and inputs come before their users, so that no build goes in circles.
Status Check(const HistoryBuild& build) {
  auto in = [](int i, size_t end) { return i >= 0 && static_cast<size_t>(i) < end; };
  for (size_t i = 0; i < build.steps.size(); ++i) {
    const HistoryStep& step = build.steps[i];
    bool good = step.parent == -1 || in(step.parent, i);
    for (int input : step.inputs) good = good && in(input, i);
    if (!good) return Invalid("step {} uses a step that does not come before it", i);
  }
  for (int wanted : build.wanted) {
    if (!in(wanted, build.steps.size())) return Invalid("step {} is wanted and is not there", wanted);
  }
  return Ok();
}

}  // namespace

History MakeHistory(const Team& team) { return Generator(team).Run(); }

Result<History> ReadHistory(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path, uint64_t{1} << 32));
  History history;
  size_t number = 0;
  for (std::string_view line : Split(text, '\n')) {
    ++number;
    if (TrimSpace(line).empty()) continue;
    auto json = Json::Parse(line);
    if (!json) return std::move(json).error().With(fmt::format("{}:{}", path, number));
    HistoryBuild build{.time = json->GetInt("time"), .steps = {}, .wanted = {}};
    for (const Json& item : json->GetArray("steps")) {
      HistoryStep step{.key = item.GetString("key"),
                       .slot = item.GetString("slot"),
                       .parent = static_cast<int>(item.GetInt("parent", -1)),
                       .inputs = {},
                       .seconds = item.Find("seconds") ? item.Find("seconds")->as_double() : 0,
                       .bytes = static_cast<uint64_t>(item.GetInt("bytes"))};
      for (const Json& input : item.GetArray("inputs")) {
        step.inputs.push_back(static_cast<int>(input.as_int()));
      }
      build.steps.push_back(std::move(step));
    }
    for (const Json& wanted : json->GetArray("wanted")) {
      build.wanted.push_back(static_cast<int>(wanted.as_int()));
    }
    if (build.wanted.empty()) build.wanted.push_back(static_cast<int>(build.steps.size()) - 1);
    if (Status sound = Check(build); !sound) {
      return std::move(sound).error().With(fmt::format("{}:{}", path, number));
    }
    history.push_back(std::move(build));
  }
  return history;
}

}  // namespace varve::bench
