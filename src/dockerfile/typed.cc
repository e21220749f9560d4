#include "dockerfile/typed.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/strings.h"
#include "dockerfile/duration.h"
#include "dockerfile/flags.h"
#include "dockerfile/hinted.h"
#include "dockerfile/runes.h"
#include "dockerfile/suggest.h"

namespace varve::dockerfile {
namespace {

// How each instruction is written, for those that lack something.
std::string Usage(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kUsage[] = {
      {"ARG", "ARG NAME[=DEFAULT]…"},
      {"ENV", "ENV NAME=VALUE…"},
      {"EXPOSE", "EXPOSE PORT[/tcp|/udp|/sctp]…"},
      {"HEALTHCHECK", "HEALTHCHECK [FLAGS] CMD COMMAND, or HEALTHCHECK NONE"},
      {"LABEL", "LABEL NAME=VALUE…"},
      {"MAINTAINER", "LABEL org.opencontainers.image.authors=NAME instead"},
      {"ONBUILD", "ONBUILD INSTRUCTION"},
      {"SHELL", "SHELL [\"/bin/bash\", \"-c\"]"},
      {"STOPSIGNAL", "STOPSIGNAL SIGTERM, or another name or number"},
      {"USER", "USER NAME[:GROUP]"},
      {"VOLUME", "VOLUME PATH…"},
      {"WORKDIR", "WORKDIR PATH; quote a path that has blanks"}};
  for (const auto& [instruction, usage] : kUsage) {
    if (instruction == name) return fmt::format("write {}", usage);
  }
  return "";
}

Error AtLeastOne(std::string_view name) {
  return Hinted(Invalid("{} requires at least one argument", name), Usage(name));
}

Status ExactlyOne(const RawInstruction& raw, std::string_view name) {
  if (raw.args.size() == 1) return Ok();
  return Hinted(Invalid("{} requires exactly one argument", name), Usage(name));
}

Status NoFlags(const RawInstruction& raw) { return Flags().Parse(raw.origin.flags); }

Result<std::vector<KeyValue>> TypeKeyValues(const RawInstruction& raw, std::string_view name) {
  TRY(NoFlags(raw));
  if (raw.args.empty()) return AtLeastOne(name);
  std::vector<KeyValue> values;
  for (size_t i = 0; i + 2 < raw.args.size(); i += 3) {
    if (raw.args[i].empty()) return Hinted(Invalid("{} names can not be blank", name), Usage(name));
    values.push_back({raw.args[i], raw.args[i + 1], raw.args[i + 2].empty()});
  }
  return values;
}

Result<Body> TypeEnv(const RawInstruction& raw) {
  TRY_ASSIGN(std::vector<KeyValue> values, TypeKeyValues(raw, "ENV"));
  return Body(Env{std::move(values)});
}

Result<Body> TypeLabel(const RawInstruction& raw) {
  TRY_ASSIGN(std::vector<KeyValue> values, TypeKeyValues(raw, "LABEL"));
  return Body(Label{std::move(values)});
}

// Flags of ARG and STOPSIGNAL are ignored: the reference does, and files rely on what builds.
Result<Body> TypeArg(const RawInstruction& raw) {
  if (raw.args.empty()) return AtLeastOne("ARG");
  Arg arg;
  for (const std::string& word : raw.args) {
    size_t equals = word.find('=');
    if (equals == 0) return Hinted(Invalid("ARG names can not be blank"), Usage("ARG"));
    ArgDefinition definition{.name = word.substr(0, equals)};
    if (equals != std::string::npos) definition.value = word.substr(equals + 1);
    definition.description = DescriptionOf(raw.origin.comments, definition.name);
    arg.definitions.push_back(std::move(definition));
  }
  return Body(std::move(arg));
}

Result<Body> TypeStopSignal(const RawInstruction& raw) {
  TRY(ExactlyOne(raw, "STOPSIGNAL"));
  return Body(StopSignal{raw.args[0]});
}

Result<Body> TypeWorkdir(const RawInstruction& raw) {
  TRY(ExactlyOne(raw, "WORKDIR"));
  TRY(NoFlags(raw));
  return Body(Workdir{raw.args[0]});
}

Result<Body> TypeUser(const RawInstruction& raw) {
  TRY(ExactlyOne(raw, "USER"));
  TRY(NoFlags(raw));
  return Body(User{raw.args[0]});
}

Result<Body> TypeMaintainer(const RawInstruction& raw) {
  TRY(ExactlyOne(raw, "MAINTAINER"));
  TRY(NoFlags(raw));
  return Body(Maintainer{raw.args[0]});
}

Result<Body> TypeCmd(const RawInstruction& raw) {
  TRY(NoFlags(raw));
  return Body(Cmd{TypeCommandLine(raw)});
}

Result<Body> TypeEntrypoint(const RawInstruction& raw) {
  TRY(NoFlags(raw));
  return Body(Entrypoint{TypeCommandLine(raw)});
}

Result<Body> TypeShell(const RawInstruction& raw) {
  TRY(NoFlags(raw));
  if (raw.args.empty()) return AtLeastOne("SHELL");
  if (!raw.json) {
    Error error = Invalid("SHELL requires the arguments to be in JSON form");
    error.hint = "write SHELL [\"/bin/bash\", \"-c\"]";
    return error;
  }
  return Body(Shell{raw.args});
}

Result<Body> TypeExpose(const RawInstruction& raw) {
  if (raw.args.empty()) return AtLeastOne("EXPOSE");
  TRY(NoFlags(raw));
  Expose expose{raw.args};
  std::sort(expose.ports.begin(), expose.ports.end());
  return Body(std::move(expose));
}

Result<Body> TypeVolume(const RawInstruction& raw) {
  if (raw.args.empty()) return AtLeastOne("VOLUME");
  TRY(NoFlags(raw));
  Volume volume;
  for (const std::string& arg : raw.args) {
    std::string_view path = TrimUnicodeSpace(arg);
    if (path.empty()) {
      return Hinted(Invalid("VOLUME specified can not be an empty string"), Usage("VOLUME"));
    }
    volume.paths.emplace_back(path);
  }
  return Body(std::move(volume));
}

Result<std::chrono::nanoseconds> Interval(const Flags& flags, std::string_view name) {
  using namespace std::chrono_literals;
  std::string text = flags.Value(name);
  if (text.empty()) return 0ns;
  constexpr const char* kHint = "write a number and its unit: 30s, 1m30s, 500ms";
  auto parsed = ParseDuration(text);
  if (!parsed) return Hinted(std::move(parsed).error(), kHint);
  std::chrono::nanoseconds value = *parsed;
  if (value != 0ns && value < 1ms) {
    return Hinted(Invalid("Interval {} cannot be less than 1ms", Quote(name)), kHint);
  }
  return value;
}

Result<int> Retries(const std::string& text) {
  if (text.empty()) return 0;
  std::string_view digits = text;
  if (digits.starts_with('+') || digits.starts_with('-')) digits.remove_prefix(1);
  if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) {
    return Hinted(Invalid("strconv.ParseInt: parsing {}: invalid syntax", Quote(text)),
                  "--retries takes a whole number");
  }
  auto number = ParseInt(text.starts_with('+') ? digits : std::string_view(text));
  using Limits = std::numeric_limits<int32_t>;
  if (!number || *number < Limits::min() || *number > Limits::max()) {
    return Hinted(Invalid("strconv.ParseInt: parsing {}: value out of range", Quote(text)),
                  "--retries takes a number up to 2147483647");
  }
  if (*number < 0) return Invalid("--retries cannot be negative ({})", *number);
  return static_cast<int>(*number);
}

Result<Body> TypeHealthcheck(const RawInstruction& raw) {
  if (raw.args.empty()) return AtLeastOne("HEALTHCHECK");
  Healthcheck check;
  std::string type = ToUpper(raw.args[0]);
  if (type == "NONE") {
    if (raw.args.size() > 1) {
      return Hinted(Invalid("HEALTHCHECK NONE takes no arguments"), Usage("HEALTHCHECK"));
    }
    check.none = true;
    return Body(std::move(check));
  }
  Flags flags;
  for (std::string_view name : {"interval", "timeout", "start-period", "start-interval", "retries"}) {
    flags.AddString(name);
  }
  TRY(flags.Parse(raw.origin.flags));
  if (type != "CMD") {
    return Hinted(Invalid("Unknown type {} in HEALTHCHECK (try CMD)", Quote(type)), Usage("HEALTHCHECK"));
  }
  check.command = TypeCommandLine(raw, 1);
  if (check.command.args.empty()) {
    return Hinted(Invalid("Missing command after HEALTHCHECK CMD"), Usage("HEALTHCHECK"));
  }
  TRY_ASSIGN(check.interval, Interval(flags, "interval"));
  TRY_ASSIGN(check.timeout, Interval(flags, "timeout"));
  TRY_ASSIGN(check.start_period, Interval(flags, "start-period"));
  TRY_ASSIGN(check.start_interval, Interval(flags, "start-interval"));
  TRY_ASSIGN(check.retries, Retries(flags.Value("retries")));
  return Body(std::move(check));
}

Result<Body> TypeOnBuild(const RawInstruction& raw) {
  if (raw.args.empty()) return AtLeastOne("ONBUILD");
  TRY(NoFlags(raw));
  std::string trigger = ToUpper(TrimUnicodeSpace(raw.args[0]));
  if (trigger == "ONBUILD") {
    return Hinted(Invalid("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
                  "a trigger runs in the child, and not in the child's child");
  }
  if (trigger == "MAINTAINER" || trigger == "FROM") {
    return Hinted(Invalid("{} isn't allowed as an ONBUILD trigger", trigger),
                  "any instruction but FROM, ONBUILD and MAINTAINER can be one");
  }
  // The text is stored, not the pieces: a child reads it with its own parser.
  std::string_view text = TrimLeftSpace(raw.origin.text);
  text.remove_prefix(raw.origin.keyword.size());
  OnBuild on_build{std::string(TrimLeftSpace(text))};
  for (const Heredoc& document : raw.origin.heredocs) {
    on_build.trigger += "\n" + document.content + document.name;
  }
  return Body(std::move(on_build));
}

struct Entry {
  std::string_view name;
  Result<Body> (*type)(const RawInstruction&);
};
constexpr Entry kInstructions[] = {{"ADD", TypeAdd},
                                   {"ARG", TypeArg},
                                   {"CMD", TypeCmd},
                                   {"COPY", TypeCopy},
                                   {"ENTRYPOINT", TypeEntrypoint},
                                   {"ENV", TypeEnv},
                                   {"EXPOSE", TypeExpose},
                                   {"HEALTHCHECK", TypeHealthcheck},
                                   {"LABEL", TypeLabel},
                                   {"MAINTAINER", TypeMaintainer},
                                   {"ONBUILD", TypeOnBuild},
                                   {"RUN", TypeRun},
                                   {"SHELL", TypeShell},
                                   {"STOPSIGNAL", TypeStopSignal},
                                   {"USER", TypeUser},
                                   {"VOLUME", TypeVolume},
                                   {"WORKDIR", TypeWorkdir}};

bool IsStageName(std::string_view name) {
  if (name.empty() || name[0] < 'a' || name[0] > 'z') return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string_view::npos;
}

}  // namespace

CommandLine TypeCommandLine(const RawInstruction& raw, size_t first) {
  std::vector<std::string> args(raw.args.begin() + static_cast<ptrdiff_t>(first), raw.args.end());
  return CommandLine{!raw.json, std::move(args)};
}

std::string DescriptionOf(const std::vector<std::string>& comments, std::string_view name) {
  if (name.empty()) return "";
  for (const std::string& comment : comments) {
    std::string_view rest = comment;
    if (!rest.starts_with(name)) continue;
    rest.remove_prefix(name.size());
    if (rest.starts_with(' ')) return std::string(rest.substr(1));
  }
  return "";
}

Result<Body> TypeBody(const RawInstruction& raw) {
  std::string upper = ToUpper(raw.origin.keyword);
  std::vector<std::string_view> names = {"FROM"};
  for (const Entry& entry : kInstructions) {
    if (entry.name == upper) return entry.type(raw);
    names.push_back(entry.name);
  }
  std::string meant = DidYouMean(raw.origin.keyword, names, false);
  Error error = Invalid("unknown instruction: {}{}", raw.origin.keyword, meant);
  // What is no misspelt instruction is most often the rest of the one above.
  if (meant.empty()) error.hint = "if it belongs to the line above, that one has to end with \\";
  return error;
}

Result<Stage> TypeStage(const RawInstruction& raw) {
  Stage stage{.origin = raw.origin};
  if (raw.args.size() == 3 && EqualsIgnoreCase(raw.args[1], "as")) {
    stage.as_keyword = raw.args[1];
    stage.name_as_written = raw.args[2];
    stage.name = ToLower(raw.args[2]);
    if (!IsStageName(stage.name)) {
      return Hinted(Invalid("invalid name for build stage: {}, name can't start with a number or "
                            "contain symbols",
                            Quote(raw.args[2])),
                    "begin it with a letter; letters, digits, -, _ and . may follow");
    }
  } else if (raw.args.size() != 1) {
    Error error = Invalid("FROM requires either one or three arguments");
    error.hint = "write FROM IMAGE or FROM IMAGE AS NAME";
    return error;
  }
  Flags flags;
  flags.AddString("platform");
  TRY(flags.Parse(raw.origin.flags));
  stage.base = raw.args[0];
  stage.platform = flags.Value("platform");
  stage.description = DescriptionOf(raw.origin.comments, stage.name);
  return stage;
}

}  // namespace varve::dockerfile
