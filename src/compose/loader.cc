#include "compose/loader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/io.h"
#include "base/strings.h"
#include "compose/canonical.h"

extern char** environ;

namespace varve::compose {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFile = 16 << 20;

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Lookup LookupIn(const Environment& environment) {
  return [&environment](const std::string& name) -> std::optional<std::string> {
    auto it = environment.find(name);
    return it == environment.end() ? std::nullopt : std::optional(it->second);
  };
}

std::string ValueOf(const Environment& environment, const std::string& name) {
  return LookupIn(environment)(name).value_or("");
}

Status AddEnvFile(const std::string& path, const Environment& outer, Environment& out) {
  auto text = ReadFile(path, kMaxFile);
  if (!text) return Error(std::move(text).error()).With("env file");
  return ReadDotenv(*text, path, LookupIn(outer), out);
}

// The variables of `outer` win over those of the files.
Result<Environment> WithEnvFiles(const std::vector<std::string>& paths, const Environment& outer) {
  Environment files;
  for (const std::string& path : paths) {
    if (path != "/dev/null") TRY(AddEnvFile(path, outer, files));
  }
  Environment all = outer;
  all.insert(files.begin(), files.end());
  return all;
}

// Lower case, with the letters that a name may have; nothing before the first letter or digit.
std::string NormalName(std::string_view text) {
  std::string name;
  for (char c : ToLower(text)) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (letter || (!name.empty() && (c == '_' || c == '-'))) name += c;
  }
  return name;
}

class Loader {
 public:
  explicit Loader(const LoadOptions& options) : options_(options) {}

  Result<Loaded> Run() {
    Environment environment = options_.environment;
    TRY(FindFiles());
    TRY(FindDirectory());
    TRY_ASSIGN(environment, WithEnvFiles(EnvFiles(environment), environment));
    // .env may name the files itself.
    if (from_environment_later_ && !ValueOf(environment, "COMPOSE_FILE").empty()) {
      SplitFiles(environment, result_.directory);
    }
    result_.environment = std::move(environment);
    TRY(FindName());
    result_.environment["COMPOSE_PROJECT_NAME"] = result_.name;
    result_.model = Node::Mapping({});
    for (const std::string& path : result_.files) {
      TRY(LoadInto(result_.model, path, result_.directory, result_.environment, {}));
    }
    DropResets(result_.model);
    result_.model.Erase("version");
    result_.model.Erase("include");
    result_.model.Erase("name");
    return std::move(result_);
  }

 private:
  std::vector<std::string> EnvFiles(const Environment& environment) const {
    if (!options_.env_files.empty()) {
      std::vector<std::string> paths;
      for (const auto& path : options_.env_files) paths.push_back(Absolute(path));
      return paths;
    }
    if (ParseBool(ValueOf(environment, "COMPOSE_DISABLE_ENV_FILE")).value_or(false)) return {};
    std::string path = result_.directory + "/.env";
    return fs::is_regular_file(path) ? std::vector{path} : std::vector<std::string>();
  }

  std::string Absolute(const std::string& path) const { return ResolvePath(path, options_.working_directory); }

  void SplitFiles(const Environment& environment, const std::string& directory) {
    std::string separator = ValueOf(environment, "COMPOSE_PATH_SEPARATOR");
    std::string files = ValueOf(environment, "COMPOSE_FILE");
    result_.files.clear();
    for (const std::string& path : Split(files, separator.empty() ? ':' : separator[0])) {
      if (!path.empty()) result_.files.push_back(path == "-" ? path : ResolvePath(path, directory));
    }
  }

  Status FindFiles() {
    for (const std::string& path : options_.files) {
      result_.files.push_back(path == "-" ? path : Absolute(path));
    }
    if (result_.files.empty() && !ValueOf(options_.environment, "COMPOSE_FILE").empty()) {
      SplitFiles(options_.environment, options_.working_directory);
    }
    if (!result_.files.empty()) return Ok();
    from_environment_later_ = true;
    return SearchUpward();
  }

