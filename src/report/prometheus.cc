#include "report/prometheus.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/strings.h"

namespace varve::report {

namespace {

using history::Build;
using history::Fate;
using history::Step;

constexpr double kBuckets[] = {1, 3, 10, 30, 60, 120, 300, 600, 1800, 3600};

double Seconds(Nanos nanos) { return static_cast<double>(nanos.count()) / 1e9; }

std::string Number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  return fmt::format("{}", value);  // the shortest that reads back as the same
}

std::string Escaped(std::string_view text, bool quoted) {
  std::string out;
  for (char c : text) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quoted) out += "\\\"";
    else out += c;
  }
  return out;
}

std::string KeyOf(const Sample& sample) {
  std::string key = sample.suffix;
  for (const auto& [name, value] : sample.labels) key += '\0' + name + '\0' + value;
  return key;
}

const std::string* LabelOf(const Sample& sample, std::string_view name) {
  for (const auto& [key, value] : sample.labels) {
    if (key == name) return &value;
  }
  return nullptr;
}

// --- What a build gives ----------------------------------------------------------------------------

class Collector {
 public:
  explicit Collector(const Build& build) : build_(build) {
    of_build_ = {{"project", build.name}, {"target", build.target}};
  }

  void Add(std::string_view name, std::string_view type, std::string_view help, double value, Labels labels = {},
           std::string suffix = "") {
    auto family = std::ranges::find(families_, name, &Family::name);
    if (family == families_.end()) {
      families_.push_back(
          {.name = std::string(name), .help = std::string(help), .type = std::string(type), .samples = {}});
      family = families_.end() - 1;
    }
    family->samples.push_back({.suffix = std::move(suffix), .labels = std::move(labels), .value = value});
  }

  Labels With(Labels more) const {
    Labels labels = of_build_;
    labels.insert(labels.end(), more.begin(), more.end());
    return labels;
  }

  void Builds() {
    using history::BuildStatus;
    for (BuildStatus status : {BuildStatus::kCompleted, BuildStatus::kFailed, BuildStatus::kCancelled}) {
      Add("varve_builds_total", "counter", "Builds by how they ended.", build_.status == status,
          With({{"status", std::string(StatusName(status))}}));
    }
    double seconds = Seconds(build_.Duration());
    constexpr std::string_view kName = "varve_build_duration_seconds";
    constexpr std::string_view kHelp = "Wall time of builds.";
    for (double bound : kBuckets) {
      Add(kName, "histogram", kHelp, seconds <= bound, With({{"le", Number(bound)}}), "_bucket");
    }
    Add(kName, "histogram", kHelp, 1, With({{"le", "+Inf"}}), "_bucket");
    Add(kName, "histogram", kHelp, seconds, of_build_, "_sum");
    Add(kName, "histogram", kHelp, 1, of_build_, "_count");
  }

  void Steps() {
    std::map<std::string, int> outcomes = {{"cached", 0}, {"ran", 0}, {"failed", 0}, {"cancelled", 0}};
    std::map<std::string, int> reasons;
    for (const Step& step : build_.steps) {
      if (step.source || step.internal) continue;
      std::string outcome(FateName(step.fate));
      if (outcomes.contains(outcome)) ++outcomes[outcome];
      if (step.fate != Fate::kRan && step.fate != Fate::kFailed) continue;
      // The most telling reason is first.
      const Json::Array empty;
      const Json::Array& why = step.reasons.is_array() ? step.reasons.as_array() : empty;
      ++reasons[why.empty() ? "unknown" : why[0].GetString("kind", "unknown")];
    }
    for (const auto& [outcome, count] : outcomes) {
      Add("varve_steps_total", "counter", "Steps by what became of them.", count, With({{"outcome", outcome}}));
    }
    for (const auto& [reason, count] : reasons) {
      Add("varve_steps_run_total", "counter", "Steps that ran, by the first reason why.", count,
          With({{"reason", reason}}));
    }
    history::Ratios ratios = RatiosOf(build_);
    Add("varve_step_run_seconds_total", "counter", "Time that steps ran.", Seconds(ratios.spent), of_build_);
    Add("varve_step_saved_seconds_total", "counter", "Time that cached steps had taken when they ran.",
        Seconds(ratios.saved), of_build_);
    Add("varve_new_bytes_total", "counter", "Bytes that steps which ran have added.",
        static_cast<double>(ratios.new_bytes), of_build_);
  }

