#include "dockerfile/stage_list.h"

#include <algorithm>

#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/named_context.h"
#include "dockerfile/suggest.h"
#include "oci/reference.h"

namespace varve::dockerfile {

namespace {

// What an expression before the first instruction may name.
std::vector<std::string> KnownArgs(const Lowering& lowering) {
  std::vector<std::string> known = lowering.globals.args.Names();
  for (const auto& [name, facts] : lowering.globals.facts) {
    if (std::ranges::find(known, name) == known.end()) known.push_back(name);
  }
  return known;
}

// Variables that a FROM line asked for and nobody declared.
void ReportUndeclared(Lowering& lowering, const Stage& stage, const Expansion& expansion) {
  const std::vector<std::string> known = KnownArgs(lowering);
  for (const std::string& name : expansion.unmatched) {
    if (std::ranges::find(known, name) != known.end()) continue;
    lowering.linter.UndefinedArgInFrom(stage.origin, name, known);
  }
}

Status ReadPlatform(Lowering& lowering, const Stage& stage, StageState& state) {
  auto expanded = ProcessWord(stage.platform, lowering.globals.args.Getter(), {.escape = lowering.file.escape});
  if (!expanded) {
    return std::move(expanded).error().With("failed to process arguments for platform");
  }
  ReportUndeclared(lowering, stage, *expanded);
  const std::string& text = expanded->text;
  bool only_target = expanded->matched == std::set<std::string>{"TARGETPLATFORM"} && expanded->unmatched.empty();
  if (only_target && lowering.globals.args.Get("TARGETPLATFORM") == text) {
    lowering.linter.RedundantTargetPlatform(stage);
  }
  const std::vector<std::string> known = KnownArgs(lowering);
  const std::vector<std::string_view> names(known.begin(), known.end());
  std::string meant;
  for (const std::string& name : expanded->unmatched) {
    if (meant.empty()) meant = DidYouMean(name, names, true);
  }
  if (text.empty()) {
    Error error = Invalid("empty platform value from expression {}{}", stage.platform, meant);
    error.hint = "give the ARG before the first FROM a default value";
    return error;
  }
  auto platform = oci::ParsePlatform(text);
  if (!platform) {
    Error error = std::move(platform).error();
    error.message += meant;
    return std::move(error).With(fmt::format("failed to parse platform {}", stage.platform));
  }
  if (expanded->matched.empty() && expanded->unmatched.empty()) {
    lowering.linter.ConstantFromPlatform(stage, text, platform->os, platform->architecture);
  }
  state.outline.used.insert(expanded->matched.begin(), expanded->matched.end());
  state.platform = *platform;
  return Ok();
}

size_t CountSteps(const StageState& state) {
  size_t count = 0;
  for (const Instruction& instruction : state.parsed->instructions) {
    const Body& body = instruction.body;
    bool makes_layer = std::holds_alternative<Run>(body) || std::holds_alternative<Copy>(body) ||
                       std::holds_alternative<Add>(body) || std::holds_alternative<Workdir>(body);
    if (makes_layer) ++count;
  }
  return count;
}

// The flag that asks for the stage to be built without the cache; empty: none.
std::string NoCacheRule(const LowerOptions& options, const std::string& name) {
  if (options.no_cache) return "--no-cache";
  for (const std::string& wanted : options.no_cache_filter) {
    if (!wanted.empty() && EqualsIgnoreCase(wanted, name)) return "--no-cache-filter=" + wanted;
  }
  return "";
}

// A source that no stage of the file has: an image, or a named context.
StageState* AddUnlisted(Lowering& lowering, const std::string& base, const Origin& origin) {
  auto state = std::make_unique<StageState>();
  state->origin = origin;
  state->base_name = base;
  lowering.stages.push_back(std::move(state));
  return lowering.stages.back().get();
}

StageState* FindByName(Lowering& lowering, const std::string& name) {
  auto it = lowering.by_name.find(ToLower(name));
  return it == lowering.by_name.end() ? nullptr : it->second;
}

Result<StageState*> CopySource(Lowering& lowering, const Copy& copy, const Origin& origin) {
  auto expanded = ProcessWord(copy.from, NoVariables(), {.escape = lowering.file.escape});
  if (!expanded || expanded->text != copy.from) {
    return Invalid(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG from "
        "global scope as a workaround");
  }
  if (StageState* stage = FindByName(lowering, copy.from)) return stage;
  if (auto number = ParseInt(copy.from)) {
    if (*number < 0 || static_cast<size_t>(*number) >= lowering.file.stages.size()) {
      return Hinted(Invalid("invalid stage index {}", *number),
                    fmt::format("the stages of this file are 0 to {}", lowering.file.stages.size() - 1));
    }
    return lowering.stages[static_cast<size_t>(*number)].get();
  }
  return AddUnlisted(lowering, copy.from, origin);
}

// The value of from= in a --mount, which is never expanded. The parser has checked the CSV.
std::string MountSource(const std::string& mount) {
  auto fields = ParseCsvRecord(mount);
  std::string from;
  if (!fields) return from;
  for (const std::string& field : *fields) {
    size_t equals = field.find('=');
    if (equals == field.npos || !EqualsIgnoreCase(field.substr(0, equals), "from")) continue;
    from = field.substr(equals + 1);
  }
  return from;
}

class CycleFinder {
 public:
  // The stage with which the cycle closes.
  StageState* Visit(StageState* state, Span* place) {
    if (!visited_.insert(state).second) return nullptr;
    path_.insert(state);
    for (const Command& command : state->commands) {
      for (StageState* source : command.sources) {
        if (source == nullptr) continue;
        *place = command.instruction.origin.span;
        if (path_.contains(source)) return source;
        if (StageState* found = Visit(source, place)) return found;
      }
    }
    path_.erase(state);
    return nullptr;
  }

