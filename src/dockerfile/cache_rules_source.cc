// Rules about what a build starts from: downloads, base images, arguments, the inline cache.
#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "dockerfile/cache_pass.h"
#include "dockerfile/lower_scope.h"
#include "oci/reference.h"

namespace varve::dockerfile {
namespace {

// --- UncheckedDownload -----------------------------------------------------------------------

bool IsHttp(std::string_view url) { return url.starts_with("http://") || url.starts_with("https://"); }

// A git repository is asked for its commit, which is a checksum.
bool IsGit(std::string_view url) {
  std::string_view path = url.substr(0, std::min(url.find('#'), url.find('?')));
  return path.ends_with(".git");
}

void CheckDownload(CachePass& pass, const Instruction& instruction) {
  const Add* add = std::get_if<Add>(&instruction.body);
  if (add == nullptr || !add->checksum.empty()) return;
  for (const Word& url : add->sources.paths) {
    if (!IsHttp(url) || IsGit(url)) continue;
    CacheHint hint{.rule = CacheRule::kUncheckedDownload};
    hint.reason = fmt::format(
        "Without a checksum, {} is asked for in every build, and what it answers "
        "decides whether the steps below run again",
        url);
    hint.remedy = "say what it has to be: with a checksum, a cached build asks nobody";
    hint.text.push_back(fmt::format("ADD --checksum=sha256:<digest> {} {}", url, add->sources.destination));
    hint.cost.seconds = 1;
    pass.Report(instruction.origin, std::move(hint));
    return;
  }
}

// --- UnpinnedBase ----------------------------------------------------------------------------

// The image that a FROM or a --from names, normalised; nothing for what is none or cannot be known.
std::optional<oci::Reference> ImageOf(const CachePass& pass, const GlobalScope* globals, const Word& word) {
  std::string text = word;
  if (globals != nullptr) {
    auto expanded = ProcessWord(word, globals->args.Getter(), {.escape = pass.file.escape});
    if (!expanded || !expanded->unmatched.empty()) return std::nullopt;
    text = expanded->text;
  }
  if (text.empty() || text == "scratch") return std::nullopt;
  for (const Stage& stage : pass.file.stages) {
    if (!stage.name.empty() && EqualsIgnoreCase(stage.name, text)) return std::nullopt;
  }
  if (std::ranges::find(pass.input.named_contexts, text) != pass.input.named_contexts.end()) {
    return std::nullopt;
  }
  if (text.find_first_not_of("0123456789") == text.npos) return std::nullopt;  // --from=1
  auto reference = oci::ParseReference(text);
  if (!reference) return std::nullopt;
  return *reference;
}

// Seconds of the steps that stand on an image, and on nothing else that may move.
HintCost CostOfStage(const CachePass& pass, const StageFacts& stage) {
  HintCost cost;
  for (const Instruction& instruction : stage.stage->instructions) {
    const Run* run = std::get_if<Run>(&instruction.body);
    if (run == nullptr) continue;
    HintCost step = pass.CostOf(instruction.origin, *run);
    cost.seconds += step.seconds;
    cost.measured = cost.measured || step.measured;
  }
  return cost;
}

// Tags that are digests in all but name: linuxkit's are hashes of the image's sources.
bool IsHash(std::string_view tag) { return tag.size() >= 12 && tag.find_first_not_of("0123456789abcdef") == tag.npos; }

// Bases without a digest: one hint for those that name no version, one for the others.
struct Unpinned {
  std::vector<const Origin*> places;
  std::vector<std::string> names;
  std::vector<std::string> text;
  HintCost cost;

  void Add(const CachePass& pass, const Origin& origin, const oci::Reference& reference, const Word& written,
           std::string_view instruction, const HintCost& step_cost) {
    places.push_back(&origin);
    if (std::ranges::find(names, written) != names.end()) return;
    names.push_back(written);
    auto digest = pass.input.digests.find(reference.WithDefaultTag().String());
    std::string pin = digest == pass.input.digests.end() ? "sha256:<digest>" : digest->second;
    // A word with variables keeps them: what they stand for is pinned where they are set.
    bool add_tag = reference.tag.empty() && written.find('$') == written.npos;
    text.push_back(fmt::format("{}{}{}@{}", instruction, written, add_tag ? ":<version>" : "", pin));
    cost.seconds += step_cost.seconds;
    cost.measured = cost.measured || step_cost.measured;
  }