  void LastBuild() {
    history::Ratios ratios = RatiosOf(build_);
    Add("varve_last_build_timestamp_seconds", "gauge", "When the last build ended.",
        static_cast<double>(build_.ended.nanos) / 1e9, of_build_);
    Add("varve_last_build_success", "gauge", "1 if the last build completed.",
        build_.status == history::BuildStatus::kCompleted, of_build_);
    Add("varve_last_build_duration_seconds", "gauge", "Wall time of the last build.", Seconds(build_.Duration()),
        of_build_);
    Add("varve_last_build_steps", "gauge", "Steps of the last build that were cached or ran.", ratios.cached,
        With({{"outcome", "cached"}}));
    Add("varve_last_build_steps", "gauge", "", ratios.ran, With({{"outcome", "ran"}}));
    if (ratios.steps > 0) {
      constexpr std::string_view kHelp =
          "Share of the last build's steps that were cached, by their number and "
          "by the time that they take.";
      Add("varve_last_build_hit_ratio", "gauge", kHelp, ratios.BySteps(), With({{"by", "steps"}}));
      Add("varve_last_build_hit_ratio", "gauge", kHelp, ratios.ByTime(), With({{"by", "time"}}));
    }
    for (const history::Image& image : build_.images) {
      Add("varve_last_build_image_bytes", "gauge", "Size of the images of the last build.",
          static_cast<double>(image.size),
          With({{"image", image.name}, {"platform", image.platform}, {"compression", image.compression}}));
    }
    Add("varve_last_build_warnings", "gauge", "Warnings of the last build.",
        static_cast<double>(std::ranges::count(build_.warnings, false, &history::Warning::hint)), of_build_);
  }

  void Tiers() {
    for (const history::TierUse& tier : build_.tiers) {
      Labels labels = {{"tier", tier.name}};
      auto count = [&](std::string_view name, std::string_view help, double value) {
        Add(name, "counter", help, value, labels);
      };
      count("varve_tier_hits_total", "Steps that a cache answered.", static_cast<double>(tier.hits));
      count("varve_tier_requests_total", "Requests to a cache.", static_cast<double>(tier.requests));
      count("varve_tier_read_bytes_total", "Bytes read from a cache.", static_cast<double>(tier.bytes_read));
      count("varve_tier_written_bytes_total", "Bytes written to a cache.", static_cast<double>(tier.bytes_written));
      count("varve_tier_saved_seconds_total", "Time that the steps which a cache answered had taken.",
            Seconds(tier.saved));
      count("varve_tier_seconds_total", "Time that a cache took.", Seconds(tier.time));
      for (bool read : {true, false}) {
        Add("varve_tier_failures_total", "counter", "Builds in which a cache could not be read or written.",
            !(read ? tier.read_error : tier.write_error).empty(),
            {{"tier", tier.name}, {"operation", read ? "read" : "write"}});
      }
    }
  }

  void Disk(const Storage& storage) {
    for (const auto& [kind, bytes] : storage.bytes) {
      Add("varve_storage_bytes", "gauge", "What the local cache takes on the disk, by kind.",
          static_cast<double>(bytes), {{"kind", kind}});
    }
    if (storage.limit) {
      Add("varve_storage_limit_bytes", "gauge", "What the policy lets the local cache take.",
          static_cast<double>(*storage.limit));
    }
    Add("varve_storage_disk_free_bytes", "gauge", "Free space of the local cache's disk.",
        static_cast<double>(storage.disk_free));
    Add("varve_storage_disk_bytes", "gauge", "Size of the local cache's disk.",
        static_cast<double>(storage.disk_total));
    for (const auto& [rule, evicted] : storage.evicted) {
      Add("varve_evictions_total", "counter", "What collections after builds have removed, by rule.",
          static_cast<double>(evicted.first), {{"rule", rule}});
      Add("varve_evicted_bytes_total", "counter", "Bytes that collections after builds have removed.",
          static_cast<double>(evicted.second), {{"rule", rule}});
    }
  }

  std::vector<Family> Take() { return std::move(families_); }

 private:
  const Build& build_;
  Labels of_build_;
  std::vector<Family> families_;
};

// --- Reading ---------------------------------------------------------------------------------------

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

std::string_view TakeName(std::string_view& rest) {
  size_t end = 0;
  while (end < rest.size() && IsNameChar(rest[end])) ++end;
  std::string_view name = rest.substr(0, end);
  rest.remove_prefix(end);
  return name;
}

// `rest` begins after the opening quote; it ends after the closing one.
std::optional<std::string> TakeQuoted(std::string_view& rest) {
  std::string out;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '"') {
      rest.remove_prefix(i + 1);
      return out;
    }
    if (rest[i] == '\\' && i + 1 < rest.size()) {
      ++i;
      out += rest[i] == 'n' ? '\n' : rest[i];
    } else {
      out += rest[i];
    }
  }
  return std::nullopt;
}

std::optional<Labels> TakeLabels(std::string_view& rest) {
  Labels labels;
  if (!rest.starts_with('{')) return labels;
  rest.remove_prefix(1);
  while (!rest.starts_with('}')) {
    std::string name(TakeName(rest));
    if (name.empty() || !rest.starts_with("=\"")) return std::nullopt;
    rest.remove_prefix(2);
    auto value = TakeQuoted(rest);
    if (!value) return std::nullopt;
    labels.emplace_back(std::move(name), std::move(*value));
    if (rest.starts_with(',')) rest.remove_prefix(1);
    else if (!rest.starts_with('}')) return std::nullopt;
  }
  rest.remove_prefix(1);
  return labels;
}

