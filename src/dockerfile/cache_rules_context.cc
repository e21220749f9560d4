// Rules about what the context holds, where a step takes all of it.
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "dockerfile/cache_pass.h"

namespace varve::dockerfile {
namespace {

// What hardly any step needs. The order is that of the hint: what costs most comes first.
enum class Kind { kHistory, kDependencies, kOutput, kTooling, kDocumentation };
struct Unwanted {
  std::string_view name;
  Kind kind;
  // For names that are somebody's source as often as not: one of these lies beside it.
  std::string_view beside = "";  // '|' between them
};
constexpr Unwanted kUnwanted[] = {
    {".git", Kind::kHistory},
    {".hg", Kind::kHistory},
    {".svn", Kind::kHistory},
    {"node_modules", Kind::kDependencies},
    {".venv", Kind::kDependencies},
    {"venv", Kind::kDependencies, "requirements.txt|pyproject.toml|setup.py|Pipfile"},
    {".tox", Kind::kDependencies},
    {".nox", Kind::kDependencies},
    {"bower_components", Kind::kDependencies},
    {"__pycache__", Kind::kOutput},
    {".pytest_cache", Kind::kOutput},
    {".mypy_cache", Kind::kOutput},
    {".ruff_cache", Kind::kOutput},
    {".gradle", Kind::kOutput},
    {".next", Kind::kOutput, "package.json"},
    {".nuxt", Kind::kOutput, "package.json"},
    {".turbo", Kind::kOutput},
    {".parcel-cache", Kind::kOutput},
    {"coverage", Kind::kOutput, "package.json"},
    {"htmlcov", Kind::kOutput},
    {"target", Kind::kOutput, "Cargo.toml|pom.xml|build.sbt"},
    {"dist", Kind::kOutput, "package.json|pyproject.toml|setup.py"},
    {"build", Kind::kOutput, "build.gradle|build.gradle.kts|CMakeLists.txt"},
    {"bin", Kind::kOutput, "*.csproj|*.sln"},
    {"obj", Kind::kOutput, "*.csproj|*.sln"},
    {".github", Kind::kTooling},
    {".gitlab-ci.yml", Kind::kTooling},
    {".circleci", Kind::kTooling},
    {".travis.yml", Kind::kTooling},
    {"Jenkinsfile", Kind::kTooling},
    {"azure-pipelines.yml", Kind::kTooling},
    {".idea", Kind::kTooling},
    {".vscode", Kind::kTooling},
    {".DS_Store", Kind::kTooling},
    {"docker-compose.yml", Kind::kTooling},
    {"docker-compose.yaml", Kind::kTooling},
    {"compose.yaml", Kind::kTooling},
    {"compose.yml", Kind::kTooling},
    {"docs", Kind::kDocumentation},
    {"doc", Kind::kDocumentation},
    {"CHANGELOG.md", Kind::kDocumentation},
    {"CONTRIBUTING.md", Kind::kDocumentation},
};
// Directories in which a monorepo keeps its parts: node_modules and the like may lie in each.
constexpr std::array<std::string_view, 6> kNested = {"node_modules", ".venv", "__pycache__", ".next", "target", "dist"};

using Entries = std::vector<ContextFacts::Entry>;

bool Matches(std::string_view name, std::string_view pattern) {
  if (!pattern.starts_with('*')) return name == pattern;
  return name.ends_with(pattern.substr(1));
}

bool Holds(const Entries& entries, std::string_view patterns) {
  if (patterns.empty()) return true;
  auto list = Split(patterns, '|');
  return std::ranges::any_of(entries, [&](const ContextFacts::Entry& entry) {
    return std::ranges::any_of(list, [&](const std::string& p) { return Matches(entry.name, p); });
  });
}

// Whether the file speaks of `path` elsewhere than in a COPY of everything: then a step needs it.
bool IsUsed(const CachePass& pass, const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  for (const StageFacts& stage : pass.stages) {
    for (size_t i = 0; i < stage.runs.size(); ++i) {
      const Instruction& instruction = stage.stage->instructions[i];
      const CopySources* sources = nullptr;
      if (const Copy* copy = std::get_if<Copy>(&instruction.body)) {
        if (copy->from.empty()) sources = &copy->sources;
      } else if (const Add* add = std::get_if<Add>(&instruction.body)) {
        sources = &add->sources;
      }
      if (sources != nullptr) {
        bool named =
            std::ranges::any_of(sources->paths, [&](const Word& word) { return word.find(name) != word.npos; });
        if (named) return true;
      }
      bool history = name == ".git" || name == ".hg" || name == ".svn";
      for (const ShellCommand& command : stage.runs[i].commands) {
        bool asks = history && (command.name() == name.substr(1) || command.Has(name));
        // Other programs that read the history: versions from tags, stamps of Go's linker.
        bool reads = history && (command.Has("-buildvcs=true") || command.Has("setuptools_scm"));
        bool documents = name.starts_with("doc") && std::ranges::any_of(command.words, [&](const std::string& word) {
                           return word.find(name) != word.npos && command.name() != "rm";
                         });
        if (asks || reads || documents) return true;
      }
    }
  }
  return false;
}

// Paths in `directory` that no step needs, `directory` with its '/' in front.
void Collect(const CachePass& pass, const std::string& directory, const Entries& entries,
             std::vector<std::string>* out) {
  for (const Unwanted& unwanted : kUnwanted) {
    bool nested = std::ranges::find(kNested, unwanted.name) != kNested.end();
    if (!directory.empty() && !nested) continue;
    bool here =
        std::ranges::any_of(entries, [&](const ContextFacts::Entry& entry) { return entry.name == unwanted.name; });
    if (!here || !Holds(entries, unwanted.beside)) continue;
    std::string path = directory + std::string(unwanted.name);
    if (!IsUsed(pass, path)) out->push_back(path);
  }
}

std::vector<std::string> FindUnwanted(const CachePass& pass) {
  ContextFacts& context = *pass.input.context;
  std::vector<std::string> out;
  Entries top = context.List("");
  Collect(pass, "", top, &out);
  for (const ContextFacts::Entry& entry : top) {
    if (!entry.is_directory || std::ranges::find(out, entry.name) != out.end()) continue;
    std::string directory = entry.name + "/";
    Entries inner = context.List(entry.name);
    Collect(pass, directory, inner, &out);
    // packages/*/node_modules, apps/*/dist.
    bool workspaces =
        entry.name == "packages" || entry.name == "apps" || entry.name == "services" || entry.name == "libs";
    if (!workspaces) continue;
    for (const ContextFacts::Entry& part : inner) {
      if (part.is_directory) {
        Collect(pass, directory + part.name + "/", context.List(directory + part.name), &out);
      }
    }
  }
  return out;
}

// How an ignore file names them: what lies in several places as a pattern for all.
std::vector<std::string> Patterns(const std::vector<std::string>& paths) {
  std::vector<std::string> out;
  for (const std::string& path : paths) {
    size_t slash = path.rfind('/');
    std::string pattern = slash == path.npos ? path : "**/" + path.substr(slash + 1);
    if (std::ranges::find(out, pattern) == out.end()) out.push_back(pattern);
  }
  // "**/x" says "x" as well.
  std::erase_if(out, [&](const std::string& pattern) { return std::ranges::find(out, "**/" + pattern) != out.end(); });
  return out;
}

std::string Sentence(const std::vector<std::string>& paths) {
  constexpr size_t kShown = 4;
  std::vector<std::string> shown(paths.begin(), paths.begin() + static_cast<ptrdiff_t>(std::min(kShown, paths.size())));
  std::string text = Join(shown, ", ");
  if (paths.size() > kShown) text += fmt::format(" and {} more", paths.size() - kShown);
  return text;
}

}  // namespace

void CheckContext(CachePass& pass) {
  if (pass.input.context == nullptr) return;
  const Instruction* whole = nullptr;
  for (const StageFacts& stage : pass.stages) {
    for (const Instruction& instruction : stage.stage->instructions) {
      if (whole == nullptr && CopiesWholeContext(instruction)) whole = &instruction;
    }
  }
  if (whole == nullptr) return;
  std::vector<std::string> paths = FindUnwanted(pass);
  if (paths.empty()) return;

  std::string ignore_file = pass.input.context->IgnoreFile();
  CacheHint hint{.rule = ignore_file.empty() ? CacheRule::kNoDockerignore : CacheRule::kDockerignoreLetsIn};
  hint.reason = fmt::format(
      "Line {} copies {}, and a change in there changes the layer, and runs the steps below it again: "
      "in varve those that looked at it, without traces of what they looked at all of them",
      whole->origin.span.start_line, Sentence(paths));
  hint.remedy = ignore_file.empty() ? "write a .dockerignore" : "add to " + ignore_file;
  hint.text = Patterns(paths);
  hint.cost.measured = true;
  for (const std::string& path : paths) {
    hint.cost.bytes += pass.input.context->Bytes(path).value_or(0);
  }
  pass.Report(whole->origin, std::move(hint));
}

}  // namespace varve::dockerfile
