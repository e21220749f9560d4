#include "dockerfile/cache_rules.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "dockerfile/cache_pass.h"

namespace varve::dockerfile {
namespace {

// In the order of CacheRule.
constexpr CacheRuleText kRules[] = {
    {"InstallBelowCopyAll", "Dependencies should be installed before the whole context is copied"},
    {"MissingCacheMount", "Package managers and compilers should keep their cache in a cache mount"},
    {"PackageListLeftInLayer", "Package lists should not be left in a layer"},
    {"UncheckedDownload", "ADD of a URL should have a checksum"},
    {"UnpinnedBase", "Base images should be pinned by digest"},
    {"VolatileArgTooEarly", "An ARG that changes with every build should be declared where it is used"},
    {"InlineCache", "The inline cache has only the steps of the final stage"},
    {"NoDockerignore", "A context that is copied whole should have a .dockerignore"},
    {"DockerignoreLetsIn", "What no step needs should be ignored when the context is copied whole"},
};
static_assert(std::size(kRules) == static_cast<size_t>(CacheRule::kDockerignoreLetsIn) + 1);

const Run* RunOf(const Instruction& instruction) { return std::get_if<Run>(&instruction.body); }

RunFacts FactsOf(const Instruction& instruction) {
  RunFacts facts;
  if (const Run* run = RunOf(instruction)) {
    facts.commands = CommandsOf(*run);
    for (const ShellCommand& command : facts.commands) {
      if (auto install = InstallOf(command)) facts.installs.push_back(std::move(*install));
    }
  }
  return facts;
}

// Names of stages whose files others take.
std::set<std::string> CopiedFrom(const Dockerfile& file) {
  std::set<std::string> names;
  for (const Stage& stage : file.stages) {
    for (const Instruction& instruction : stage.instructions) {
      if (const Copy* copy = std::get_if<Copy>(&instruction.body)) names.insert(ToLower(copy->from));
      if (const Run* run = RunOf(instruction)) {
        for (const std::string& mount : run->mounts) {
          size_t at = mount.find("from=");
          if (at == mount.npos) continue;
          names.insert(ToLower(mount.substr(at + 5, mount.find(',', at) - at - 5)));
        }
      }
    }
  }
  return names;
}

}  // namespace

const CacheRuleText& Describe(CacheRule rule) { return kRules[static_cast<size_t>(rule)]; }

std::string HintCost::ToString() const {
  std::string text;
  if (seconds >= 1) {
    // Seconds of a guess have no decimals.
    auto whole = static_cast<int64_t>(seconds + 0.5);
    text = whole < 120 ? fmt::format("{}s", whole) : fmt::format("{}min", (whole + 30) / 60);
    if (!measured) text = "about " + text;
  }
  if (bytes > 0) {
    if (!text.empty()) text += " and ";
    text += (measured ? "" : "about ") + FormatBytes(bytes);
  }
  return text;
}

CachePass::CachePass(const Dockerfile& f, const CacheCheckInput& i) : file(f), input(i) {
  std::set<std::string> copied = CopiedFrom(file);
  stages.resize(file.stages.size());
  for (size_t n = 0; n < stages.size(); ++n) {
    StageFacts& facts = stages[n];
    facts.stage = &file.stages[n];
    for (const Instruction& instruction : facts.stage->instructions) {
      facts.runs.push_back(FactsOf(instruction));
    }
    for (size_t earlier = n; earlier-- > 0;) {
      const std::string& name = file.stages[earlier].name;
      if (name.empty() || !EqualsIgnoreCase(name, facts.stage->base)) continue;
      facts.base = &stages[earlier];
      break;
    }
    bool is_source = copied.contains(std::to_string(n)) || copied.contains(facts.stage->name);
    facts.ships = n + 1 == stages.size() || (!is_source && !facts.stage->name.empty());
  }
  // What an image is built FROM is part of it.
  for (size_t n = stages.size(); n-- > 0;) {
    if (!stages[n].ships || stages[n].base == nullptr) continue;
    stages[static_cast<size_t>(stages[n].base - stages.data())].ships = true;
  }
}

bool CachePass::Skipped(CacheRule rule, const Origin* origin) const {
  CheckOptions options = input.options;
  if (origin != nullptr && origin->check) {
    if (auto own = ParseCheckOptions(*origin->check)) options.Merge(*own);
  }
  return options.skip_all || options.skip.contains(std::string(Describe(rule).name));
}

void CachePass::Report(const Origin& origin, CacheHint hint) {
  if (Skipped(hint.rule, &origin)) return;
  if (hint.spans.empty()) hint.spans.push_back(origin.span);
  hints.push_back(std::move(hint));
}

void CachePass::Report(CacheHint hint) {
  if (!Skipped(hint.rule, nullptr)) hints.push_back(std::move(hint));
}

HintCost CachePass::CostOf(const Origin& origin, const Run& run) const {
  if (input.costs != nullptr) {
    if (auto seconds = input.costs->Seconds(origin)) return {.seconds = *seconds, .measured = true};
  }
  return {.seconds = TypicalSeconds(run)};
}

bool CopiesWholeContext(const Instruction& instruction) {
  const CopySources* sources = nullptr;
  if (const Copy* copy = std::get_if<Copy>(&instruction.body)) {
    if (!copy->from.empty()) return false;
    sources = &copy->sources;
  } else if (const Add* add = std::get_if<Add>(&instruction.body)) {
    sources = &add->sources;
  }
  if (sources == nullptr) return false;
  return std::ranges::any_of(sources->paths, [](const Word& path) {
    return path == "." || path == "./" || path == "/" || path == "*" || path == "./*" || path == "./." || path == "/.";
  });
}

std::vector<CacheHint> CheckCaching(const Dockerfile& file, const CacheCheckInput& input) {
  CachePass pass(file, input);
  CheckInstalls(pass);
  CheckSources(pass);
  CheckContext(pass);
  std::ranges::stable_sort(pass.hints, [](const CacheHint& a, const CacheHint& b) {
    if (a.spans.empty() || b.spans.empty()) return !a.spans.empty() && b.spans.empty();
    return a.spans[0].start_line < b.spans[0].start_line;
  });
  return std::move(pass.hints);
}

}  // namespace varve::dockerfile
