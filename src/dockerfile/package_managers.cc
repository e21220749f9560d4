#include "dockerfile/package_managers.h"

#include <algorithm>
#include <initializer_list>

#include "base/strings.h"

namespace varve::dockerfile {
namespace {

constexpr PackageManager kNpm{"npm", "/root/.npm", "npm|_cacache", "package.json|package-lock.json", 25, 8};
constexpr PackageManager kYarn{"yarn", "/usr/local/share/.cache/yarn", "yarn|.cache", "package.json|yarn.lock", 30, 10};
constexpr PackageManager kPnpm{
    "pnpm", "/root/.local/share/pnpm/store", "pnpm", "package.json|pnpm-lock.yaml|pnpm-workspace.yaml", 15, 4};
constexpr PackageManager kBun{"bun", "/root/.bun/install/cache", "bun", "package.json|bun.lock|bun.lockb", 6, 2};
constexpr PackageManager kPip{"pip", "/root/.cache/pip", "pip|.cache", "requirements.txt", 30, 8};
constexpr PackageManager kPoetry{"poetry", "/root/.cache/pypoetry", "poetry|.cache", "pyproject.toml|poetry.lock", 30,
                                 8};
constexpr PackageManager kUv{"uv", "/root/.cache/uv", "uv|.cache", "pyproject.toml|uv.lock", 6, 1};
constexpr PackageManager kPipenv{"pipenv", "/root/.cache", "pip|.cache", "Pipfile|Pipfile.lock", 40, 12};
constexpr PackageManager kConda{"conda", "/opt/conda/pkgs", "conda|mamba|pkgs", "environment.yml", 90, 30};
constexpr PackageManager kBundler{"bundler", "/usr/local/bundle/cache", "bundle|gem", "Gemfile|Gemfile.lock", 60, 25};
constexpr PackageManager kGem{"gem", "/usr/local/bundle/cache", "bundle|gem", "", 10, 6};
constexpr PackageManager kComposer{
    "composer", "/root/.composer/cache", "composer|/tmp/cache", "composer.json|composer.lock", 15, 4};
constexpr PackageManager kCargo{
    "cargo", "/usr/local/cargo/registry", "cargo|registry|target|git", "Cargo.toml|Cargo.lock", 90, 15};
constexpr PackageManager kGo{"go", "/root/.cache/go-build", "go", "go.mod|go.sum", 30, 5};
constexpr PackageManager kMaven{"maven", "/root/.m2", ".m2|maven", "pom.xml", 60, 15};
constexpr PackageManager kGradle{"gradle",
                                 "/root/.gradle",
                                 "gradle",
                                 "build.gradle|settings.gradle|build.gradle.kts|"
                                 "settings.gradle.kts|gradle.lockfile",
                                 90,
                                 25};
constexpr PackageManager kDotnet{"dotnet", "/root/.nuget/packages", "nuget", "", 20, 6};
constexpr PackageManager kApt{"apt", "/var/cache/apt", "apt", "", 20, 10};
constexpr PackageManager kDnf{"dnf", "/var/cache/dnf", "dnf|yum", "", 40, 20};
constexpr PackageManager kYum{"yum", "/var/cache/yum", "yum|dnf", "", 40, 20};
constexpr PackageManager kApk{"apk", "/var/cache/apk", "apk", "", 4, 2};

using Words = std::vector<std::string>;

bool In(std::string_view word, std::initializer_list<std::string_view> list) {
  return std::ranges::find(list, word) != list.end();
}

bool IsFlag(std::string_view word) { return word.starts_with('-'); }

// A file or directory rather than the name of a package.
bool IsPath(std::string_view word) {
  return word == "." || word == ".." || word.starts_with("./") || word.starts_with("../") || word.starts_with('/') ||
         word.starts_with(".[") || word.ends_with(".deb") || word.ends_with(".whl") || word.ends_with(".tgz") ||
         word.ends_with(".tar.gz") || word.ends_with(".rpm") || word.ends_with(".apk") || word.ends_with(".gem") ||
         word.starts_with("file:") || word.ends_with("/");
}

std::string Shortened(const Words& words) {
  std::string text = Join(words, " ");
  constexpr size_t kLength = 60;
  if (text.size() <= kLength) return text;
  size_t end = text.rfind(' ', kLength);
  return text.substr(0, end == text.npos ? kLength : end) + " …";
}

// Words behind `from` that are no flags. `with_value`: flags that take the next word.
Words Operands(const Words& words, size_t from, std::initializer_list<std::string_view> with_value) {
  Words out;
  for (size_t i = from; i < words.size(); ++i) {
    if (In(words[i], with_value)) {
      ++i;
    } else if (!IsFlag(words[i])) {
      out.push_back(words[i]);
    }
  }
  return out;
}

InstallKind KindOf(const Words& operands, InstallKind without_operands) {
  if (operands.empty()) return without_operands;
  return std::ranges::any_of(operands, IsPath) ? InstallKind::kLocal : InstallKind::kNamed;
}

std::optional<Install> Make(const PackageManager& manager, InstallKind kind, const Words& words) {
  return Install{&manager, kind, Shortened(words), {}, false};
}

std::optional<Install> Node(const PackageManager& manager, const Words& words) {
  auto operands = Operands(words, 1,
                           {"--prefix", "-C", "--dir", "--cwd", "--filter", "-F", "--workspace", "-w", "--registry",
                            "--cache", "--network-timeout", "--cache-folder", "--modules-folder",
                            "--network-concurrency", "--loglevel", "--cpu", "--os", "--mutex"});
  bool bare_yarn =
      &manager == &kYarn && operands.empty() && !In("--version", {words.back()}) && !In("-v", {words.back()});
  if (bare_yarn) return Make(manager, InstallKind::kManifest, words);
  if (operands.empty()) return std::nullopt;
  std::string verb = operands[0];
  operands.erase(operands.begin());
  if (verb == "global" && !operands.empty() && operands[0] == "add") {
    return Make(manager, InstallKind::kNamed, words);
  }
  bool installs = In(verb, {"install", "i", "ci", "clean-install", "add", "fetch"});
  if (&manager == &kYarn) installs = In(verb, {"install", "add"});
  if (verb == "fetch") installs = &manager == &kPnpm;
  if (!installs) return std::nullopt;
  bool global = std::ranges::any_of(
      words, [](const std::string& word) { return word == "-g" || word == "--global" || word == "--location=global"; });
  // `npm link`, `npm install -g .` and the like install the project itself.
  InstallKind kind = KindOf(operands, global ? InstallKind::kLocal : InstallKind::kManifest);
  return Make(manager, kind, words);
}

std::optional<Install> Pip(const PackageManager& manager, const Words& words, size_t verb) {
  if (verb >= words.size() || !In(words[verb], {"install", "sync"})) return std::nullopt;
  Install install{&manager, InstallKind::kNamed, Shortened(words), {}, false};
  bool has_path = false;
  for (size_t i = verb + 1; i < words.size(); ++i) {
    const std::string& word = words[i];
    bool has_next = i + 1 < words.size();
    if (In(word, {"-r", "--requirement"}) && has_next) {
      install.manifests.push_back(words[++i]);
    } else if (word.starts_with("-r") && word.size() > 2 && word[2] != '-') {
      install.manifests.push_back(word.substr(2));
    } else if (word.starts_with("--requirement=")) {
      install.manifests.push_back(word.substr(14));
    } else if (In(word, {"-e", "--editable"})) {
      has_path = true;
    } else if (word == "--no-cache-dir" || word == "--no-cache") {
      install.no_cache = true;
    } else if (In(word, {"-i", "--index-url", "--extra-index-url", "-c", "--constraint", "-f", "--find-links", "-t",
                         "--target", "--prefix", "--root", "--python"})) {
      has_path = has_path || In(word, {"-f", "--find-links"});
      ++i;
    } else if (!IsFlag(word)) {
      if (words[verb] == "sync") install.manifests.push_back(word);
      has_path = has_path || IsPath(word);
    }
  }
  for (const std::string& file : install.manifests) {
    // A list that an earlier step left somewhere is not a file of the context.
    bool elsewhere = file.starts_with("/tmp") || file.starts_with('<') || file.find("://") != file.npos;
    has_path = has_path || elsewhere;
  }
  if (has_path) {
    install.kind = InstallKind::kLocal;
  } else if (!install.manifests.empty()) {
    install.kind = InstallKind::kManifest;
  }
  return install;
}

std::optional<Install> Python(const Words& words) {
  // python3 -m pip install …
  for (size_t i = 1; i + 2 < words.size(); ++i) {
    if (words[i] == "-m" && words[i + 1] == "pip") return Pip(kPip, words, i + 2);
  }
  return std::nullopt;
}

std::optional<Install> Uv(const Words& words) {
  if (words.size() > 2 && words[1] == "pip") return Pip(kUv, words, 2);
  if (words.size() > 1 && words[1] == "sync") return Make(kUv, InstallKind::kManifest, words);
  if (words.size() > 2 && words[1] == "tool" && words[2] == "install") {
    return Make(kUv, InstallKind::kNamed, words);
  }
  return std::nullopt;
}

std::optional<Install> Cargo(const Words& words) {
  auto operands = Operands(words, 1,
                           {"--features", "--target", "--manifest-path", "--bin", "-p", "--package", "--profile",
                            "--version", "--git", "--root", "--tag", "--branch", "--rev", "--target-dir", "-j"});
  std::erase_if(operands, [](const std::string& word) { return word.starts_with('+'); });
  if (operands.empty()) return std::nullopt;
  const std::string& verb = operands[0];
  if (verb == "fetch") return Make(kCargo, InstallKind::kManifest, words);
  if (verb == "install") {
    bool local = std::ranges::any_of(words, [](const std::string& word) { return word.starts_with("--path"); });
    return Make(kCargo, local ? InstallKind::kCompile : InstallKind::kNamed, words);
  }
  if (In(verb, {"build", "b", "test", "rustc"})) return Make(kCargo, InstallKind::kCompile, words);
  return std::nullopt;
}

std::optional<Install> Go(const Words& words) {
  if (words.size() < 2) return std::nullopt;
  const std::string& verb = words[1];
  if (verb == "mod" && words.size() > 2 && words[2] == "download") {
    auto modules = Operands(words, 3, {});
    return Make(kGo, modules.empty() ? InstallKind::kManifest : InstallKind::kNamed, words);
  }
  bool versioned = std::ranges::any_of(words, [](const std::string& word) { return word.find('@') != word.npos; });
  if (In(verb, {"install", "get"}) && versioned) return Make(kGo, InstallKind::kNamed, words);
  if (In(verb, {"build", "install", "test"})) return Make(kGo, InstallKind::kCompile, words);
  return std::nullopt;
}

std::optional<Install> Jvm(const PackageManager& manager, const Words& words) {
  bool compiles = false;
  auto tasks = Operands(
      words, 1,
      {"-f", "--file", "-pl", "--projects", "-P", "-s", "-p", "-x", "-b", "--settings", "-T", "-I", "--init-script"});
  for (const std::string& task : tasks) {
    if (task.find("go-offline") != task.npos || task == "dependency:resolve" || task == "dependency:resolve-plugins" ||
        task == "dependencies" || task == "resolveDependencies" || task == "downloadDependencies") {
      return Make(manager, InstallKind::kManifest, words);
    }
    std::string_view last = std::string_view(task).substr(task.rfind(':') + 1);
    compiles =
        compiles || In(last, {"package", "install", "verify", "compile", "deploy", "build", "assemble", "bootJar",
                              "shadowJar", "jar", "war", "bootWar", "installDist", "test", "test-compile"});
  }
  if (!compiles) return std::nullopt;
  return Make(manager, InstallKind::kCompile, words);
}

std::optional<Install> Dotnet(const Words& words) {
  if (words.size() < 2) return std::nullopt;
  if (words[1] == "restore") return Make(kDotnet, InstallKind::kManifest, words);
  if (In(words[1], {"build", "publish", "pack", "test"})) {
    return Make(kDotnet, InstallKind::kCompile, words);
  }
  if (words.size() > 2 && words[1] == "tool" && words[2] == "install") {
    return Make(kDotnet, InstallKind::kNamed, words);
  }
  return std::nullopt;
}

std::optional<Install> System(const PackageManager& manager, const Words& words) {
  auto operands = Operands(words, 1,
                           {"-o", "-t", "--virtual", "-X", "--repository", "--installroot", "--enablerepo",
                            "--disablerepo", "-c", "--target-release"});
  if (operands.empty()) return std::nullopt;
  std::string verb = operands[0];
  operands.erase(operands.begin());
  bool installs = In(verb, {"install", "add", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "groupinstall",
                            "reinstall", "localinstall"});
  if (!installs) return std::nullopt;
  return Make(manager, KindOf(operands, InstallKind::kNamed), words);
}

}  // namespace

std::optional<Install> InstallOf(const ShellCommand& command) {
  const Words& words = command.words;
  std::string_view name = std::string_view(words[0]).substr(words[0].rfind('/') + 1);
  if (words.size() == 1 && name != "yarn") return std::nullopt;
  bool asks_for_help = command.Has("--help") || command.Has("--version");
  if (asks_for_help && name != "cargo" && name != "gem") return std::nullopt;
  if (name == "npm") return Node(kNpm, words);
  if (name == "yarn" || name == "yarnpkg") return Node(kYarn, words);
  if (name == "pnpm") return Node(kPnpm, words);
  if (name == "bun") return Node(kBun, words);
  if (name == "corepack" && In(words[1], {"npm", "yarn", "pnpm"})) {
    return InstallOf({Words(words.begin() + 1, words.end())});
  }
  if (name == "pip" || name == "pip3" || name.starts_with("pip3.")) return Pip(kPip, words, 1);
  if (name.starts_with("python")) return Python(words);
  if (name == "uv") return Uv(words);
  if (name == "poetry" && words[1] == "install") return Make(kPoetry, InstallKind::kManifest, words);
  if (name == "pipenv" && In(words[1], {"install", "sync"})) {
    return Make(kPipenv, KindOf(Operands(words, 2, {}), InstallKind::kManifest), words);
  }
  if (name == "conda" || name == "mamba" || name == "micromamba") {
    if (words[1] == "install") return Make(kConda, InstallKind::kNamed, words);
    bool from_file = command.Has("-f") || command.Has("--file");
    if (words[1] == "env" && from_file) return Make(kConda, InstallKind::kManifest, words);
    return std::nullopt;
  }
  if (name == "bundle" && words[1] == "install") return Make(kBundler, InstallKind::kManifest, words);
  if (name == "gem" && words[1] == "install") {
    return Make(kGem, KindOf(Operands(words, 2, {"-v", "--version"}), InstallKind::kLocal), words);
  }
  if (name == "composer" || name == "composer.phar") {
    if (words[1] == "install") return Make(kComposer, InstallKind::kManifest, words);
    if (words[1] == "global" || words[1] == "require") {
      return Make(kComposer, InstallKind::kNamed, words);
    }
    return std::nullopt;
  }
  if (name == "cargo") return Cargo(words);
  if (name == "go") return Go(words);
  if (name == "mvn" || name == "mvnw") return Jvm(kMaven, words);
  if (name == "gradle" || name == "gradlew") return Jvm(kGradle, words);
  if (name == "dotnet") return Dotnet(words);
  if (name == "apt-get" || name == "apt") return System(kApt, words);
  if (name == "dnf" || name == "microdnf") return System(kDnf, words);
  if (name == "yum") return System(kYum, words);
  if (name == "apk") return System(kApk, words);
  return std::nullopt;
}

double TypicalSeconds(const Run& run) {
  double seconds = 0.3;  // a process in a sandbox, and its layer
  for (const ShellCommand& command : CommandsOf(run)) {
    std::string_view name = command.name();
    name = name.substr(name.rfind('/') + 1);
    if (auto install = InstallOf(command)) {
      // Fetching what a manifest lists is half of a compiler's work; a tool by name is a fraction.
      seconds += install->manager->seconds;
    } else if (In(name, {"curl", "wget"})) {
      seconds += 3;
    } else if (name == "git" && command.Has("clone")) {
      seconds += 5;
    } else if (In(name, {"make", "ninja", "cmake", "bazel", "meson", "./configure", "configure"})) {
      seconds += 30;
    } else if (In(name, {"npm", "yarn", "pnpm", "bun"}) && (command.Has("run") || command.Has("build"))) {
      seconds += 20;
    }
  }
  return seconds;
}

}  // namespace varve::dockerfile