  void Report(CachePass& pass, std::string_view one, std::string_view many, std::string remedy) const {
    if (places.empty()) return;
    CacheHint hint{.rule = CacheRule::kUnpinnedBase, .remedy = std::move(remedy), .text = text, .cost = cost};
    hint.reason = fmt::format(fmt::runtime(names.size() == 1 ? one : many), Join(names, ", "));
    for (const Origin* place : places) hint.spans.push_back(place->span);
    pass.Report(*places[0], std::move(hint));
  }
};

void CheckBases(CachePass& pass) {
  BuildArgs build_args;
  for (const auto& [name, value] : pass.input.build_args) build_args[name] = value;
  oci::Platform platform = oci::HostPlatform();
  Span ignored;
  auto globals = GlobalArgs(pass.file, AutomaticArgs(platform, platform, "", build_args), build_args, &ignored);
  if (!globals) return;  // lowering says what is wrong
  Unpinned unversioned, tagged;
  auto look = [&](const Origin& origin, const std::optional<oci::Reference>& image, const Word& written,
                  std::string_view instruction, const HintCost& cost) {
    if (!image || image->digest || IsHash(image->tag)) return;
    if (pass.Skipped(CacheRule::kUnpinnedBase, &origin)) return;
    bool moves_always = image->tag.empty() || image->tag == "latest";
    // Nothing worth speaking of runs again: a final stage that only copies.
    if (!moves_always && cost.seconds < 2) return;
    (moves_always ? unversioned : tagged).Add(pass, origin, *image, written, instruction, cost);
  };
  for (const StageFacts& stage : pass.stages) {
    look(stage.stage->origin, ImageOf(pass, &*globals, stage.stage->base), stage.stage->base, "FROM ",
         CostOfStage(pass, stage));
    for (const Instruction& instruction : stage.stage->instructions) {
      const Copy* copy = std::get_if<Copy>(&instruction.body);
      if (copy == nullptr || copy->from.empty()) continue;
      look(instruction.origin, ImageOf(pass, nullptr, copy->from), copy->from, "COPY --from=", {});
    }
  }
  unversioned.Report(pass,
                     "{} is whatever was pushed last: it changes without notice, and with it every "
                     "step that builds on it",
                     "{} are whatever was pushed last: they change without notice, and with them every "
                     "step that builds on them",
                     "name a version, and its digest");
  tagged.Report(pass,
                "The tag of {} moves with every patch of the image, and every step that builds on it "
                "runs again",
                "The tags of {} move with every patch of the images, and every step that builds on them "
                "runs again",
                "pin the digest, and let a bot raise it");
}

// --- VolatileArgTooEarly ---------------------------------------------------------------------

// Names that continuous integration passes with another value each time. Nothing is guessed from
// parts of names: NODE_SHA256 and OPENSSL_COMMIT are pins, and change when somebody edits them.
constexpr std::array<std::string_view, 46> kVolatile = {"BUILDDATE",
                                                        "BUILDNUMBER",
                                                        "BUILDTIME",
                                                        "BUILD_COMMIT",
                                                        "BUILD_CREATED",
                                                        "BUILD_DATE",
                                                        "BUILD_ID",
                                                        "BUILD_NUM",
                                                        "BUILD_NUMBER",
                                                        "BUILD_REVISION",
                                                        "BUILD_SHA",
                                                        "BUILD_TIME",
                                                        "BUILD_TIMESTAMP",
                                                        "BUILD_VCS_REF",
                                                        "CI_COMMIT_SHA",
                                                        "CI_COMMIT_SHORT_SHA",
                                                        "CI_JOB_ID",
                                                        "CI_PIPELINE_ID",
                                                        "COMMIT",
                                                        "COMMIT_HASH",
                                                        "COMMIT_ID",
                                                        "COMMIT_REF",
                                                        "COMMIT_SHA",
                                                        "CREATED",
                                                        "DATE",
                                                        "GITHUB_RUN_ID",
                                                        "GITHUB_RUN_NUMBER",
                                                        "GITHUB_SHA",
                                                        "GITSHA",
                                                        "GIT_COMMIT",
                                                        "GIT_COMMIT_HASH",
                                                        "GIT_COMMIT_SHA",
                                                        "GIT_DESCRIBE",
                                                        "GIT_HASH",
                                                        "GIT_REV",
                                                        "GIT_REVISION",
                                                        "GIT_SHA",
                                                        "JOB_ID",
                                                        "PIPELINE_ID",
                                                        "REVISION",
                                                        "RUN_ID",
                                                        "RUN_NUMBER",
                                                        "SHA",
                                                        "SOURCE_COMMIT",
                                                        "TIMESTAMP",
                                                        "VCS_REF"};
// The same, when no version is written in the file.
constexpr std::array<std::string_view, 8> kVersions = {"APP_VERSION",   "BUILD_VERSION",   "GIT_TAG",
                                                       "IMAGE_VERSION", "RELEASE_VERSION", "SEMVER",
                                                       "VERSION",       "PACKAGE_VERSION"};

// A value that stands for none.
bool IsPlaceholder(std::string_view value) {
  static constexpr std::array<std::string_view, 17> kPlaceholders = {
      "",     "unknown", "dev",   "none", "n/a",       "N/A",     "local",    "latest", "HEAD",
      "main", "master",  "unset", "null", "undefined", "develop", "snapshot", "0.0.0"};
  if (value.size() >= 2 && (value[0] == '"' || value[0] == '\'')) {
    value = value.substr(1, value.size() - 2);
  }
  return std::ranges::find(kPlaceholders, value) != kPlaceholders.end() || value.starts_with("0.0.0") ||
         value.starts_with('$');
}

bool IsVolatile(const ArgDefinition& arg) {
  if (!IsPlaceholder(arg.value.value_or(""))) return false;
  std::string name = ToUpper(arg.name);
  return std::ranges::find(kVolatile, name) != kVolatile.end() || std::ranges::find(kVersions, name) != kVersions.end();
}

bool IsNameCharacter(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// The name as a word of its own: $NAME, ${NAME…}, or what a program finds in its environment.
bool Mentions(std::string_view text, std::string_view name) {
  for (size_t at = text.find(name); at != text.npos; at = text.find(name, at + 1)) {
    bool starts = at == 0 || !IsNameCharacter(text[at - 1]);
    size_t end = at + name.size();
    if (starts && (end == text.size() || !IsNameCharacter(text[end]))) return true;
  }
  return false;
}

bool MentionsAny(const Origin& origin, const std::set<std::string>& names) {
  return std::ranges::any_of(names, [&](const std::string& name) {
    if (Mentions(origin.text, name)) return true;
    return std::ranges::any_of(origin.heredocs,
                               [&](const Heredoc& document) { return Mentions(document.content, name); });
  });
}

// Steps between a declaration and the first one that uses it.
struct Delayed {
  HintCost cost;
  const Instruction* first = nullptr;   // of the steps that run again for nothing
  const Instruction* user = nullptr;    // the first instruction that needs the argument
  std::vector<const Instruction*> env;  // ENV that passes it on above `first`
};

Delayed FindDelayed(const CachePass& pass, const StageFacts& stage, size_t declared, const std::string& name) {
  Delayed out;
  std::set<std::string> names = {name};
  const auto& instructions = stage.stage->instructions;
  for (size_t i = declared + 1; i < instructions.size(); ++i) {
    const Instruction& instruction = instructions[i];
    bool used = MentionsAny(instruction.origin, names);
    if (const Env* env = std::get_if<Env>(&instruction.body)) {
      for (const KeyValue& pair : env->values) {
        bool passes = std::ranges::any_of(names, [&](const std::string& known) { return Mentions(pair.value, known); });
        if (!passes) continue;
        names.insert(pair.key);
        out.env.push_back(&instruction);
      }
      continue;
    }
    bool harmless = std::holds_alternative<Label>(instruction.body) || std::holds_alternative<Arg>(instruction.body);
    if (used) {
      if (out.user == nullptr) out.user = &instruction;
      if (harmless) continue;  // labels and defaults of other arguments enter no step
      return out;
    }
    const Run* run = std::get_if<Run>(&instruction.body);
    if (run == nullptr) continue;
    HintCost step = pass.CostOf(instruction.origin, *run);
    if (step.seconds < 2) continue;
    if (out.first == nullptr) out.first = &instruction;
    out.cost.seconds += step.seconds;
    out.cost.measured = out.cost.measured || step.measured;
  }
  return out;
}

void CheckArg(CachePass& pass, const StageFacts& stage, size_t index) {
  const Instruction& instruction = stage.stage->instructions[index];
  for (const ArgDefinition& arg : std::get<Arg>(instruction.body).definitions) {
    ArgDefinition effective = arg;
    if (!arg.value) {
      // A default that stands above the first FROM counts here as well.
      for (const Instruction& global : pass.file.global_args) {
        for (const ArgDefinition& definition : std::get<Arg>(global.body).definitions) {
          if (definition.name == arg.name) effective.value = definition.value;
        }
      }
    }
    if (!IsVolatile(effective) && !pass.input.volatile_args.contains(arg.name)) continue;
    Delayed delayed = FindDelayed(pass, stage, index, arg.name);
    if (delayed.first == nullptr) continue;
    int first = delayed.first->origin.span.start_line;
    CacheHint hint{.rule = CacheRule::kVolatileArgTooEarly, .cost = delayed.cost};
    hint.reason = fmt::format(
        "{} has another value in every build, and is part of the environment of "
        "all steps below it, the one of line {} included",
        arg.name, first);
    std::string what = delayed.env.empty() ? "declare it" : "declare it, and set the ENV made of it,";
    hint.remedy = delayed.user != nullptr ? fmt::format("{} right above line {}, which is the first to use it", what,
                                                        delayed.user->origin.span.start_line)
                                          : fmt::format("{} at the end of the stage", what);
    bool alone = std::get<Arg>(instruction.body).definitions.size() == 1;
    if (alone && delayed.env.empty() && delayed.user != nullptr) hint.move_above = delayed.user->origin.span.start_line;
    hint.text.push_back(instruction.origin.text);
    for (const Instruction* env : delayed.env) hint.text.push_back(env->origin.text);
    if (delayed.user != nullptr) hint.text.push_back(delayed.user->origin.text);
    pass.Report(instruction.origin, std::move(hint));
  }
}

// --- InlineCache -----------------------------------------------------------------------------

CacheHint InlineHint() {
  CacheHint hint{.rule = CacheRule::kInlineCache};
  hint.reason =
      "The inline cache holds the steps of the final stage only, so the other stages run again "
      "on every machine that does not have them";
  hint.remedy =
      "export the cache beside the image instead: "
      "--cache-to type=registry,ref=NAME:cache,mode=max --cache-from type=registry,ref=NAME:cache";
  return hint;
}

void CheckInlineCache(CachePass& pass) {
  auto is_on = [](std::string_view value) { return ParseBool(value).value_or(false); };
  for (const auto& [name, value] : pass.input.build_args) {
    if (name != "BUILDKIT_INLINE_CACHE" || !is_on(value)) continue;
    pass.Report(InlineHint());
    return;
  }
}

}  // namespace

void CheckSources(CachePass& pass) {
  CheckBases(pass);
  for (const StageFacts& stage : pass.stages) {
    for (size_t i = 0; i < stage.stage->instructions.size(); ++i) {
      const Instruction& instruction = stage.stage->instructions[i];
      CheckDownload(pass, instruction);
      if (std::holds_alternative<Arg>(instruction.body)) CheckArg(pass, stage, i);
    }
  }
  CheckInlineCache(pass);
}

}  // namespace varve::dockerfile