  Status SearchUpward() {
    static constexpr std::string_view kNames[] = {"compose.yaml", "compose.yml", "docker-compose.yml",
                                                  "docker-compose.yaml"};
    static constexpr std::string_view kOverrides[] = {"compose.override.yml", "compose.override.yaml",
                                                      "docker-compose.override.yml", "docker-compose.override.yaml"};
    auto first_of = [this](const fs::path& directory, std::span<const std::string_view> names) {
      std::vector<std::string> found;
      for (std::string_view name : names) {
        if (Exists((directory / name).string())) found.push_back((directory / name).string());
      }
      if (found.size() > 1) {
        result_.warnings.push_back(
            fmt::format("several Compose files here: {} is used, {} is not", found[0], found[1]));
      }
      return found.empty() ? std::string() : found[0];
    };
    fs::path start = options_.project_directory.empty() ? fs::path(options_.working_directory)
                                                        : fs::path(Absolute(options_.project_directory));
    for (fs::path directory = start;; directory = directory.parent_path()) {
      std::string file = first_of(directory, kNames);
      if (!file.empty()) {
        result_.files.push_back(file);
        std::string over = first_of(directory, kOverrides);
        if (!over.empty()) result_.files.push_back(over);
        return Ok();
      }
      if (directory == directory.parent_path()) break;
    }
    // A .env may name it.
    Environment environment = options_.environment;
    result_.directory = start.string();
    TRY_ASSIGN(environment, WithEnvFiles(EnvFiles(environment), environment));
    if (!ValueOf(environment, "COMPOSE_FILE").empty()) {
      SplitFiles(environment, result_.directory);
      return Ok();
    }
    Error error = NotFound("no Compose file here or above: {}", start.string());
    error.hint = "name one with -f FILE; the default is compose.yaml";
    return error;
  }

  Status FindDirectory() {
    if (!options_.project_directory.empty()) {
      result_.directory = Absolute(options_.project_directory);
    } else if (result_.files[0] == "-") {
      result_.directory = options_.working_directory;
    } else {
      result_.directory = fs::path(result_.files[0]).parent_path().string();
    }
    return Ok();
  }

  // -p, COMPOSE_PROJECT_NAME, `name:` of the last file that has one, the directory's.
  Status FindName() {
    std::string given = options_.project_name;
    if (given.empty()) given = ValueOf(result_.environment, "COMPOSE_PROJECT_NAME");
    if (!given.empty()) {
      if (NormalName(given) != given) {
        Error error = Invalid("invalid project name \"{}\"", given);
        error.hint = "lower case letters, digits, - and _, beginning with a letter or digit" +
                     (NormalName(given).empty() ? "" : ": " + NormalName(given));
        return error;
      }
      result_.name = given;
      return Ok();
    }
    for (const std::string& path : result_.files) {
      TRY_ASSIGN(const auto* documents, Parsed(path));
      for (const Node& document : *documents) {
        const Node* name = document.Find("name");
        if (name == nullptr || !name->is_scalar() || name->is_null()) continue;
        auto text = Interpolate(name->Text(), LookupIn(result_.environment));
        if (!text) return At(name->place, text.error());
        result_.name = NormalName(*text);
      }
    }
    if (result_.name.empty()) result_.name = NormalName(fs::path(result_.directory).filename().string());
    if (result_.name.empty()) {
      Error error = Invalid("the project has no name: none can be made of {}", result_.directory);
      error.hint = "pass -p NAME, or write name: NAME";
      return error;
    }
    return Ok();
  }

  static Error At(const Place& place, const Error& error) {
    Error out = ErrorAt(place, error.message);
    out.hint = error.hint;
    return out;
  }

  // As messages name it: from the working directory where it is below.
  std::string ShownPath(const std::string& path) const {
    if (path == "-") return "standard input";
    std::string prefix = options_.working_directory + "/";
    return path.starts_with(prefix) ? path.substr(prefix.size()) : path;
  }

  Result<const std::vector<Node>*> Parsed(const std::string& path) {
    auto known = parsed_.find(path);
    if (known != parsed_.end()) return &known->second;
    std::string text;
    if (auto given = options_.texts.find(path); given != options_.texts.end()) {
      text = given->second;
    } else if (path == "-") {
      FdReader in(STDIN_FILENO);
      TRY_ASSIGN(text, ReadAll(in, kMaxFile));
    } else {
      auto read = ReadFile(path, kMaxFile);
      if (!read) {
        Error error = std::move(read).error();
        error.message = fmt::format("cannot read the Compose file {}: {}", ShownPath(path),
                                    error.message.substr(error.message.rfind(": ") + 2));
        return error;
      }
      text = std::move(*read);
    }
    TRY_ASSIGN(auto documents, ParseDocuments(text, ShownPath(path)));
    for (const Node& document : documents) {
      if (!document.is_mapping()) return ErrorAt(document.place, "a Compose file must be a mapping");
    }
    return &parsed_.emplace(path, std::move(documents)).first->second;
  }

