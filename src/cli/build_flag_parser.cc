#include "cli/build_flag_parser.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>

#include "base/strings.h"
#include "cli/named_flags.h"

namespace varve::cli {

// The flags as text, before their grammars are applied.
struct BuildFlagTexts {
  job::BuildFlags flags;  // those whose text is their value
  std::vector<std::string> build_args, build_contexts, labels, annotations, outputs, platforms, no_cache_filter,
      max_age, must_hit, secrets, ssh, add_hosts, ulimits, resources, cache_from, cache_to, attest;
  std::string trace_shadow, trace_max_age, network, shm_size, progress = "auto", context_mode, call = "build",
                                                              provenance, sbom, builder, cache_from_trust;
  bool check = false, output_given = false;
  std::string memory, memory_swap, cpu_shares, cpu_period, cpu_quota, cpuset_cpus, cpuset_mems;
};

namespace {

std::string Environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

// "K=V"; a lone "K" takes its value from the environment and is dropped when unset (reference §2).
Status AddKeyValue(const std::string& text, bool from_environment,
                   std::vector<std::pair<std::string, std::string>>& out) {
  size_t eq = text.find('=');
  if (eq == 0 || text.empty()) {
    return Invalid("invalid {} \"{}\": it has no name", from_environment ? "--build-arg" : "--label", text);
  }
  if (eq != text.npos) {
    out.emplace_back(text.substr(0, eq), text.substr(eq + 1));
  } else if (!from_environment) {
    out.emplace_back(text, "");
  } else if (std::getenv(text.c_str()) != nullptr) {
    out.emplace_back(text, Environment(text));
  }
  return Ok();
}

Result<source::ContextMode> ParseContextMode(const std::string& text) {
  if (text.empty() || text == "auto") return source::ContextMode::kAuto;
  if (text == "exact") return source::ContextMode::kExact;
  if (text == "git") return source::ContextMode::kGit;
  return Invalid("invalid --context-mode \"{}\": use auto, exact or git", text);
}

// --- what there is, by the groups of --help

void DefineInputs(NamedFlags& app, BuildFlagTexts& raw) {
  job::BuildFlags& flags = raw.flags;
  app.begin_group("What to build");
  app.add_option("context", flags.context,
                 "Build context: directory, URL of a git repository or "
                 "archive, or - for a tar or Dockerfile on stdin");
  app.add_option("-f,--file", flags.file, "Dockerfile (default: CONTEXT/Dockerfile; - for stdin)");
  app.add_option("--target", flags.target, "Stage to build");
  app.add_option("--build-arg", raw.build_args, "Build argument K=V, or K from the environment")
      ->allow_extra_args(false);
  app.add_option("--build-context", raw.build_contexts,
                 "Named context NAME=VALUE: directory, docker-image://, oci-layout://, URL")
      ->allow_extra_args(false);
  app.add_option("--platform", raw.platforms, "Platform of the image")->allow_extra_args(false);
  app.add_flag("--pull", flags.pull, "Ask the registry for base images even if they are here");
  app.add_option("--context-mode", raw.context_mode,
                 "Which permission bits of context files count: auto, exact or git");
  app.add_option("--source-policy-file", flags.source_policy_file,
                 "Rules that allow, deny and rewrite the sources of the build: JSON, as BuildKit's");
  app.add_option("--call", raw.call, "build, check, outline, targets, graph or subrequests.describe[,format=json]");
  app.add_option("--print", raw.call, "Same as --call")->group("");
  app.add_flag("--check", raw.check, "Same as --call=check");
}

void DefineResult(NamedFlags& app, BuildFlagTexts& raw) {
  job::BuildFlags& flags = raw.flags;
  app.begin_group("Result");
  app.add_option("-t,--tag", flags.tags, "Name of the image, NAME[:TAG] (repeatable)")->allow_extra_args(false);
  app.add_option_function<std::vector<std::string>>(
         "-o,--output",
         [&raw](const std::vector<std::string>& values) {
           raw.output_given = true;
           raw.outputs = values;
         },
         "Where the result goes: DIR, -, or type=image|oci|docker|local|tar|registry|cacheonly,…")
      ->allow_extra_args(false);
  app.add_flag("--push", flags.push, "Push the image to its registry");
  app.add_flag("--load", flags.load, "Load the image into docker or podman, whichever answers");
  app.add_option("--label", raw.labels, "Label K=V of the image")->allow_extra_args(false);
  app.add_option("--annotation", raw.annotations, "Annotation [TYPE:]K=V of the image")->allow_extra_args(false);
  app.add_option("--attest", raw.attest, "Attestation: type=sbom|provenance,…")->allow_extra_args(false);
  app.add_option("--provenance", raw.provenance, "Same as --attest=type=provenance");
  app.add_option("--sbom", raw.sbom, "Same as --attest=type=sbom");
  app.add_flag("--reproducible", flags.reproducible,
               "Same inputs, same digest: all times in the image are SOURCE_DATE_EPOCH, or 1970");
  app.add_option("--iidfile", flags.iidfile, "Write the image ID to this file");
  app.add_option("--metadata-file", flags.metadata_file, "Write the build's result as JSON");
}

void DefineCache(NamedFlags& app, BuildFlagTexts& raw) {
  job::BuildFlags& flags = raw.flags;
  app.begin_group("Cache");
  app.add_option("--cache-from", raw.cache_from,
                 "Cache to read besides the local one: type=local,src=DIR, type=registry,ref=REF, type=gha, "
                 "type=s3,bucket=B, type=http,url=URL, or an image")
      ->allow_extra_args(false);
  app.add_option("--cache-from-trust", raw.cache_from_trust,
                 "What images of --cache-from are believed: their layers' content, or their history as well "
                 "(default)");
  app.add_option("--cache-to", raw.cache_to,
                 "Cache to write as well: type=local,dest=DIR, type=registry,ref=REF, type=gha, type=s3,bucket=B, "
                 "type=http,url=URL or type=inline; with mode=max all layers")
      ->allow_extra_args(false);
  app.add_flag("--no-cache", flags.no_cache, "Run every step again");
  app.add_option("--no-cache-filter", raw.no_cache_filter, "Run the steps of these stages again")
      ->allow_extra_args(false);
  app.add_flag("--rebuild-cache", flags.rebuild_cache,
               "Run every step again, read no --cache-from, and replace what each --cache-to has of them");
  app.add_option("--cache-max-age", raw.max_age,
                 "[STEP=]AGE: run a step again whose cached result is older: 7d, RUN apt*=12h")
      ->allow_extra_args(false);
  // CLI11 takes the next word as an optional value; it is the context then. Only --flag=STEP has one.
  app.add_flag("--fail-on-cache-miss{*}", raw.must_hit,
               "[=STEP]: fail with exit code 6 where a step is not cached (all, or a stage or instruction)");
  app.add_option("--cache-salt", flags.salt, "Text mixed into every key: another one is another cache");
  app.add_flag_with_variable("VARVE_SEMANTIC_MANIFESTS", "--semantic-manifests", flags.semantic_manifests,
                             "Count package files (package.json, requirements.txt, …) by what they install");
  app.add_flag_with_variable("VARVE_TRACE", "--trace,!--no-trace", flags.trace.on,
                             "Run a RUN step again only when something that it looked at has changed (default)");
  app.add_option_with_variable(
      "VARVE_TRACE_MAX_AGE", "--trace-max-age", raw.trace_max_age,
      "AGE: how old the run may be that stands for a step with a network: 12h, 30d, none (default 7d)");
  app.add_option_with_variable(
      "VARVE_TRACE_SHADOW", "--trace-shadow", raw.trace_shadow,
      "N%: run so many of the replayed steps for real once the image is out, and replay those no more that differ");
  app.add_flag("--strict-mtime", flags.trace.strict_mtime,
               "A step that looked at a file runs again when the file's modification time changed");
}

void DefineSteps(NamedFlags& app, BuildFlagTexts& raw) {
  job::BuildFlags& flags = raw.flags;
  app.begin_group("RUN steps");
  app.add_option("--secret", raw.secrets, "Secret for RUN: id=ID[,src=FILE|env=VARIABLE]")->allow_extra_args(false);
  app.add_option("--ssh", raw.ssh, "SSH agent or keys for RUN: default|ID[=SOCKET|KEY,…]")
      ->allow_extra_args(false)
      ->expected(1);
  app.add_option("--network", raw.network, "Network of RUN: default, none, host");
  app.add_option("--add-host", raw.add_hosts, "Entry of /etc/hosts in RUN, HOST:IP")->allow_extra_args(false);
  app.add_option("--allow", flags.allow, "Entitlement: network.host, security.insecure, device")
      ->allow_extra_args(false);
  app.add_option("--shm-size", raw.shm_size, "Size of /dev/shm in RUN (default 64m)");
  app.add_option("--ulimit", raw.ulimits, "Limit in RUN, NAME=SOFT[:HARD]")->allow_extra_args(false);
  app.add_option("--resource", raw.resources, "Limit of RUN: memory=1g, cpu-shares=512, …")->allow_extra_args(false);
  app.add_option("--cgroup-parent", flags.cgroup_parent, "Parent cgroup of RUN");
}

void DefineMessages(NamedFlags& app, BuildFlagTexts& raw) {
  job::BuildFlags& flags = raw.flags;
  app.begin_group("Messages and reports");
  app.add_option("--progress", raw.progress, "auto, tty, plain, quiet or rawjson");
  app.add_flag("-q,--quiet", flags.quiet, "Print nothing but the image ID");
  app.add_flag("--stats", flags.stats, "Print counters and timings at the end");
}

// What docker build and Buildx accept beside: without effect, or by another name here (reference cli.md §2,
// hidden flags).
void DefineHidden(NamedFlags& app, BuildFlagTexts& raw) {
  app.add_option("--builder", raw.builder)->group("");
  for (const char* name : {"--rm", "--force-rm", "--compress", "--squash"}) app.add_flag(name)->group("");
  const std::pair<const char*, std::string*> limits[] = {
      {"-m,--memory", &raw.memory},       {"--memory-swap", &raw.memory_swap}, {"-c,--cpu-shares", &raw.cpu_shares},
      {"--cpu-period", &raw.cpu_period},  {"--cpu-quota", &raw.cpu_quota},     {"--cpuset-cpus", &raw.cpuset_cpus},
      {"--cpuset-mems", &raw.cpuset_mems}};
  for (auto [name, value] : limits) app.add_option(name, *value)->group("");
}

// --- what they say

Status ApplyResources(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  static constexpr std::string_view kNames[] = {"memory",    "memory-swap", "cpu-shares", "cpu-period",
                                                "cpu-quota", "cpuset-cpus", "cpuset-mems"};
  const std::string* hidden[] = {&raw.memory,    &raw.memory_swap, &raw.cpu_shares, &raw.cpu_period,
                                 &raw.cpu_quota, &raw.cpuset_cpus, &raw.cpuset_mems};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (!hidden[i]->empty()) flags.resources[std::string(kNames[i])] = *hidden[i];
  }
  for (const std::string& text : raw.resources) {
    size_t eq = text.find('=');
    std::string name = text.substr(0, eq);
    if (eq == text.npos || std::ranges::find(kNames, name) == std::end(kNames)) {
      auto near = NearestWord(name, kNames);
      return Invalid("invalid resource \"{}\"{}", text, near ? fmt::format(": did you mean {}=…?", *near) : "");
    }
    flags.resources[name] = text.substr(eq + 1);
  }
  return Ok();
}

Status ApplyOutputs(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  bool console = isatty(STDOUT_FILENO) != 0;
  if (raw.output_given && raw.outputs.size() == 1 && raw.outputs[0].empty()) {
    flags.output_disabled = true;
  } else {
    for (const std::string& text : raw.outputs) {
      TRY_ASSIGN(auto output, exporter::ParseOutput(text, console));
      flags.outputs.push_back(std::move(output));
    }
  }
  for (const std::string& text : raw.annotations) {
    TRY_ASSIGN(auto annotations, exporter::ParseAnnotation(text));
    flags.annotations.insert(flags.annotations.end(), annotations.begin(), annotations.end());
  }
  bool files = std::ranges::any_of(flags.outputs, [](const auto& o) {
    return o.type == exporter::OutputType::kLocal || o.type == exporter::OutputType::kTar;
  });
  if (files && !flags.iidfile.empty()) {
    return Invalid("--iidfile needs an image output: local and tar outputs have no image ID");
  }
  return Ok();
}

Status CheckEntitlements(const std::vector<std::string>& allowed) {
  static constexpr std::string_view kKnown[] = {"network.host", "security.insecure", "device"};
  for (const std::string& text : allowed) {
    if (std::ranges::find(kKnown, text) != std::end(kKnown) || text.starts_with("device=")) continue;
    Error error = Invalid("unknown entitlement \"{}\"", text);
    auto near = NearestWord(text, kKnown);
    error.hint =
        near ? fmt::format("did you mean {}?", *near) : "use network.host, security.insecure, device or device=NAME";
    return error;
  }
  return Ok();
}

Status ApplyTraceAge(const std::string& text, engine::TraceRules& rules) {
  if (text.empty()) return Ok();
  rules.network_age.reset();
  if (text == "none") return Ok();
  auto age = job::ParseAge(text);
  if (!age) return std::move(age).error().With("--trace-max-age");
  rules.network_age = engine::AgeLimit{*age, "--trace-max-age=" + text};
  return Ok();
}

Status ApplyCaches(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  for (const std::string& text : raw.cache_from) {
    TRY_ASSIGN(auto specs, tier::ParseCacheFrom(text));
    flags.cache_from.insert(flags.cache_from.end(), specs.begin(), specs.end());
  }
  if (!raw.cache_from_trust.empty()) {
    TRY_ASSIGN(flags.cache_from_trust, tier::ParseImageTrust(raw.cache_from_trust));
  }
  for (const std::string& text : raw.cache_to) {
    TRY_ASSIGN(auto specs, tier::ParseCacheTo(text));
    flags.cache_to.insert(flags.cache_to.end(), specs.begin(), specs.end());
  }
  return tier::CheckExports(flags.cache_to);
}

Status ApplyAttest(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  std::vector<std::string> values = raw.attest;
  if (!raw.provenance.empty()) values.push_back(attest::AttestText("provenance", raw.provenance));
  if (!raw.sbom.empty()) values.push_back(attest::AttestText("sbom", raw.sbom));
  TRY_ASSIGN(flags.attest, attest::ParseRequest(values, flags.build_args));
  return Ok();
}

// Lists that a comma divides as well, without their blanks.
std::vector<std::string> SplitItems(const std::vector<std::string>& values) {
  std::vector<std::string> out;
  for (const auto& value : values) {
    for (const auto& part : Split(value, ',')) {
      if (!TrimSpace(part).empty()) out.emplace_back(TrimSpace(part));
    }
  }
  return out;
}

Status ApplyInputs(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  for (const auto& text : raw.build_args) TRY(AddKeyValue(text, true, flags.build_args));
  for (const auto& text : raw.labels) TRY(AddKeyValue(text, false, flags.labels));
  for (const auto& text : raw.build_contexts) {
    TRY_ASSIGN(auto context, job::ParseBuildContext(text));
    flags.build_contexts.push_back(std::move(context));
  }
  flags.platforms =
      SplitItems(raw.platforms.empty() ? std::vector{Environment("DOCKER_DEFAULT_PLATFORM")} : raw.platforms);
  TRY_ASSIGN(flags.context_mode,
             ParseContextMode(raw.context_mode.empty() ? Environment("VARVE_CONTEXT_MODE") : raw.context_mode));
  TRY_ASSIGN(flags.call, job::ParseCall(raw.check ? "check" : raw.call));
  return Ok();
}

// Which steps run again although they are cached.
Status ApplyRuns(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  flags.no_cache_filter = SplitItems(raw.no_cache_filter);
  for (const auto& text : raw.max_age) {
    TRY_ASSIGN(auto rule, job::ParseAgeRule(text));
    flags.max_age.push_back(std::move(rule));
  }
  TRY(ApplyTraceAge(raw.trace_max_age, flags.trace));
  if (!raw.trace_shadow.empty()) {
    auto percent = job::ParsePercent(raw.trace_shadow);
    if (!percent)
      return Invalid("invalid --trace-shadow \"{}\": a part of the replayed steps, 0% to 100%", raw.trace_shadow);
    flags.trace_shadow = flags.trace.shadow_percent = *percent;
  }
  for (const auto& text : raw.must_hit) flags.must_hit.push_back(text == "*" ? "" : text);
  if ((flags.rebuild_cache || flags.no_cache) && !flags.no_cache_filter.empty()) {
    return Invalid("{} and --no-cache-filter exclude each other",
                   flags.rebuild_cache ? "--rebuild-cache" : "--no-cache");
  }
  flags.no_cache = flags.no_cache || flags.rebuild_cache;
  return Ok();
}

Status ApplySteps(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  for (const auto& text : raw.secrets) {
    TRY_ASSIGN(auto secret, job::ParseSecret(text));
    flags.secrets.push_back(std::move(secret));
  }
  for (const auto& text : raw.ssh) {
    TRY_ASSIGN(auto ssh, job::ParseSsh(text));
    flags.ssh.push_back(std::move(ssh));
  }
  for (const auto& text : raw.add_hosts) {
    TRY_ASSIGN(auto hosts, job::ParseAddHost(text));
    flags.extra_hosts.insert(flags.extra_hosts.end(), hosts.begin(), hosts.end());
  }
  for (const auto& text : raw.ulimits) {
    TRY_ASSIGN(auto ulimit, job::ParseUlimit(text));
    flags.ulimits.push_back(std::move(ulimit));
  }
  if (!raw.shm_size.empty()) {
    TRY_ASSIGN(flags.shm_size, ParseRamBytes(raw.shm_size));
  }
  if (raw.network == "none") {
    flags.network = graph::NetworkMode::kNone;
  } else if (raw.network == "host") {
    flags.network = graph::NetworkMode::kHost;
  } else if (!raw.network.empty() && raw.network != "default") {
    return Invalid("invalid network mode \"{}\": use default, none or host", raw.network);
  }
  TRY(ApplyResources(flags, raw));
  return CheckEntitlements(flags.allow);
}

Status ApplyProgress(job::BuildFlags& flags, const BuildFlagTexts& raw) {
  std::string mode = raw.progress == "auto" ? Environment("BUILDKIT_PROGRESS") : raw.progress;
  TRY_ASSIGN(flags.progress, job::ParseProgressMode(mode.empty() ? "auto" : mode));
  return Ok();
}

}  // namespace

