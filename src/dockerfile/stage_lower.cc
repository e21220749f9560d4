#include "dockerfile/stage_lower.h"

#include <algorithm>
#include <array>

#include "base/rel_path.h"
#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/history.h"
#include "dockerfile/image_config_edit.h"
#include "dockerfile/lower_ports.h"
#include "dockerfile/stage_copy.h"
#include "dockerfile/stage_run.h"
#include "dockerfile/windows_path.h"

namespace varve::dockerfile {

// --- CommandScope ----------------------------------------------------------------------------------

namespace {

void ReportUndefined(const CommandScope& scope, const Expansion& expansion) {
  for (const std::string& name : expansion.unmatched) {
    bool declared = std::ranges::any_of(scope.stage().args, [&](const auto& arg) { return arg.first == name; });
    if (declared || IsBuilderArg(name)) continue;
    std::vector<std::string> known = scope.stage().variables.Names();
    scope.lowering().linter.UndefinedVar(scope.origin(), name, known);
  }
}

}  // namespace

Result<std::string> CommandScope::Expand(std::string_view word) const {
  TRY_ASSIGN(Expansion expansion, ProcessWord(word, stage_.variables.Getter(), {.escape = lowering_.file.escape}));
  ReportUndefined(*this, expansion);
  return std::move(expansion.text);
}

Result<std::string> CommandScope::ExpandDocument(std::string_view body) const {
  TRY_ASSIGN(Expansion expansion, ProcessWord(body, stage_.variables.Getter(), {.skip_quotes = true}));
  ReportUndefined(*this, expansion);
  return std::move(expansion.text);
}

std::string CommandScope::Title() const {
  auto expansion = ProcessWord(origin().text, stage_.variables.Getter(), {.escape = lowering_.file.escape});
  return UpperCaseInstruction(expansion ? expansion->text : origin().text);
}

std::string CommandScope::PlatformPart() const {
  if (!lowering_.options.multi_platform) return "";
  return PlatformPrefix(*stage_.platform, stage_.variables.Getter());
}

graph::Step CommandScope::NewStep(const std::string& prefix, const std::string& title) const {
  graph::Step step;
  step.platform = *stage_.platform;
  step.name = prefix + title;
  step.stage = stage_.display_name;
  step.text = title;
  step.location = {lowering_.options.file_name, static_cast<uint32_t>(origin().span.start_line),
                   static_cast<uint32_t>(origin().span.end_line)};
  return step;
}

Result<std::string> CommandScope::DestinationPath(const std::string& given) const {
  TRY_ASSIGN(const std::string path, WithoutDrive(*stage_.platform, given));
  bool into = path.empty() || path == "." || path.ends_with('/') || path.ends_with("/.");
  std::string out = JoinAbsolute(stage_.directory, path);
  if (into && !out.ends_with('/')) out += '/';
  return out;
}

void CommandScope::AddHistory(const std::string& created_by, std::optional<graph::Ref> step) const {
  HistoryEntry entry;
  entry.history.created_by = created_by;
  entry.history.comment = kHistoryComment;
  entry.history.empty_layer = !step.has_value();
  if (lowering_.epoch) entry.history.created = Timestamp{*lowering_.epoch * 1'000'000'000};
  if (step) entry.step = step->step;
  stage_.history.push_back(std::move(entry));
}

graph::Owner ReadOwner(const std::string& text) {
  size_t colon = text.find(':');
  graph::Owner owner;
  owner.user = text.substr(0, colon);
  if (colon != text.npos) owner.group = text.substr(colon + 1);
  return owner;
}

// --- Instructions ----------------------------------------------------------------------------------

namespace {

// Signal names as docker knows them, without SIG; "RTMIN+3" and numbers besides.
bool IsSignal(std::string_view text) {
  constexpr std::array kNames = {"ABRT", "ALRM",   "BUS",  "CHLD",   "CLD",   "CONT", "FPE",  "HUP",   "ILL",
                                 "INT",  "IO",     "IOT",  "KILL",   "PIPE",  "POLL", "PROF", "PWR",   "QUIT",
                                 "SEGV", "STKFLT", "STOP", "SYS",    "TERM",  "TRAP", "TSTP", "TTIN",  "TTOU",
                                 "URG",  "USR1",   "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"};
  if (auto number = ParseInt(text)) return *number != 0;
  std::string name = ToUpper(text);
  if (name.starts_with("SIG")) name = name.substr(3);
  if (std::ranges::find(kNames, name) != kNames.end()) return true;
  for (auto [prefix, limit] : {std::pair("RTMIN+", 15), std::pair("RTMAX-", 14)}) {
    if (!name.starts_with(prefix)) continue;
    auto number = ParseInt(std::string_view(name).substr(6));
    return number && *number > 0 && *number <= limit;
  }
  return false;
}

std::vector<std::string> Argv(const CommandLine& command, const oci::ImageConfig& config) {
  if (!command.shell_form) return command.args;
  std::vector<std::string> argv = ShellOf(config);
  argv.push_back(Join(command.args, " "));
  return argv;
}

class MetadataLowering {
 public:
  explicit MetadataLowering(const CommandScope& scope)
      : scope_(scope), stage_(scope.stage()), checks_(*scope.stage().checks) {}

  Status operator()(const Run& run) { return LowerRun(scope_, run); }
  Status operator()(const Copy& copy) { return LowerCopy(scope_, copy); }
  Status operator()(const Add& add) { return LowerAdd(scope_, add); }

  Status operator()(Env env) {
    for (KeyValue& pair : env.values) TRY(ExpandPair(pair));
    checks_.OnEnv(scope_.origin(), env);
    std::string text = "ENV";
    for (const KeyValue& pair : env.values) {
      text += fmt::format(" {}={}", pair.key, pair.value);
      stage_.variables.Set(pair.key, pair.value);
      stage_.config.SetEnv(pair.key, pair.value);
    }
    return Empty(text);
  }

  Status operator()(Label label) {
    for (KeyValue& pair : label.values) TRY(ExpandPair(pair));
    checks_.OnLabel(scope_.origin(), label);
    std::string text = "LABEL";
    for (const KeyValue& pair : label.values) {
      text += fmt::format(" {}={}", pair.key, pair.value);
      stage_.config.SetLabel(pair.key, pair.value);
    }
    return Empty(text);
  }

  Status operator()(const Arg& arg) {
    checks_.OnArg(scope_.origin(), arg);
    std::vector<std::string> words;
    for (const ArgDefinition& definition : arg.definitions) {
      TRY_ASSIGN(auto value, ArgValue(definition));
      if (value && !IsBuilderArg(definition.name)) stage_.variables.Set(definition.name, *value);
      stage_.outline.used.insert(definition.name);
      stage_.args.emplace_back(definition.name, value.value_or(""));
      words.push_back(value ? definition.name + "=" + *value : definition.name);
    }
    return Empty("ARG " + Join(words, " "));
  }

  Status operator()(const Workdir& workdir) {
    TRY_ASSIGN(std::string path, scope_.Expand(workdir.path));
    checks_.OnWorkdir(scope_.origin(), path, IsWindows(*stage_.platform));
    TRY_ASSIGN(path, WithoutDrive(*stage_.platform, path));
    // The image gets an absolute path as it was written, trailing slash and all, as BuildKit does
    // it.
    std::string shown = path.starts_with('/') ? path : JoinAbsolute(stage_.directory, path);
    stage_.directory = JoinAbsolute("/", shown);
    stage_.config.SetConfig("WorkingDir", WithNativeSeparators(*stage_.platform, shown));
    std::optional<graph::Ref> made;
    if (stage_.directory != "/") {
      std::string prefix = stage_.numbers.Next(scope_.PlatformPart(), scope_.command().on_build);
      graph::Step step = scope_.NewStep(prefix, scope_.Title());
      graph::FileOp op;
      if (const auto base = BaseOf(scope_.lowering(), stage_)) {
        op.base = 0;
        step.inputs.push_back(*base);
      }
      op.actions.push_back(graph::MakeDirectory{
          .path = stage_.directory, .mode = 0755, .make_parents = true, .owner = ReadOwner(stage_.config.user())});
      step.op = std::move(op);
      made = scope_.lowering().steps.Add(std::move(step));
      stage_.root = made;
    }
    scope_.AddHistory("WORKDIR " + shown, made);
    return Ok();
  }

  Status operator()(const User& user) {
    TRY_ASSIGN(std::string name, scope_.Expand(user.user));
    if (name.empty()) {
      stage_.config.EraseConfig("User");
    } else {
      stage_.config.SetConfig("User", name);
    }
    return Empty("USER " + name);
  }

  Status operator()(const Cmd& cmd) {
    checks_.OnCmd(scope_.origin(), cmd);
    std::vector<std::string> argv = Argv(cmd.command, stage_.config);
    SetList(stage_.config, "Cmd", argv);
    stage_.config.SetConfig("ArgsEscaped", true);
    return Empty("CMD " + GoQuotedList(argv));
  }

  Status operator()(const Entrypoint& entrypoint) {
    checks_.OnEntrypoint(scope_.origin(), entrypoint);
    std::vector<std::string> argv = Argv(entrypoint.command, stage_.config);
    SetList(stage_.config, "Entrypoint", argv);
    // An inherited CMD is made of arguments for the inherited entry point.
    if (!HasOwnCmd()) stage_.config.EraseConfig("Cmd");
    return Empty("ENTRYPOINT " + GoQuotedList(argv));
  }

  Status operator()(const Shell& shell) {
    SetList(stage_.config, "Shell", shell.shell);
    checks_.SetShell();
    return Empty("SHELL " + GoList(shell.shell));
  }

  Status operator()(const Expose& expose) {
    std::vector<std::string> ports;
    for (const Word& word : expose.ports) {
      TRY_ASSIGN(auto words, ProcessWords(word, stage_.variables.Getter(), {.escape = scope_.lowering().file.escape}));
      for (const std::string& port : words) {
        TRY_ASSIGN(ExposedPorts parsed, ParsePorts(port));
        checks_.OnExpose(scope_.origin(), port, parsed.upper_case_protocol, parsed.has_host_part);
        for (const std::string& p : parsed.ports) {
          stage_.config.AddToSet("ExposedPorts", p);
          ports.push_back(p);
        }
      }
    }
    return Empty("EXPOSE " + GoList(ports));
  }

  Status operator()(const Volume& volume) {
    std::vector<std::string> paths;
    for (const Word& word : volume.paths) {
      TRY_ASSIGN(std::string path, scope_.Expand(word));
      if (path.empty()) return Invalid("VOLUME specified can not be an empty string");
      stage_.config.AddToSet("Volumes", path);
      paths.push_back(std::move(path));
    }
    return Empty("VOLUME " + GoList(paths));
  }

  Status operator()(const StopSignal& stop) {
    TRY_ASSIGN(std::string signal, scope_.Expand(stop.signal));
    if (IsWindows(*stage_.platform))
      return Invalid("The daemon on this platform does not support the command stopsignal");
    if (!IsSignal(signal)) {
      return Hinted(Invalid("invalid signal: {}", signal), "use a name such as SIGTERM, or 1 to 64");
    }
    stage_.config.SetConfig("StopSignal", signal);
    return Empty("STOPSIGNAL " + signal);
  }

  Status operator()(const Healthcheck& healthcheck) {
    checks_.OnHealthcheck(scope_.origin());
    oci::Healthcheck check;
    if (healthcheck.none) {
      check.test = {"NONE"};
    } else {
      check.test = {healthcheck.command.shell_form ? "CMD-SHELL" : "CMD"};
      check.test.insert(check.test.end(), healthcheck.command.args.begin(), healthcheck.command.args.end());
    }
    check.interval = healthcheck.interval;
    check.timeout = healthcheck.timeout;
    check.start_period = healthcheck.start_period;
    check.start_interval = healthcheck.start_interval;
    check.retries = healthcheck.retries;
    stage_.config.SetHealthcheck(check);
    return Empty(HealthcheckHistory(check));
  }

  Status operator()(const OnBuild& on_build) {
    AddOnBuild(stage_.config, on_build.trigger);
    return Ok();
  }

  Status operator()(const Maintainer& maintainer) {
    stage_.config.set_author(maintainer.name);
    return Empty("MAINTAINER " + maintainer.name);
  }

 private:
  Status Empty(const std::string& created_by) {
    scope_.AddHistory(created_by, {});
    return Ok();
  }

  Status ExpandPair(KeyValue& pair) {
    TRY_ASSIGN(pair.key, scope_.Expand(pair.key));
    TRY_ASSIGN(pair.value, scope_.Expand(pair.value));
    return Ok();
  }

  // A build argument, else the default, else what was said before the first FROM.
  Result<std::optional<std::string>> ArgValue(const ArgDefinition& definition) {
    const Lowering& lowering = scope_.lowering();
    ArgFacts facts{definition.name, definition.description, "", {}, scope_.origin().span};
    std::optional<std::string> value;
    if (auto given = lowering.build_args.find(definition.name); given != lowering.build_args.end()) {
      value = given->second;
    } else if (definition.value) {
      TRY_ASSIGN(value, scope_.Expand(*definition.value));
    } else if (auto global = lowering.globals.args.Get(definition.name)) {
      return std::optional<std::string>(std::move(global));  // outline shows the global ARG
    }
    facts.value = value.value_or("");
    stage_.outline.args[definition.name] = std::move(facts);
    return value;
  }

  bool HasOwnCmd() const;

  const CommandScope& scope_;
  StageState& stage_;
  StageChecks& checks_;
};

// A CMD that is an earlier command of this stage.
bool MetadataLowering::HasOwnCmd() const {
  for (const Command& command : stage_.commands) {
    if (&command == &scope_.command()) return false;
    if (std::holds_alternative<Cmd>(command.instruction.body)) return true;
  }
  return false;
}

void InheritFromStage(StageState& stage) {
  StageState& base = *stage.base;
  stage.platform = base.platform;
  stage.root = base.root;
  stage.config = base.config;
  stage.config.EraseConfig("OnBuild");
  stage.base_config = base.base_config;
  stage.history = base.history;
  stage.base_history = base.base_history;
  stage.variables = base.variables;
  stage.args = base.args;
  stage.directory = base.directory;
}

// "true", or a list with the stage's name.
bool IsEnabledFor(const std::string& stage, const std::string& value) {
  if (auto flag = ParseBool(value)) return *flag;
  std::vector<std::string> names = Split(value, ',');
  return std::ranges::find(names, stage) != names.end();
}

bool ScanEnabled(const Lowering& lowering, const StageState& stage, std::string_view name) {
  bool enabled = false;
  if (auto value = lowering.globals.args.Get(name)) {
    enabled = IsEnabledFor(stage.display_name, *value);
  }
  for (const auto& [arg, value] : stage.args) {
    if (arg == name) enabled = IsEnabledFor(stage.display_name, value);
  }
  return enabled;
}

}  // namespace

Status LowerStage(Lowering& lowering, StageState& stage) {
  lowering.place = stage.origin.span;
  if (stage.base != nullptr) {
    RootOf(lowering, *stage.base);  // a context in the place of a stage is not in the graph before
    InheritFromStage(stage);
  }
  stage.checks = stage.base != nullptr && stage.base->checks ? StageChecks::From(*stage.base->checks)
                                                             : StageChecks(lowering.linter);
  if (!stage.platform) stage.platform = lowering.options.target_platform;
  EnsurePath(stage.config);
  // The image's ENV beats ARGs that the parent stage set after it.
  for (const std::string& entry : stage.config.env()) {
    size_t equals = entry.find('=');
    stage.variables.Set(std::string_view(entry).substr(0, equals),
                        equals == entry.npos ? "" : std::string_view(entry).substr(equals + 1));
  }
  if (std::string given = stage.config.working_dir(); !given.empty()) {
    TRY_ASSIGN(std::string directory, WithoutDrive(*stage.platform, given));
    stage.directory = JoinAbsolute("/", directory);
    std::string shown = WithNativeSeparators(*stage.platform, directory.starts_with('/') ? directory : stage.directory);
    if (shown != given) stage.config.SetConfig("WorkingDir", std::move(shown));
  }
  if (!stage.config.shell().empty()) stage.checks->SetShell();
  RootOf(lowering, stage);

  for (const Command& command : stage.commands) {
    lowering.place = command.instruction.origin.span;
    CommandScope scope(lowering, stage, command);
    MetadataLowering handler(scope);
    TRY(std::visit([&](const auto& body) { return handler(body); }, command.instruction.body));
  }
  stage.scan_context = ScanEnabled(lowering, stage, "BUILDKIT_SBOM_SCAN_CONTEXT");
  stage.scan_stage = ScanEnabled(lowering, stage, "BUILDKIT_SBOM_SCAN_STAGE");
  stage.done = true;
  lowering.place = {};
  return Ok();
}

}  // namespace varve::dockerfile
