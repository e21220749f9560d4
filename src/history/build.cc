#include "history/build.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace varve::history {

namespace {

constexpr std::string_view kStatusNames[] = {"running", "completed", "error", "canceled", "killed"};
constexpr std::string_view kFateNames[] = {"skipped", "cached", "ran", "failed", "cancelled", "running"};

template <class Enum, size_t N>
std::optional<Enum> FromName(const std::string_view (&names)[N], std::string_view name) {
  auto it = std::ranges::find(names, name);
  if (it == std::end(names)) return std::nullopt;
  return static_cast<Enum>(it - std::begin(names));
}

void SetTime(Json& json, std::string_view member, Timestamp time) {
  if (time.nanos != 0) json.Set(member, FormatTime(time));
}

Result<Timestamp> TimeAt(const Json& json, std::string_view member) {
  std::string text = json.GetString(member);
  if (text.empty()) return Timestamp{};
  return ParseTime(text);
}

Result<Part> PartFromJson(const Json& json) {
  Part part{.name = json.GetString("name"),
            .wall = Nanos(json.GetInt("wall_ns")),
            .bytes = static_cast<uint64_t>(json.GetInt("bytes"))};
  TRY_ASSIGN(part.started, TimeAt(json, "started"));
  return part;
}

uint64_t CountAt(const Json& json, std::string_view member) { return static_cast<uint64_t>(json.GetInt(member)); }

Json ToJson(const Image& image) {
  Json json = Json().Set("platform", image.platform).Set("digest", image.digest);
  json.SetIf(!image.name.empty(), "name", image.name).Set("compression", image.compression);
  return json.Set("size", image.size).Set("layers", image.layers);
}

Image ImageFromJson(const Json& json) {
  return {.name = json.GetString("name"),
          .platform = json.GetString("platform"),
          .digest = json.GetString("digest"),
          .compression = json.GetString("compression"),
          .size = CountAt(json, "size"),
          .layers = static_cast<uint32_t>(json.GetInt("layers"))};
}

Json ToJson(const TierUse& tier) {
  Json json = Json().Set("name", tier.name);
  json.SetIf(tier.read, "read", true).SetIf(tier.written, "written", true);
  json.Set("hits", tier.hits).Set("layers", tier.layers).Set("bytes_read", tier.bytes_read);
  json.Set("bytes_written", tier.bytes_written).Set("requests", tier.requests);
  json.Set("time_ns", tier.time.count()).SetIf(tier.saved.count() != 0, "saved_ns", tier.saved.count());
  json.SetIf(!tier.read_error.empty(), "read_error", tier.read_error);
  return json.SetIf(!tier.write_error.empty(), "write_error", tier.write_error);
}

TierUse TierFromJson(const Json& json) {
  return {.name = json.GetString("name"),
          .read = json.GetBool("read"),
          .written = json.GetBool("written"),
          .hits = CountAt(json, "hits"),
          .layers = CountAt(json, "layers"),
          .bytes_read = CountAt(json, "bytes_read"),
          .bytes_written = CountAt(json, "bytes_written"),
          .requests = CountAt(json, "requests"),
          .time = Nanos(json.GetInt("time_ns")),
          .saved = Nanos(json.GetInt("saved_ns")),
          .read_error = json.GetString("read_error"),
          .write_error = json.GetString("write_error")};
}

Json ToJson(const Warning& warning) {
  Json json = Json().Set("text", warning.text);
  json.SetIf(!warning.remedy.empty(), "remedy", warning.remedy);
  json.SetIf(!warning.url.empty(), "url", warning.url);
  json.SetIf(!warning.file.empty(), "file", warning.file).SetIf(warning.line != 0, "line", warning.line);
  return json.SetIf(warning.hint, "hint", true);
}

Warning WarningFromJson(const Json& json) {
  return {.text = json.GetString("text"),
          .remedy = json.GetString("remedy"),
          .url = json.GetString("url"),
          .file = json.GetString("file"),
          .line = static_cast<uint32_t>(json.GetInt("line")),
          .hint = json.GetBool("hint")};
}

template <class T>
void SetList(Json& json, std::string_view member, const std::vector<T>& items) {
  if (items.empty()) return;
  Json list = Json::EmptyArray();
  for (const T& item : items) list.Append(ToJson(item));
  json.Set(member, std::move(list));
}

Json PairsToJson(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json json = Json::EmptyObject();
  for (const auto& [name, value] : pairs) json.Set(name, value);
  return json;
}

}  // namespace