BuildFlagParser::BuildFlagParser() : raw_(std::make_unique<BuildFlagTexts>()) {}
BuildFlagParser::~BuildFlagParser() = default;

void BuildFlagParser::Define(CLI::App& to, const NamedWords* words) {
  NamedFlags app(to, words);
  DefineInputs(app, *raw_);
  DefineResult(app, *raw_);
  DefineCache(app, *raw_);
  DefineSteps(app, *raw_);
  DefineMessages(app, *raw_);
  DefineHidden(app, *raw_);
}

void BuildFlagParser::SetContext(const std::string& context) { raw_->flags.context = context; }

Result<job::BuildFlags> BuildFlagParser::Finish() {
  const BuildFlagTexts& raw = *raw_;
  job::BuildFlags flags = raw.flags;
  TRY(ApplyInputs(flags, raw));
  TRY(ApplyRuns(flags, raw));
  TRY(ApplySteps(flags, raw));
  TRY(ApplyProgress(flags, raw));
  TRY(ApplyOutputs(flags, raw));
  TRY(ApplyCaches(flags, raw));
  TRY(ApplyAttest(flags, raw));
  if (flags.context.empty()) {
    Error error = Invalid("varve build needs a context: a directory, a URL or -");
    error.hint = "to build the current directory: varve build .";
    return error;
  }
  return flags;
}

}  // namespace varve::cli
