#include "bake/definition.h"

#include <algorithm>

#include "bake/readers.h"
#include "base/strings.h"

namespace varve::bake {

namespace {

const std::map<std::string, hcl::BlockType>& BlockTypes() {
  static const std::map<std::string, hcl::BlockType> types = {
      {"target", {.labels = 1}},
      {"group", {.labels = 1}},
      {"function", {.labels = 1}},
      {"variable", {.labels = 1, .nested = {{"validation", {}}}}}};
  return types;
}

// By its name's ending; one with another ending is whatever it can be read as.
Status ReadOne(const File& file, const ReadOptions& options, std::vector<File>& compose,
               std::vector<hcl::Body>& bodies) {
  std::string name = ToLower(file.name);
  auto native = [&]() -> Result<hcl::Body> { return hcl::ParseNative({file.name, file.text}); };
  auto json = [&]() -> Result<hcl::Body> { return hcl::ParseJson({file.name, file.text}, BlockTypes()); };
  auto take = [&](Result<hcl::Body> body) -> Status {
    if (!body) return Error(std::move(body).error());
    bodies.push_back(std::move(*body));
    return Ok();
  };
  if (name.ends_with(".yml") || name.ends_with(".yaml")) {
    compose.push_back(file);
    return Ok();
  }
  if (name.ends_with(".json")) return take(json());
  if (name.ends_with(".hcl")) return take(native());
  Status is_compose = CheckCompose(file, options);
  if (is_compose) {
    compose.push_back(file);
    return Ok();
  }
  auto as_native = native();
  if (as_native) return take(std::move(as_native));
  auto as_json = json();
  if (as_json) return take(std::move(as_json));
  bool looks_json = TrimSpace(file.text).starts_with('{');
  Error error = looks_json ? as_json.error() : as_native.error();
  error.hint = fmt::format("its name says no format, so that it was tried as Compose ({}), HCL and JSON",
                           is_compose.error().message);
  return error;
}

// A relative path of a file in a folder, from there.
void Rebase(Target& target) {
  auto rebased = [](const std::string& base, const std::string& path) {
    bool special = path.empty() || path.starts_with('/') || path.find("://") != path.npos ||
                   path.starts_with("target:") || path.starts_with("docker-image:") || path.starts_with("git@");
    if (special || base == ".") return path;
    return path == "." ? base : base + "/" + path;
  };
  if (target.context_base) target.context = rebased(*target.context_base, target.context.value_or("."));
  for (auto& [name, path] : target.contexts) {
    if (auto base = target.contexts_base.find(name); base != target.contexts_base.end())
      path = rebased(base->second, path);
  }
}

}  // namespace

const Group* Definition::FindGroup(std::string_view name) const {
  auto it = std::ranges::find(groups, name, &Group::name);
  return it == groups.end() ? nullptr : &*it;
}

const Target* Definition::FindTarget(std::string_view name) const {
  auto it = std::ranges::find(targets, name, &Target::name);
  return it == targets.end() ? nullptr : &*it;
}

const std::vector<std::string>& DefaultFileNames() {
  static const std::vector<std::string> names = {
      "compose.yaml",     "compose.yml",     "docker-compose.yml",        "docker-compose.yaml",
      "docker-bake.json", "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl"};
  return names;
}

std::string SanitizeName(std::string name) {
  std::ranges::replace(name, '.', '_');
  return name;
}

Status CheckName(std::string_view name) {
  bool good = !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
  if (good) return Ok();
  return Invalid("invalid target name \"{}\": only \"[a-zA-Z0-9_-]+\" are allowed", name);
}

Result<Definition> Read(const std::vector<File>& files, const ReadOptions& options) {
  std::vector<File> compose;
  std::vector<hcl::Body> bodies;
  for (const File& file : files) TRY(ReadOne(file, options, compose, bodies));
  Definition definition;
  if (!compose.empty()) TRY(ReadCompose(compose, options, definition));
  if (!bodies.empty()) TRY(ReadBodies(bodies, options, definition));
  if (options.file_relative_paths) {
    for (Target& target : definition.targets) Rebase(target);
  }
  for (Group& group : definition.groups) {
    Strings once;
    for (std::string& name : group.targets) {
      if (std::ranges::find(once, name) == once.end()) once.push_back(std::move(name));
    }
    group.targets = std::move(once);
  }
  return definition;
}

}  // namespace varve::bake
