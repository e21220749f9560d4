#include "cli/verify_report.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace varve::cli {

namespace {

using verify::Cause;
using verify::FileDifference;

std::string Place(const graph::Step& step) {
  return step.location.file.empty() ? "" : fmt::format("{}:{}", step.location.file, step.location.first_line);
}

std::string Title(const graph::Step& step) {
  std::string place = Place(step);
  return place.empty() ? step.name : place + "  " + step.name;
}

// "content: a time: "09:12:03" / "09:14:40", byte 17".
std::string Describe(const FileDifference& difference) {
  using Kind = FileDifference::Kind;
  switch (difference.kind) {
    case Kind::kOnlyFirst:
      return fmt::format("only in the cached result ({})", difference.first);
    case Kind::kOnlySecond:
      return fmt::format("only in the fresh result ({})", difference.second);
    case Kind::kContent:
      break;
    case Kind::kRemoval:
      return fmt::format("{} / {}", difference.first, difference.second);
    default:
      return fmt::format("{}: {} / {}", verify::KindName(difference.kind), difference.first, difference.second);
  }
  if (!difference.content) return "content";
  static constexpr std::pair<Cause, const char*> kWords[] = {{Cause::kTime, "a time"},
                                                             {Cause::kPath, "a path"},
                                                             {Cause::kIdentifier, "a random or hashed name"},
                                                             {Cause::kOrder, "the same lines in another order"},
                                                             {Cause::kLength, "one is longer"},
                                                             {Cause::kOther, "other bytes"}};
  const char* words = "";
  for (const auto& [cause, text] : kWords) {
    if (cause == difference.content->cause) words = text;
  }
  return fmt::format("content: {}, from byte {}\n        cached  {}\n        fresh   {}", words,
                     difference.content->offset, difference.first, difference.second);
}

// What usually helps against the causes that were found.
std::string Remedies(const std::vector<StepDifference>& steps) {
  std::set<Cause> causes;
  for (const StepDifference& step : steps) {
    for (const FileDifference& file : step.files) {
      if (file.content && !step.because_of) causes.insert(file.content->cause);
    }
  }
  std::string text;
  if (causes.contains(Cause::kTime)) {
    text +=
        "  times   many tools write SOURCE_DATE_EPOCH instead of the clock: declare ARG SOURCE_DATE_EPOCH\n"
        "          in the stage; remove logs and caches in the RUN that writes them\n";
  }
  if (causes.contains(Cause::kPath)) {
    text += "  paths   work in a fixed directory instead of one of mktemp's\n";
  }
  if (causes.contains(Cause::kOrder)) {
    text += "  order   sort what is listed: find … | sort, LC_ALL=C\n";
  }
  if (causes.contains(Cause::kIdentifier)) {
    text += "  names   make identifiers (machine-id, keys, build ids) when the container starts, or fix the seed\n";
  }
  return text;
}

}  // namespace

std::string ToText(const VerifyResult& result, const graph::Graph& graph, bool all) {
  std::string text;
  if (result.equal()) {
    text = fmt::format("EQUAL: with the cache and without, the image is {}\n", result.cached.ToString());
    if (!result.steps.empty()) {
      text += "Steps that give something else each time, none of which reaches the image:\n";
    }
  } else {
    text = fmt::format("DIFFERENT: the cached image is not what a fresh build gives\n  cached  {}\n  fresh   {}\n",
                       result.cached.ToString(), result.fresh.ToString());
  }
  constexpr size_t kShown = 10;
  for (const StepDifference& step : result.steps) {
    text += "\n" + Title(graph.steps[step.step]) + "\n";
    if (step.because_of) {
      const graph::Step& cause = graph.steps[*step.because_of];
      text += fmt::format("    differs because of {}\n", Place(cause).empty() ? cause.name : Place(cause));
      if (!all) continue;
    }
    size_t shown = all ? step.files.size() : std::min(kShown, step.files.size());
    for (size_t i = 0; i < shown; ++i) {
      text += fmt::format("    {}\n      {}\n", step.files[i].path, Describe(step.files[i]));
    }
    if (shown < step.files.size()) {
      text += fmt::format("    … and {} more (--all lists them)\n", step.files.size() - shown);
    }
    if (step.trees_only) {
      text += "    the cached layer is not on this machine any more: contents could not be compared\n";
    }
  }
  if (!result.config.empty()) {
    text += "\nThe image's configuration differs in: " + Join(result.config, ", ") + "\n";
  }
  std::string remedies = Remedies(result.steps);
  if (!remedies.empty()) text += "\nWhat helps:\n" + remedies;
  return text;
}

Json ToJson(const VerifyResult& result, const graph::Graph& graph) {
  Json steps = Json::EmptyArray();
  for (const StepDifference& difference : result.steps) {
    const graph::Step& step = graph.steps[difference.step];
    Json json = Json().Set("name", step.name).Set("stage", step.stage);
    json.SetIf(!step.location.file.empty(), "file", step.location.file);
    json.SetIf(step.location.first_line != 0, "line", step.location.first_line);
    if (difference.because_of) json.Set("becauseOf", graph.steps[*difference.because_of].name);
    json.SetIf(difference.trees_only, "treesOnly", true);
    Json files = Json::EmptyArray();
    for (const FileDifference& file : difference.files) {
      Json entry = Json().Set("path", file.path).Set("kind", verify::KindName(file.kind));
      entry.Set("cached", file.first).Set("fresh", file.second);
      if (file.content) {
        entry.Set("cause", verify::CauseName(file.content->cause)).Set("offset", file.content->offset);
      }
      files.Append(std::move(entry));
    }
    steps.Append(json.Set("differences", std::move(files)));
  }
  Json config = Json::EmptyArray();
  for (const std::string& name : result.config) config.Append(name);
  return Json()
      .Set("equal", result.equal())
      .Set("cached", result.cached.ToString())
      .Set("fresh", result.fresh.ToString())
      .Set("steps", std::move(steps))
      .Set("config", std::move(config));
}

}  // namespace varve::cli