  Status InterpolateNode(Node& node, const Environment& environment) {
    if (!options_.interpolate) return Ok();
    if (node.is_string() && node.scalar.as_string().find('$') != std::string::npos) {
      auto text = Interpolate(node.scalar.as_string(), LookupIn(environment),
                              [this](const std::string& name) { NoteUnset(name); });
      if (!text) return At(node.place, text.error());
      node.scalar = std::move(*text);
    }
    for (Node& item : node.items) TRY(InterpolateNode(item, environment));
    for (Node::Member& member : node.members) TRY(InterpolateNode(member.value, environment));
    return Ok();
  }

  void NoteUnset(const std::string& name) {
    if (!unset_.insert(name).second) return;
    result_.warnings.push_back(
        fmt::format("the variable {} is not set and stands for nothing; its default: ${{{}:-…}}", name, name));
  }

  // One file onto the model: its includes below it, its extends written out.
  Status LoadInto(Node& model, const std::string& path, const std::string& directory, const Environment& environment,
                  std::vector<std::string> including) {
    if (std::ranges::find(including, path) != including.end()) {
      return Invalid("include makes a circle: {} includes itself", ShownPath(path));
    }
    including.push_back(path);
    TRY_ASSIGN(const auto* documents, Parsed(path));
    for (Node file : *documents) {
      TRY(InterpolateNode(file, environment));
      if (const Node* version = file.Find("version"); version != nullptr && !version_said_) {
        version_said_ = true;
        result_.warnings.push_back(
            fmt::format("{}: version has no meaning any more; leave it out", version->place.ToString()));
      }
      const Node* include = file.Find("include");
      if (include != nullptr && !include->is_null()) {
        TRY(Include(model, *include, directory, environment, including));
      }
      TRY(Canonicalize(file, directory));
      TRY(ExtendAll(file, model, path, directory, environment));
      Merge(model, file);
    }
    return Ok();
  }

  Status Include(Node& model, const Node& include, const std::string& directory, const Environment& environment,
                 const std::vector<std::string>& including) {
    if (!include.is_sequence()) return ErrorAt(include.place, "include must be a list");
    for (const Node& item : include.items) {
      auto strings = [&](const char* key) {
        std::vector<std::string> out;
        const Node* node = item.is_mapping() ? item.Find(key) : nullptr;
        if (node == nullptr) return out;
        if (node->is_scalar() && !node->is_null()) out.push_back(node->Text());
        for (const Node& each : node->items) out.push_back(each.Text());
        return out;
      };
      std::vector<std::string> paths = item.is_scalar() ? std::vector{item.Text()} : strings("path");
      if (paths.empty()) return ErrorAt(item.place, "include needs a path");
      for (std::string& path : paths) {
        if (path.find("://") != path.npos || path.starts_with("git@")) {
          return ErrorAt(item.place, "include of a remote file is not supported by this version of varve");
        }
        path = ResolvePath(path, directory);
        if (!Exists(path)) return ErrorAt(item.place, fmt::format("include: there is no {}", path));
      }
      auto given = strings("project_directory");
      std::string base = given.empty() ? fs::path(paths[0]).parent_path().string() : ResolvePath(given[0], directory);
      std::vector<std::string> env_files = strings("env_file");
      for (std::string& path : env_files) path = ResolvePath(path, directory);
      if (env_files.empty() && fs::is_regular_file(base + "/.env")) env_files.push_back(base + "/.env");
      auto inner = WithEnvFiles(env_files, environment);
      if (!inner) return At(item.place, inner.error());
      Node included = Node::Mapping(item.place);
      for (const std::string& path : paths) {
        TRY(LoadInto(included, path, base, *inner, including));
      }
      included.Erase("name");
      SetContexts(included, base);
      Merge(model, included);
    }
    return Ok();
  }