std::string_view StatusName(BuildStatus status) { return kStatusNames[static_cast<int>(status)]; }
std::string_view FateName(Fate fate) { return kFateNames[static_cast<int>(fate)]; }

double Ratios::BySteps() const { return steps == 0 ? 0 : static_cast<double>(cached) / steps; }

double Ratios::ByTime() const {
  auto all = static_cast<double>((saved + spent).count());
  return all == 0 ? 0 : static_cast<double>(saved.count()) / all;
}

Ratios RatiosOf(const Build& build) {
  Ratios ratios;
  for (const Step& step : build.steps) {
    if (step.source || step.internal) continue;
    ratios.new_bytes += step.new_bytes;
    if (step.fate == Fate::kCached) {
      ++ratios.cached;
      ratios.saved += step.saved;
    } else if (step.fate == Fate::kRan || step.fate == Fate::kFailed) {
      ++ratios.ran;
      ratios.spent += step.wall;
    }
  }
  ratios.steps = ratios.cached + ratios.ran;
  return ratios;
}

Json ToJson(const Step& step) {
  Json json;
  json.Set("index", step.index).Set("name", step.name);
  Json inputs = Json::EmptyArray();
  for (uint32_t input : step.inputs) inputs.Append(input);
  json.SetIf(!step.inputs.empty(), "inputs", inputs);
  json.SetIf(!step.stage.empty(), "stage", step.stage);
  json.SetIf(step.source, "source", true).SetIf(step.internal, "internal", true);
  json.Set("fate", FateName(step.fate));
  json.SetIf(!step.key.empty(), "key", step.key).SetIf(!step.slot.empty(), "slot", step.slot);
  SetTime(json, "started", step.started);
  json.SetIf(step.wall.count() != 0, "wall_ns", step.wall.count());
  json.SetIf(step.saved.count() != 0, "saved_ns", step.saved.count());
  json.SetIf(step.new_bytes != 0, "new_bytes", step.new_bytes);
  json.SetIf(!step.tier.empty(), "tier", step.tier).SetIf(!step.why.empty(), "why", step.why);
  json.SetIf(!step.replayed.empty(), "replayed", step.replayed);
  json.SetIf(!step.shadow.empty(), "shadow", step.shadow);
  json.SetIf(!step.reasons.is_null(), "reasons", step.reasons);
  json.SetIf(!step.error.empty(), "error", step.error).SetIf(step.has_log, "has_log", true);
  Json parts = Json::EmptyArray();
  for (const Part& part : step.parts) {
    Json item = Json().Set("name", part.name);
    SetTime(item, "started", part.started);
    parts.Append(item.Set("wall_ns", part.wall.count()).Set("bytes", part.bytes));
  }
  return json.SetIf(!step.parts.empty(), "parts", parts);
}