std::optional<double> ParseNumber(std::string_view text) {
  std::string word(TrimSpace(text));
  if (word.empty()) return std::nullopt;
  char* end = nullptr;
  double value = std::strtod(word.c_str(), &end);
  if (end != word.c_str() + word.size()) return std::nullopt;
  return value;
}

// The name of a family without the ending that a histogram's samples have.
std::string SuffixOf(const Family& family, std::string_view name) {
  for (std::string_view suffix : {"_bucket", "_sum", "_count"}) {
    if (family.type == "histogram" && name == family.name + std::string(suffix)) return std::string(suffix);
  }
  return "";
}

bool IsOfBuild(const Sample& sample, const Sample& other) {
  const std::string *a = LabelOf(sample, "project"), *b = LabelOf(other, "project");
  const std::string *c = LabelOf(sample, "target"), *d = LabelOf(other, "target");
  if (a == nullptr || b == nullptr) return a == b;
  return *a == *b && (c == nullptr ? "" : *c) == (d == nullptr ? "" : *d);
}

void Sum(Family& into, const Family& from) {
  std::map<std::string, size_t> known;
  for (size_t i = 0; i < into.samples.size(); ++i) known[KeyOf(into.samples[i])] = i;
  for (const Sample& sample : from.samples) {
    auto [it, is_new] = known.try_emplace(KeyOf(sample), into.samples.size());
    if (is_new) into.samples.push_back(sample);
    else into.samples[it->second].value += sample.value;
  }
}

}  // namespace

std::vector<Family> MetricsOf(const Build& build, const std::optional<Storage>& storage) {
  Collector collector(build);
  collector.Builds();
  collector.Steps();
  collector.LastBuild();
  collector.Tiers();
  if (storage) collector.Disk(*storage);
  return collector.Take();
}

std::vector<Family> MetricsOf(const Storage& storage) {
  const Build none;
  Collector collector(none);
  collector.Disk(storage);
  return collector.Take();
}

std::vector<Family> GaugesOf(std::vector<Family> families) {
  std::erase_if(families, [](const Family& family) { return family.type != "gauge"; });
  return families;
}

std::vector<Family> Added(std::vector<Family> before, std::vector<Family> now) {
  // Gauges of this project that this build no longer has are as old as those that it replaces.
  for (Family& family : before) {
    if (family.type != "gauge") continue;
    std::erase_if(family.samples, [&](const Sample& old) {
      return std::ranges::any_of(now, [&](const Family& fresh) {
        return fresh.type == "gauge" && !fresh.samples.empty() && IsOfBuild(old, fresh.samples[0]) &&
               (LabelOf(old, "project") != nullptr || fresh.name == family.name);
      });
    });
  }
  for (Family& family : now) {
    auto known = std::ranges::find(before, family.name, &Family::name);
    if (known == before.end()) {
      before.push_back(std::move(family));
    } else {
      // What this version says about it, not the one that wrote the file.
      known->help = family.help;
      known->type = family.type;
      Sum(*known, family);
    }
  }
  std::erase_if(before, [](const Family& family) { return family.samples.empty(); });
  return before;
}

std::string Render(const std::vector<Family>& families) {
  std::string out;
  for (const Family& family : families) {
    out +=
        fmt::format("# HELP {} {}\n# TYPE {} {}\n", family.name, Escaped(family.help, false), family.name, family.type);
    for (const Sample& sample : family.samples) {
      out += family.name + sample.suffix;
      for (size_t i = 0; i < sample.labels.size(); ++i) {
        out += fmt::format("{}{}=\"{}\"", i == 0 ? '{' : ',', sample.labels[i].first,
                           Escaped(sample.labels[i].second, true));
      }
      out += fmt::format("{} {}\n", sample.labels.empty() ? "" : "}", Number(sample.value));
    }
  }
  return out;
}

Result<std::vector<Family>> ParseMetrics(std::string_view text) {
  std::vector<Family> families;
  size_t number = 0;
  for (const std::string& line : Split(text, '\n')) {
    ++number;
    auto bad = [&](std::string_view why) { return Corrupt("line {}: {}", number, why); };
    if (TrimSpace(line).empty()) continue;
    if (line.starts_with('#')) {
      std::vector<std::string> words = Split(line, ' ');
      if (words.size() < 4 || (words[1] != "HELP" && words[1] != "TYPE")) continue;
      if (families.empty() || families.back().name != words[2]) families.push_back({.name = words[2]});
      if (words[1] == "TYPE") families.back().type = words[3];
      else families.back().help = line.substr(words[2].size() + 8);
      continue;
    }
    std::string_view rest = line;
    std::string name(TakeName(rest));
    auto labels = TakeLabels(rest);
    if (name.empty() || !labels) return bad("no sample");
    auto value = ParseNumber(rest);
    if (!value) return bad("no value");
    if (families.empty()) return bad("a sample without a type");
    Family& family = families.back();
    std::string suffix = SuffixOf(family, name);
    if (name != family.name + suffix) return bad("a sample of another metric");
    family.samples.push_back({std::move(suffix), std::move(*labels), *value});
  }
  return families;
}

}  // namespace varve::report