 private:
  std::set<StageState*> visited_, path_;
};

}  // namespace

Status CollectStages(Lowering& lowering) {
  for (size_t i = 0; i < lowering.file.stages.size(); ++i) {
    const Stage& stage = lowering.file.stages[i];
    lowering.place = stage.origin.span;
    auto state = std::make_unique<StageState>();
    state->parsed = &stage;
    state->origin = stage.origin;
    state->name = stage.name;
    state->display_name = stage.name.empty() ? fmt::format("stage-{}", i) : stage.name;
    TRY_ASSIGN(Expansion base,
               ProcessWord(stage.base, lowering.globals.args.Getter(), {.escape = lowering.file.escape}));
    ReportUndeclared(lowering, stage, base);
    if (base.text.empty()) {
      Error error = Invalid("base name ({}) should not be blank", stage.base);
      error.hint = "pass the ARG with --build-arg, or give it a default before the first FROM";
      return error;
    }
    state->base_name = base.text;
    state->outline.args = lowering.globals.facts;
    if (!stage.platform.empty()) TRY(ReadPlatform(lowering, stage, *state));
    if (!stage.name.empty()) {
      state->replaced_by = FindNamedContext(lowering.options.named_contexts, stage.name,
                                            state->platform.value_or(lowering.options.target_platform));
    }
    if (state->replaced_by == nullptr) {
      state->base = FindByName(lowering, base.text);
      if (state->base != nullptr) {
        auto used = std::move(state->outline.used);
        state->outline = state->base->outline;
        state->outline.used.merge(used);
      }
      state->outline.used.insert(base.matched.begin(), base.matched.end());
      state->base_is_numbered = state->base == nullptr && base.text != "scratch";
      state->numbers.Expect(CountSteps(*state) + (state->base_is_numbered ? 1 : 0));
    }
    state->no_cache_rule = NoCacheRule(lowering.options, stage.name);
    state->no_cache = !state->no_cache_rule.empty();
    if (!stage.name.empty()) lowering.by_name[stage.name] = state.get();
    lowering.stages.push_back(std::move(state));
  }
  lowering.place = {};
  return Ok();
}

Result<StageState*> FindTarget(Lowering& lowering) {
  const std::string& wanted = lowering.options.target;
  if (wanted.empty()) return lowering.stages[lowering.file.stages.size() - 1].get();
  if (StageState* stage = FindByName(lowering, wanted)) return stage;
  Error error = NotFound("target stage \"{}\" could not be found", wanted);
  std::vector<std::string> names;
  for (const auto& [name, stage] : lowering.by_name) names.push_back(name);
  std::vector<std::string_view> views(names.begin(), names.end());
  error.message += DidYouMean(wanted, views, true);
  if (!names.empty()) error.hint = "the file has these stages: " + Join(names, ", ");
  return error;
}

Status LinkCommand(Lowering& lowering, StageState& stage, Command& command) {
  const Instruction& instruction = command.instruction;
  lowering.place = instruction.origin.span;
  if (const auto* copy = std::get_if<Copy>(&instruction.body)) {
    if (!copy->from.empty()) {
      TRY_ASSIGN(StageState * source, CopySource(lowering, *copy, instruction.origin));
      command.sources.push_back(source);
    }
  } else if (const auto* run = std::get_if<Run>(&instruction.body)) {
    for (const std::string& mount : run->mounts) {
      std::string from = MountSource(mount);
      StageState* source = nullptr;
      if (!from.empty()) {
        source = FindByName(lowering, from);
        if (source == nullptr) source = AddUnlisted(lowering, from, instruction.origin);
      }
      command.sources.push_back(source);
    }
  }
  for (StageState* source : command.sources) {
    if (source != nullptr && std::ranges::find(stage.needs, source) == stage.needs.end()) {
      stage.needs.push_back(source);
    }
  }
  return Ok();
}

Status LinkCommands(Lowering& lowering) {
  bool has_mounts = false;
  size_t count = lowering.stages.size();
  for (size_t i = 0; i < count; ++i) {
    StageState& stage = *lowering.stages[i];
    if (stage.replaced_by != nullptr) continue;
    for (const Instruction& instruction : stage.parsed->instructions) {
      Command command{.instruction = instruction, .sources = {}, .on_build = false};
      TRY(LinkCommand(lowering, stage, command));
      const auto* run = std::get_if<Run>(&instruction.body);
      has_mounts = has_mounts || (run != nullptr && !run->mounts.empty());
      stage.commands.push_back(std::move(command));
    }
  }
  CycleFinder finder;
  for (size_t i = 0; i < count; ++i) {
    if (StageState* stage = finder.Visit(lowering.stages[i].get(), &lowering.place)) {
      return Hinted(Invalid("circular dependency detected on stage: {}", stage->display_name),
                    "it copies from, or mounts, a stage that needs it");
    }
  }
  // BuildKit counts what mounts and COPY --from name as stages here, a mount without from=
  // included.
  bool single = lowering.stages.size() == 1 && !has_mounts;
  if (!single) {
    for (size_t i = 0; i < count; ++i) {
      lowering.stages[i]->numbers.SetStage(lowering.stages[i]->display_name);
    }
  }
  lowering.place = {};
  return Ok();
}

std::set<StageState*> Reachable(StageState* target) {
  std::set<StageState*> out;
  std::vector<StageState*> todo = {target};
  while (!todo.empty()) {
    StageState* stage = todo.back();
    todo.pop_back();
    if (stage == nullptr || !out.insert(stage).second) continue;
    todo.push_back(stage->base);
    todo.insert(todo.end(), stage->needs.begin(), stage->needs.end());
  }
  return out;
}

void CheckDefaultArgs(Lowering& lowering, const Variables& automatic) {
  Span ignored;
  auto defaults = GlobalArgs(lowering.file, automatic, {}, &ignored);
  if (!defaults) return;  // lowering is about to fail with the same error
  for (const Stage& stage : lowering.file.stages) {
    auto base = ProcessWord(stage.base, defaults->args.Getter(), {.escape = lowering.file.escape});
    if (!base) return;
    if (!oci::ParseReference(base->text)) lowering.linter.InvalidDefaultArgInFrom(stage);
  }
}

}  // namespace varve::dockerfile