Result<Step> StepFromJson(const Json& json) {
  auto fate = FromName<Fate>(kFateNames, json.GetString("fate"));
  if (!fate || json.Find("name") == nullptr) return Corrupt("history: a step is damaged");
  Step step{.index = static_cast<uint32_t>(json.GetInt("index")),
            .inputs = {},
            .name = json.GetString("name"),
            .stage = json.GetString("stage"),
            .source = json.GetBool("source"),
            .internal = json.GetBool("internal"),
            .fate = *fate,
            .key = json.GetString("key"),
            .slot = json.GetString("slot"),
            .started = {},
            .wall = Nanos(json.GetInt("wall_ns")),
            .saved = Nanos(json.GetInt("saved_ns")),
            .new_bytes = static_cast<uint64_t>(json.GetInt("new_bytes")),
            .tier = json.GetString("tier"),
            .why = json.GetString("why"),
            .shadow = json.GetString("shadow"),
            .replayed = json.GetString("replayed"),
            .reasons = {},
            .error = json.GetString("error"),
            .has_log = json.GetBool("has_log"),
            .parts = {}};
  TRY_ASSIGN(step.started, TimeAt(json, "started"));
  if (const Json* reasons = json.Find("reasons")) step.reasons = *reasons;
  for (const Json& input : json.GetArray("inputs")) {
    if (input.is_int()) step.inputs.push_back(static_cast<uint32_t>(input.as_int()));
  }
  for (const Json& item : json.GetArray("parts")) {
    TRY_ASSIGN(Part part, PartFromJson(item));
    step.parts.push_back(std::move(part));
  }
  return step;
}

Json ToJson(const Build& build) {
  Json json;
  json.Set("version", Build::kVersion).Set("id", build.id).Set("status", StatusName(build.status));
  json.Set("command", build.command).Set("arguments", Json::Strings(build.arguments));
  json.Set("project", build.project).Set("name", build.name).Set("context", build.context);
  json.SetIf(!build.dockerfile.empty(), "dockerfile", build.dockerfile);
  json.SetIf(!build.target.empty(), "target", build.target);
  json.Set("platforms", Json::Strings(build.platforms)).Set("tags", Json::Strings(build.tags));
  json.SetIf(!build.build_args.empty(), "build_args", PairsToJson(build.build_args));
  json.Set("varve", build.varve_version).SetIf(!build.job.empty(), "job", build.job);
  SetTime(json, "started", build.started);
  SetTime(json, "ended", build.ended);
  json.SetIf(!build.error.empty(), "error", build.error).Set("exit_code", build.exit_code);
  json.SetIf(!build.image.empty(), "image", build.image);
  SetList(json, "images", build.images);
  SetList(json, "tiers", build.tiers);
  SetList(json, "warnings", build.warnings);
  Json steps = Json::EmptyArray();
  for (const Step& step : build.steps) steps.Append(ToJson(step));
  return json.Set("steps", std::move(steps));
}

Result<Build> BuildFromJson(const Json& json) {
  int64_t version = json.GetInt("version");
  if (version != Build::kVersion) return Corrupt("history: a build of version {}", version);
  auto status = FromName<BuildStatus>(kStatusNames, json.GetString("status"));
  if (!status || json.GetString("id").empty()) return Corrupt("history: a build is damaged");
  Build build;
  build.id = json.GetString("id");
  build.status = *status;
  build.command = json.GetString("command");
  build.arguments = json.GetStrings("arguments");
  build.project = json.GetString("project");
  build.name = json.GetString("name");
  build.context = json.GetString("context");
  build.dockerfile = json.GetString("dockerfile");
  build.target = json.GetString("target");
  build.platforms = json.GetStrings("platforms");
  build.tags = json.GetStrings("tags");
  for (const auto& [name, value] : json.GetObject("build_args")) {
    if (value.is_string()) build.build_args.emplace_back(name, value.as_string());
  }
  build.varve_version = json.GetString("varve");
  build.job = json.GetString("job");
  TRY_ASSIGN(build.started, TimeAt(json, "started"));
  TRY_ASSIGN(build.ended, TimeAt(json, "ended"));
  build.error = json.GetString("error");
  build.exit_code = static_cast<int>(json.GetInt("exit_code"));
  build.image = json.GetString("image");
  for (const Json& item : json.GetArray("images")) build.images.push_back(ImageFromJson(item));
  for (const Json& item : json.GetArray("tiers")) build.tiers.push_back(TierFromJson(item));
  for (const Json& item : json.GetArray("warnings")) build.warnings.push_back(WarningFromJson(item));
  for (const Json& item : json.GetArray("steps")) {
    TRY_ASSIGN(Step step, StepFromJson(item));
    build.steps.push_back(std::move(step));
  }
  return build;
}

}  // namespace varve::history
