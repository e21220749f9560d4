// The rules of dockerfile/cache_rules.h over every Dockerfile, with what its callers and its
// context add; and rules about what RUN fetches, about secrets, and about ignore files that nobody
// reads.
#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "dockerfile/cache_rules.h"
#include "dockerfile/lint.h"
#include "dockerfile/package_managers.h"
#include "doctor/context_facts.h"
#include "doctor/pass.h"

namespace varve::doctor {

using dockerfile::CacheHint;
using dockerfile::CacheRule;
using dockerfile::Instruction;
using dockerfile::Run;
using dockerfile::ShellCommand;

std::string Under(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

Context ContextOf(const Project& project, const SourceFile& file) {
  Context context{.folder = file.Folder()};
  for (const BuildCall& call : project.calls) {
    if (call.starts || !call.context_known || call.dockerfile != file.path) continue;
    context.folder = call.context;
    break;
  }
  context.ignore = project.Find(file.path + ".dockerignore");
  if (context.ignore == nullptr) context.ignore = project.Find(Under(context.folder, ".dockerignore"));
  return context;
}

namespace {

class Costs final : public dockerfile::StepCosts {
 public:
  explicit Costs(const DiagnoseOptions& options) : options_(options) {}
  std::optional<double> Seconds(const dockerfile::Origin& instruction) const override {
    return options_.seconds ? options_.seconds(instruction.text) : std::nullopt;
  }

 private:
  const DiagnoseOptions& options_;
};

std::vector<std::string> LinesOf(const SourceFile& file, const dockerfile::Span& span) {
  auto begin = file.lines.begin() + span.start_line - 1;
  return {begin, begin + (span.end_line - span.start_line + 1)};
}

bool HasUser(const dockerfile::Dockerfile& file) {
  return std::ranges::any_of(file.stages, [](const dockerfile::Stage& stage) {
    return std::ranges::any_of(stage.instructions, [](const Instruction& instruction) {
      return std::holds_alternative<dockerfile::User>(instruction.body);
    });
  });
}

// `RUN --mount=… npm ci` of a hint: the mounts, put behind the RUNs of the places.
std::optional<Fix> AddMounts(const SourceFile& file, const CacheHint& hint) {
  // A home that is not root's, or a program that has to be taken out of the mount: not by rote.
  bool by_rote = hint.text.size() == 1 && hint.text[0].starts_with("RUN --mount=") && !HasUser(*file.dockerfile);
  if (!by_rote || hint.text[0].find("target=target") != std::string::npos ||
      hint.text[0].find("/var/cache/apt") != std::string::npos) {
    return std::nullopt;
  }
  std::string mounts;
  for (const std::string& word : Split(hint.text[0], ' ')) {
    if (word.starts_with("--mount=")) mounts += word + " ";
  }
  Fix fix{.file = file.path, .changes_image = true};
  for (const dockerfile::Span& span : hint.spans) {
    std::string line = file.lines[static_cast<size_t>(span.start_line - 1)];
    size_t run = ToUpper(line).find("RUN ");
    if (run == line.npos) return std::nullopt;
    fix.edits.push_back({span.start_line, span.start_line, {line.insert(run + 4, mounts)}});
  }
  return fix;
}

std::optional<Fix> FixOf(const SourceFile& file, const Context& context, const CacheHint& hint) {
  switch (hint.rule) {
    case CacheRule::kVolatileArgTooEarly:
    case CacheRule::kInstallBelowCopyAll: {
      if (hint.move_above == 0 || hint.spans.empty()) return std::nullopt;
      const dockerfile::Span& span = hint.spans[0];
      std::vector<std::string> lines = LinesOf(file, span);
      return Fix{.file = file.path,
                 .edits = {{span.start_line, span.end_line, {}}, {hint.move_above, hint.move_above - 1, lines}}};
    }
    case CacheRule::kNoDockerignore:
      return Fix{.file = Under(context.folder, ".dockerignore"), .edits = {{1, 0, hint.text}}, .changes_image = true};
    case CacheRule::kDockerignoreLetsIn: {
      if (context.ignore == nullptr) return std::nullopt;
      int end = static_cast<int>(context.ignore->lines.size());
      if (end > 0 && context.ignore->lines.back().empty()) --end;
      return Fix{.file = context.ignore->path, .edits = {{end + 1, end, hint.text}}, .changes_image = true};
    }
    case CacheRule::kMissingCacheMount:
      return AddMounts(file, hint);
    default:
      return std::nullopt;
  }
}

// --- What RUN fetches ------------------------------------------------------------------------

void CheckClones(Pass& pass, const SourceFile& file, const Instruction& instruction,
                 const std::vector<ShellCommand>& commands) {
  for (const ShellCommand& command : commands) {
    if (command.name() != "git" || command.words.size() < 3 || command.words[1] != "clone") continue;
    bool pinned = std::ranges::any_of(command.words, [](const std::string& word) {
      return word == "-b" || word.starts_with("--branch") || word.starts_with("--revision");
    });
    for (const ShellCommand& other : commands) {
      bool checks_out = other.name() == "git" && (other.Has("checkout") || other.Has("reset") || other.Has("switch"));
      pinned = pinned || checks_out;
    }
    if (pinned) continue;
    auto url =
        std::ranges::find_if(command.words, [](const std::string& word) { return word.find("://") != word.npos; });
    if (url == command.words.end()) continue;
    Finding& finding = pass.Add("UnpinnedDownload", file, instruction.origin.span.start_line);
    finding.span.end_line = instruction.origin.span.end_line;
    finding.reason = fmt::format(
        "RUN is cached by its text: {} stays as it was when this first ran, until something else "
        "makes the step run again",
        *url);
    finding.remedy = "name the commit; ADD of a git repository is cached by it";
    finding.text = {fmt::format("ADD {}{}#<commit> /src", *url, url->ends_with(".git") ? "" : ".git")};
    return;
  }
  for (const ShellCommand& command : commands) {
    if (command.name() != "curl" && command.name() != "wget") continue;
    for (const std::string& word : command.words) {
      bool moves = word.find("/latest/") != word.npos || word.find("/master/") != word.npos ||
                   word.find("/main/") != word.npos || word.ends_with("/latest") || word.find("-latest.") != word.npos;
      if (!moves || word.find("://") == word.npos) continue;
      Finding& finding = pass.Add("UnpinnedDownload", file, instruction.origin.span.start_line);
      finding.span.end_line = instruction.origin.span.end_line;
      finding.reason = fmt::format(
          "RUN is cached by its text: {} stays what it was when this first ran, and is something "
          "else "
          "whenever it runs again",
          word);
      finding.remedy = "name a version, and check the download";
      finding.text = {"ADD --checksum=sha256:<digest> <URL of a version> /tmp/"};
      return;
    }
  }
}

bool IsPackageName(std::string_view word) {
  if (word.empty() || word[0] == '-' || word[0] == '.' || word[0] == '/' || word.find('$') != word.npos) return false;
  return word.find_first_of("=<>~!/:*\"'[") == word.npos && word.find(".whl") == word.npos;
}

void CheckPackages(Pass& pass, const SourceFile& file, const Instruction& instruction,
                   const std::vector<ShellCommand>& commands) {
  static constexpr std::array<std::string_view, 4> kTools = {"pip", "setuptools", "wheel", "npm"};
  static constexpr std::array<std::string_view, 10> kTakeValue = {
      "-r", "-c", "-i", "-t", "-e", "--index-url", "--extra-index-url", "--target", "--prefix", "-f"};
  std::vector<std::string> names;
  for (const ShellCommand& command : commands) {
    auto install = dockerfile::InstallOf(command);
    if (!install || install->kind != dockerfile::InstallKind::kNamed) continue;
    bool pip = install->manager->name == "pip", npm = install->manager->name == "npm";
    if (!pip && !npm) continue;
    auto verb = std::ranges::find_if(
        command.words, [](const std::string& word) { return word == "install" || word == "i" || word == "add"; });
    for (auto it = verb; it != command.words.end(); ++it) {
      if (it == verb) continue;
      bool value = std::ranges::find(kTakeValue, *(it - 1)) != kTakeValue.end();
      bool versioned = npm && it->find('@', 1) != it->npos;
      bool scoped = npm && it->starts_with('@') && it->find('@', 1) == it->npos;
      bool tool = std::ranges::find(kTools, *it) != kTools.end();
      if (!value && !tool && !versioned && (scoped || IsPackageName(*it))) names.push_back(*it);
    }
  }
  if (names.empty()) return;
  Finding& finding = pass.Add("UnpinnedPackage", file, instruction.origin.span.start_line);
  finding.span.end_line = instruction.origin.span.end_line;
  finding.reason = fmt::format(
      "Without a version, {} {} whatever was newest when this ran; two machines with two caches "
      "have "
      "two versions",
      Join(names, ", "), names.size() == 1 ? "is" : "are");
  finding.remedy = "name versions, or install from a lock file";
}

void CheckSecrets(Pass& pass, const SourceFile& file, const dockerfile::CheckOptions& options) {
  dockerfile::Linter linter(options);
  for (const dockerfile::Stage& stage : file.dockerfile->stages) {
    dockerfile::StageChecks checks(linter);
    for (const Instruction& instruction : stage.instructions) {
      if (const auto* arg = std::get_if<dockerfile::Arg>(&instruction.body)) checks.OnArg(instruction.origin, *arg);
      if (const auto* env = std::get_if<dockerfile::Env>(&instruction.body)) checks.OnEnv(instruction.origin, *env);
    }
  }
  for (const dockerfile::Warning& warning : linter.warnings()) {
    if (warning.rule != "SecretsUsedInArgOrEnv") continue;
    Finding& finding = pass.Add(warning.rule, file, warning.span.start_line);
    finding.reason =
        warning.message + ": it becomes part of the image's history or environment, and of every cache of it";
    finding.remedy = "mount it in the one step that needs it";
    finding.text = {"RUN --mount=type=secret,id=NAME,env=NAME …"};
  }
}

void CheckDockerfile(Pass& pass, const SourceFile& file) {
  auto options = dockerfile::FileCheckOptions(file.dockerfile->directives, std::nullopt);
  dockerfile::CacheCheckInput input;
  if (options) input.options = *options;
  // One rule for inline caches, at the place that asks for one: rules_locations.cc.
  input.options.skip.insert("InlineCache");
  for (const BuildCall& call : pass.project.calls) {
    if (call.dockerfile != file.path) continue;
    for (const Argument& arg : call.args) {
      if (IsVolatileValue(arg.value)) input.volatile_args.insert(arg.name);
    }
  }
  Context context = ContextOf(pass.project, file);
  std::optional<DirectoryFacts> facts;
  if (!pass.project.directory.empty()) {
    std::vector<std::string> patterns;
    if (context.ignore != nullptr) {
      if (auto read = tree::ReadIgnoreFile(context.ignore->text)) patterns = std::move(*read);
    }
    facts.emplace(Under(pass.project.directory, context.folder), patterns,
                  context.ignore != nullptr ? context.ignore->path : "", pass.options.measure_contexts);
    input.context = &*facts;
  }
  Costs costs(pass.options);
  input.costs = &costs;
  for (const CacheHint& hint : dockerfile::CheckCaching(*file.dockerfile, input)) {
    Finding& finding = pass.Add(dockerfile::Describe(hint.rule).name, file, 0);
    if (!hint.spans.empty()) finding.span = hint.spans[0];
    if (hint.spans.size() > 1) finding.also.assign(hint.spans.begin() + 1, hint.spans.end());
    finding.reason = hint.reason;
    finding.remedy = hint.remedy;
    finding.text = hint.text;
    finding.cost = hint.cost;
    finding.fix = FixOf(file, context, hint);
  }
  CheckSecrets(pass, file, input.options);
  for (const dockerfile::Stage& stage : file.dockerfile->stages) {
    for (const Instruction& instruction : stage.instructions) {
      const Run* run = std::get_if<Run>(&instruction.body);
      if (run == nullptr) continue;
      std::vector<ShellCommand> commands = dockerfile::CommandsOf(*run);
      CheckClones(pass, file, instruction, commands);
      CheckPackages(pass, file, instruction, commands);
    }
  }
}

// --- UnreadDockerignore ----------------------------------------------------------------------

void CheckIgnoreFile(Pass& pass, const SourceFile& file) {
  std::string name = file.path.substr(file.path.rfind('/') + 1);
  if (name != ".dockerignore") return;
  std::string folder = file.Folder();
  const BuildCall* around = nullptr;  // a build whose context this lies in, without being its top
  for (const BuildCall& call : pass.project.calls) {
    if (call.starts || !call.context_known) continue;
    if (call.context == folder) return;
    bool inside = call.context.empty() ? !folder.empty() : folder.starts_with(call.context + "/");
    bool about_it = call.dockerfile.starts_with(folder + "/");
    if (inside && about_it) around = &call;
  }
  if (around == nullptr) return;
  Finding& finding = pass.Add("UnreadDockerignore", file, 0);
  std::string wanted = Under(around->context, ".dockerignore");
  finding.reason = fmt::format(
      "{} of {} builds with {} as its context, and only the ignore file at the top of a context is "
      "read",
      around->name, around->file->path, around->context.empty() ? "the top of the project" : around->context);
  finding.remedy = fmt::format("say it in {}, or beside the Dockerfile in {}.dockerignore", wanted, around->dockerfile);
}

}  // namespace

void CheckDockerfiles(Pass& pass) {
  for (const auto& file : pass.project.files) {
    if (file->dockerfile) CheckDockerfile(pass, *file);
    if (file->kind == FileKind::kDockerignore) CheckIgnoreFile(pass, *file);
  }
}

}  // namespace varve::doctor