  // A build that names no context is in the directory of the project that it came with.
  static void SetContexts(Node& model, const std::string& directory) {
    Node* services = model.Find("services");
    if (services == nullptr) return;
    for (Node::Member& service : services->members) {
      Node* build = service.value.Find("build");
      if (build == nullptr || !build->is_mapping() || build->Find("context") != nullptr) continue;
      build->Set("context", Node::String(directory, build->place));
    }
  }

  Status ExtendAll(Node& file, const Node& model, const std::string& path, const std::string& directory,
                   const Environment& environment) {
    Node* services = file.Find("services");
    if (services == nullptr || !services->is_mapping()) return Ok();
    const Node before = *services;
    for (Node::Member& member : services->members) {
      if (member.value.Find("extends") == nullptr) continue;
      const Node* known = model.Find("services");
      TRY_ASSIGN(member.value, Extended(member.key, before, known, path, directory, environment, {}));
    }
    return Ok();
  }

  // The service `name` of `services` (of the file `path`) with what it extends below it.
  Result<Node> Extended(const std::string& name, const Node& services, const Node* known, const std::string& path,
                        const std::string& directory, const Environment& environment, std::vector<std::string> chain) {
    Node service = *services.Find(name);
    std::string link = path + "\n" + name;
    if (std::ranges::find(chain, link) != chain.end()) {
      return ErrorAt(service.place, fmt::format("extends makes a circle: service {} extends itself", name));
    }
    chain.push_back(link);
    const Node* extends = service.Find("extends");
    if (extends == nullptr || extends->is_null() || extends->tag == Node::Tag::kReset) {
      service.Erase("extends");
      return service;
    }
    const Place place = extends->place;
    std::string base_name, file;
    if (extends->is_scalar()) {
      base_name = extends->Text();
    } else if (extends->is_mapping()) {
      if (const Node* node = extends->Find("service")) base_name = node->Text();
      if (const Node* node = extends->Find("file")) file = node->Text();
    }
    if (base_name.empty()) return ErrorAt(place, fmt::format("extends of service {} names no service", name));
    service.Erase("extends");
    Node base;
    if (file.empty()) {
      if (services.Find(base_name) != nullptr) {
        TRY_ASSIGN(base, Extended(base_name, services, known, path, directory, environment, chain));
      } else if (known != nullptr && known->Find(base_name) != nullptr) {
        base = *known->Find(base_name);
      } else {
        return Missing(place, name, base_name, services, path);
      }
    } else {
      std::string other = ResolvePath(file, directory);
      if (!Exists(other)) return ErrorAt(place, fmt::format("extends of service {}: there is no {}", name, other));
      std::string other_directory = fs::path(other).parent_path().string();
      Node others = Node::Mapping(place);
      TRY_ASSIGN(const auto* documents, Parsed(other));
      for (Node document : *documents) {
        TRY(InterpolateNode(document, environment));
        TRY(Canonicalize(document, other_directory));
        const Node* theirs = document.Find("services");
        if (theirs == nullptr) continue;
        for (const Node::Member& member : theirs->members) others.Set(member.key, member.value);
      }
      if (others.Find(base_name) == nullptr) return Missing(place, name, base_name, others, other);
      TRY_ASSIGN(base, Extended(base_name, others, nullptr, other, other_directory, environment, chain));
    }
    base.tag = service.tag;
    DropResets(base);
    MergeService(base, service);
    return base;
  }

  Error Missing(const Place& place, const std::string& name, const std::string& wanted, const Node& services,
                const std::string& path) const {
    Error error =
        ErrorAt(place, fmt::format("service {} extends {}, which {} does not have", name, wanted, ShownPath(path)));
    std::vector<std::string_view> names;
    for (const Node::Member& member : services.members) names.push_back(member.key);
    if (auto near = NearestWord(wanted, names)) error.hint = fmt::format("did you mean {}?", *near);
    return error;
  }

  const LoadOptions& options_;
  Loaded result_;
  std::map<std::string, std::vector<Node>> parsed_;
  std::set<std::string> unset_;
  bool from_environment_later_ = false;
  bool version_said_ = false;
};

}  // namespace

Result<Loaded> Load(const LoadOptions& options) { return Loader(options).Run(); }

Environment EnvironmentOfProcess() {
  Environment out;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    std::string text = *entry;
    if (size_t eq = text.find('='); eq != text.npos) out[text.substr(0, eq)] = text.substr(eq + 1);
  }
  return out;
}

}  // namespace varve::compose
