#include "job/build_flags.h"

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"

namespace varve::job {

namespace {

std::string Environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

}  // namespace

engine::TraceRules DefaultTraceRules() {
  engine::TraceRules rules;
  // What is no boolean is an error where there are flags.
  rules.on = ParseBool(Environment("VARVE_TRACE")).value_or(true);
  rules.network_age = engine::AgeLimit{Nanos(std::chrono::days(7)), "--trace-max-age=7d"};
  return rules;
}

Result<ProgressMode> ParseProgressMode(const std::string& text) {
  static const std::pair<const char*, ProgressMode> kModes[] = {
      {"auto", ProgressMode::kAuto},   {"tty", ProgressMode::kTty},         {"plain", ProgressMode::kPlain},
      {"quiet", ProgressMode::kQuiet}, {"rawjson", ProgressMode::kRawJson}, {"none", ProgressMode::kNone}};
  for (const auto& [name, mode] : kModes) {
    if (text == name) return mode;
  }
  return Invalid("invalid progress mode \"{}\": use auto, tty, plain, quiet, rawjson or none", text);
}

Result<SecretFlag> ParseSecret(std::string_view value) {
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  SecretFlag secret;
  std::string type;
  for (const std::string& field : fields) {
    size_t eq = field.find('=');
    std::string key = ToLower(field.substr(0, eq));
    if (eq == field.npos) return Invalid("invalid field \"{}\" of --secret: key=value expected", field);
    std::string text = field.substr(eq + 1);
    if (key == "id") {
      secret.id = text;
    } else if (key == "src" || key == "source") {
      secret.path = text;
    } else if (key == "env") {
      secret.variable = text;
    } else if (key == "type" && (text == "file" || text == "env")) {
      type = text;
    } else if (key == "type") {
      return Invalid("unsupported secret type \"{}\": use file or env", text);
    } else {
      return Invalid("unexpected key \"{}\" in --secret: use id, src, env or type", key);
    }
  }
  if (secret.id.empty()) return Invalid("--secret \"{}\" has no id", value);
  if (type == "env" && secret.variable.empty()) {
    secret.variable = std::exchange(secret.path, "");
  }
  if (secret.path.empty() && secret.variable.empty()) {
    (std::getenv(secret.id.c_str()) && type != "file" ? secret.variable : secret.path) = secret.id;
  }
  return secret;
}

Result<CallFlag> ParseCall(std::string_view value) {
  static constexpr std::string_view kNames[] = {"build", "check", "lint", "outline", "targets", "subrequests.describe",
                                                "graph"};
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  CallFlag call;
  std::string name;
  for (const std::string& field : fields) {
    size_t eq = field.find('=');
    if (eq == field.npos) {
      if (!name.empty()) return Invalid("invalid --call \"{}\": it has two names", value);
      name = field;
      continue;
    }
    std::string key = field.substr(0, eq), text = field.substr(eq + 1);
    if (key == "format") {
      if (text != "json" && text != "text" && !text.empty()) {
        return Invalid("invalid --call format \"{}\": use json or text", text);
      }
      call.json = text == "json";
    } else if (key == "ignorestatus") {
      auto ignore = ParseBool(text);
      if (!ignore) return Invalid("invalid --call ignorestatus \"{}\": use true or false", text);
      call.ignore_status = *ignore;
    } else if (key == "hints") {
      if (text != "show" && text != "hide" && text != "error") {
        return Invalid("invalid --call hints \"{}\": use show, hide or error", text);
      }
      call.hints = text == "show"   ? CallFlag::Hints::kShow
                   : text == "hide" ? CallFlag::Hints::kHide
                                    : CallFlag::Hints::kError;
    } else {
      return Invalid("invalid --call option \"{}\": use format, ignorestatus or hints", key);
    }
  }
  if (name.empty()) return call;
  if (std::ranges::find(kNames, name) == std::end(kNames)) {
    Error error = Invalid("invalid --call \"{}\"", name);
    auto near = NearestWord(name, kNames);
    error.hint =
        near ? "did you mean " + *near + "?" : "use build, check, outline, targets, graph or subrequests.describe";
    return error;
  }
  call.name = name == "check" ? "lint" : name;
  return call;
}

Result<SshFlag> ParseSsh(std::string_view value) {
  SshFlag ssh;
  size_t eq = value.find('=');
  ssh.id = value.substr(0, eq);
  if (ssh.id.empty()) return Invalid("--ssh \"{}\" has no id", value);
  if (eq != value.npos) {
    for (const std::string& path : Split(value.substr(eq + 1), ',')) ssh.paths.push_back(path);
  }
  return ssh;
}

Result<std::vector<std::pair<std::string, std::string>>> ParseAddHost(std::string_view value) {
  auto bad = [&] { return Invalid("invalid --add-host \"{}\": HOST:IP or HOST=IP expected", value); };
  size_t at = value.find_first_of("=:");
  if (at == value.npos || at == 0 || at + 1 == value.size()) return bad();
  std::string host(value.substr(0, at));
  std::vector<std::pair<std::string, std::string>> hosts;
  for (std::string ip : Split(value.substr(at + 1), ',')) {
    if (ip == "host-gateway") {
      return Invalid("--add-host {}:host-gateway needs a docker engine; name the address", host);
    }
    if (ip.starts_with('[') && ip.ends_with(']')) ip = ip.substr(1, ip.size() - 2);
    if (ip.empty() || ip.find_first_not_of("0123456789abcdefABCDEF.:") != ip.npos) return bad();
    hosts.emplace_back(host, ip);
  }
  return hosts;
}

Result<graph::Ulimit> ParseUlimit(std::string_view value) {
  static constexpr std::string_view kNames[] = {"core",    "cpu",      "data",   "fsize",      "locks",
                                                "memlock", "msgqueue", "nice",   "nofile",     "nproc",
                                                "rss",     "rtprio",   "rttime", "sigpending", "stack"};
  size_t eq = value.find('=');
  graph::Ulimit limit{.name = std::string(value.substr(0, eq))};
  if (std::ranges::find(kNames, limit.name) == std::end(kNames)) {
    auto near = NearestWord(limit.name, kNames);
    return Invalid("invalid ulimit \"{}\"{}", limit.name, near ? fmt::format(": did you mean {}?", *near) : "");
  }
  auto parts = Split(eq == value.npos ? "" : value.substr(eq + 1), ':');
  auto soft = ParseInt(parts[0]);
  auto hard = parts.size() > 1 ? ParseInt(parts[1]) : soft;
  if (!soft || !hard || parts.size() > 2) {
    return Invalid("invalid ulimit \"{}\": NAME=SOFT[:HARD] expected", value);
  }
  if (*hard != -1 && (*soft == -1 || *soft > *hard)) {
    return Invalid("invalid ulimit \"{}\": the soft limit is above the hard limit", value);
  }
  limit.soft = *soft;
  limit.hard = *hard;
  return limit;
}

Result<std::pair<std::string, std::string>> ParseBuildContext(std::string_view value) {
  size_t eq = value.find('=');
  if (eq == value.npos || eq == 0 || eq + 1 == value.size()) {
    return Invalid("invalid --build-context \"{}\": NAME=VALUE expected", value);
  }
  std::string name = ToLower(value.substr(0, eq));
  if (name.ends_with(":latest")) name.resize(name.size() - 7);
  return std::pair(name, std::string(value.substr(eq + 1)));
}

}  // namespace varve::job
