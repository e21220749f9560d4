#include "dockerfile/lower_epoch.h"

#include "base/strings.h"
#include "dockerfile/named_context.h"
#include "graph/source_url.h"

namespace varve::dockerfile {

namespace {

constexpr std::string_view kName = "SOURCE_DATE_EPOCH";

Result<std::optional<int64_t>> TimeOf(const Lowering& lowering, const graph::Op& source, const std::string& value,
                                      const std::string& name) {
  if (!lowering.options.source_time) {
    if (std::holds_alternative<graph::LocalSource>(source)) return std::optional<int64_t>();
    Error error = Invalid("{}={} needs the time of a remote source, which is not known here", kName, value);
    error.hint = fmt::format("pass a number: --build-arg {}=$(git log -1 --pretty=%ct)", kName);
    return error;
  }
  return lowering.options.source_time(source, name);
}

// The one remote ADD of a stage that exists only to say which source gives the time.
class EpochStage {
 public:
  EpochStage(Lowering& lowering, const Stage& stage) : lowering_(lowering), stage_(stage) {
    variables_ = lowering.globals.args;
    variables_.Erase(kName);
  }

  Result<graph::Op> Source() {
    lowering_.place = stage_.origin.span;
    TRY_ASSIGN(std::string base, Expand(stage_.base));
    if (base != "scratch") return Invalid("{} stage must use FROM scratch", kName);
    std::optional<graph::Op> source;
    for (const Instruction& instruction : stage_.instructions) {
      lowering_.place = instruction.origin.span;
      if (const auto* arg = std::get_if<Arg>(&instruction.body)) {
        TRY(Declare(*arg));
      } else if (const auto* add = std::get_if<Add>(&instruction.body)) {
        if (source) return Invalid("{} stage must contain exactly one remote ADD", kName);
        TRY_ASSIGN(source, AddSource(*add));
      } else {
        return Invalid("{} stage does not meet source-only requirements: unsupported {} instruction", kName,
                       KindName(instruction.body));
      }
    }
    if (!source) return Invalid("{} stage must contain exactly one remote ADD", kName);
    return std::move(*source);
  }

 private:
  Result<std::string> Expand(std::string_view word) const {
    TRY_ASSIGN(Expansion expansion, ProcessWord(word, variables_.Getter(), {.escape = lowering_.file.escape}));
    return std::move(expansion.text);
  }

  Status Declare(const Arg& arg) {
    for (const ArgDefinition& definition : arg.definitions) {
      auto given = lowering_.build_args.find(definition.name);
      if (given != lowering_.build_args.end()) {
        variables_.Set(definition.name, given->second);
      } else if (definition.value) {
        TRY_ASSIGN(std::string value, Expand(*definition.value));
        variables_.Set(definition.name, value);
      }
    }
    return Ok();
  }

  Result<graph::Op> AddSource(const Add& add) const {
    if (!add.sources.files.empty() || add.sources.paths.size() != 1) {
      return Invalid("{} stage must contain exactly one remote ADD source", kName);
    }
    TRY_ASSIGN(std::string path, Expand(add.sources.paths[0]));
    TRY_ASSIGN(std::string checksum, Expand(add.checksum));
    TRY_ASSIGN(auto git, graph::ParseGitUrl(path));
    if (git && !git->looks_local) {
      if (add.keep_git_dir) git->source.keep_git_dir = *add.keep_git_dir;
      if (!checksum.empty()) {
        TRY(graph::CheckCommitPrefix(checksum));
        git->source.checksum = checksum;
      }
      return graph::Op(std::move(git->source));
    }
    if (!graph::IsHttpUrl(path)) {
      return Invalid("{} stage source must be a single HTTP(S) or Git ADD", kName);
    }
    graph::HttpSource http;
    http.url = path;
    http.filename = graph::HttpFileName(path);
    if (!checksum.empty()) {
      TRY_ASSIGN(http.checksum, Checksum::Parse(checksum));
    }
    return graph::Op(std::move(http));
  }

  Lowering& lowering_;
  const Stage& stage_;
  Variables variables_;
};

Result<std::optional<int64_t>> TimeOfNamed(Lowering& lowering, const std::string& value) {
  const LowerOptions& options = lowering.options;
  if (value == "context") {
    return TimeOf(lowering, options.context.source, value, "[internal] resolve main build context metadata");
  }
  if (const NamedContext* context = FindNamedContext(options.named_contexts, value, options.target_platform)) {
    TRY_ASSIGN(ContextSource source, ReadNamedContext(*context));
    if (source.kind != ContextSource::Kind::kFiles) return std::optional<int64_t>();
    return TimeOf(lowering, source.files, value, fmt::format("[internal] resolve {} named context {}", kName, value));
  }
  for (const Stage& stage : lowering.file.stages) {
    if (stage.name.empty() || !EqualsIgnoreCase(stage.name, value)) continue;
    TRY_ASSIGN(graph::Op source, EpochStage(lowering, stage).Source());
    return TimeOf(lowering, source, value, fmt::format("[internal] resolve {} source stage {}", kName, stage.name));
  }
  Error error = Invalid("invalid {}: {}", kName, value);
  error.hint = "pass seconds since 1970, \"context\", a named context, or a stage of one remote ADD";
  return error;
}

}  // namespace

Status ResolveEpoch(Lowering& lowering) {
  lowering.epoch = lowering.options.source_date_epoch;
  std::string value;
  auto given = lowering.build_args.find(kName);
  if (given != lowering.build_args.end()) {
    value = given->second;
  } else {
    value = lowering.globals.args.Get(kName).value_or("");
    if (value.empty()) return Ok();
  }
  std::optional<int64_t> time;
  if (!value.empty()) {
    time = ParseInt(value);
    if (!time) {
      TRY_ASSIGN(time, TimeOfNamed(lowering, value));
      lowering.place = {};
    }
  }
  lowering.epoch = time;
  if (given != lowering.build_args.end()) {
    if (time) {
      given->second = std::to_string(*time);
    } else {
      lowering.build_args.erase(given);
    }
  }
  if (lowering.globals.args.Get(kName)) {
    if (time) {
      lowering.globals.args.Set(kName, std::to_string(*time));
    } else {
      lowering.globals.args.Erase(kName);
    }
  }
  return Ok();
}

}  // namespace varve::dockerfile
