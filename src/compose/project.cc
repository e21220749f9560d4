#include "compose/project.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "compose/dependencies.h"

namespace varve::compose {

namespace {

constexpr uint64_t kMaxEnvFile = 16 << 20;

std::string TextOf(const Node& node, std::string_view key) {
  const Node* found = node.Find(key);
  return found != nullptr && found->is_scalar() ? found->Text() : "";
}

std::vector<std::string> ListOf(const Node& node, std::string_view key) {
  std::vector<std::string> out;
  if (const Node* found = node.Find(key)) {
    for (const Node& item : found->items) out.push_back(item.Text());
  }
  return out;
}

Pairs PairsOf(const Node& node, std::string_view key) {
  Pairs out;
  if (const Node* found = node.Find(key)) {
    for (const Node::Member& member : found->members) out.emplace_back(member.key, member.value.Text());
  }
  return out;
}

// true and false in the spellings of YAML 1.1, which Compose files have.
Result<bool> BoolOf(const Node& node, std::string_view key) {
  const Node* found = node.Find(key);
  if (found == nullptr || found->is_null()) return false;
  std::string text = ToLower(found->Text());
  if (text == "yes" || text == "y" || text == "on") return true;
  if (text == "no" || text == "n" || text == "off" || text.empty()) return false;
  if (auto value = ParseBool(text)) return *value;
  return ErrorAt(found->place, fmt::format("{} \"{}\": true or false expected", key, found->Text()));
}

class Maker {
 public:
  explicit Maker(Loaded loaded) { project_.loaded = std::move(loaded); }

  Result<Project> Run(const std::vector<std::string>& profiles, const std::vector<std::string>& named) {
    std::set<std::string> active(profiles.begin(), profiles.end());
    const Environment& environment = project_.loaded.environment;
    if (auto it = environment.find("COMPOSE_PROFILES"); it != environment.end()) {
      for (const std::string& profile : Split(it->second, ',')) {
        if (!TrimSpace(profile).empty()) active.emplace(TrimSpace(profile));
      }
    }
    if (Node* services = project_.loaded.model.Find("services")) {
      for (Node::Member& member : services->members) {
        if (member.key.starts_with("x-")) continue;
        AddImpliedDependencies(member.value);
        TRY_ASSIGN(Service service, MakeService(member.key, member.value, member.place));
        project_.services.push_back(std::move(service));
      }
    }
    std::ranges::sort(project_.services, {}, &Service::name);
    for (const std::string& name : named) {
      const Service* service = project_.Find(name);
      if (service == nullptr) return NoService(name);
      active.insert(service->profiles.begin(), service->profiles.end());
    }
    for (Service& service : project_.services) {
      service.active = service.profiles.empty() || active.contains("*") ||
                       std::ranges::any_of(service.profiles, [&](const auto& p) { return active.contains(p); });
    }
    TRY(CheckReferences());
    TRY(CheckCircles(project_.services));
    return std::move(project_);
  }

 private:
  Error NoService(const std::string& name) const {
    Error error = NotFound("no such service: {}", name);
    std::vector<std::string_view> names;
    for (const Service& service : project_.services) names.push_back(service.name);
    if (auto near = NearestWord(name, names)) error.hint = fmt::format("did you mean {}?", *near);
    return error;
  }

  Result<Service> MakeService(const std::string& name, const Node& node, const Place& place) {
    Service service{.name = name,
                    .image = TextOf(node, "image"),
                    .platform = TextOf(node, "platform"),
                    .profiles = ListOf(node, "profiles"),
                    .place = place};
    if (const Node* depends = node.Find("depends_on")) {
      for (const Node::Member& member : depends->members) {
        service.depends_on.push_back(member.key);
        const Node* required = member.value.Find("required");
        if (required != nullptr && required->Text() == "false") optional_.insert(name + "\n" + member.key);
      }
    }
    const Node* build = node.Find("build");
    if (build == nullptr && service.image.empty() && node.Find("provider") == nullptr) {
      Error error = ErrorAt(place, fmt::format("service {} has neither an image nor a build context", name));
      error.hint = "give it image: or build:";
      return error;
    }
    if (build == nullptr || build->is_null()) return service;
    TRY_ASSIGN(service.build, MakeBuild(service, *build));
    return service;
  }

  Result<Build> MakeBuild(const Service& service, const Node& node) {
    Build build{.context = TextOf(node, "context"),
                .dockerfile = TextOf(node, "dockerfile"),
                .labels = PairsOf(node, "labels"),
                .additional_contexts = PairsOf(node, "additional_contexts"),
                .tags = ListOf(node, "tags"),
                .platforms = ListOf(node, "platforms"),
                .cache_from = ListOf(node, "cache_from"),
                .cache_to = ListOf(node, "cache_to"),
                .no_cache_filter = ListOf(node, "no_cache_filter"),
                .entitlements = ListOf(node, "entitlements"),
                .target = TextOf(node, "target"),
                .network = TextOf(node, "network"),
                .shm_size = TextOf(node, "shm_size"),
                .isolation = TextOf(node, "isolation"),
                .provenance = TextOf(node, "provenance"),
                .sbom = TextOf(node, "sbom")};
    if (build.context.empty()) build.context = project_.loaded.directory;
    if (const Node* text = node.Find("dockerfile_inline"); text != nullptr && !text->is_null()) {
      if (!build.dockerfile.empty()) {
        return ErrorAt(text->place,
                       fmt::format("service {}: dockerfile and dockerfile_inline exclude each other", service.name));
      }
      build.dockerfile_inline = text->Text();
    }
    TRY_ASSIGN(build.no_cache, BoolOf(node, "no_cache"));
    TRY_ASSIGN(build.pull, BoolOf(node, "pull"));
    TRY_ASSIGN(build.privileged, BoolOf(node, "privileged"));
    if (const Node* args = node.Find("args")) {
      for (const Node::Member& member : args->members) {
        if (!member.value.is_null()) {
          build.args.emplace_back(member.key, member.value.Text());
        } else if (auto it = project_.loaded.environment.find(member.key); it != project_.loaded.environment.end()) {
          build.args.emplace_back(member.key, it->second);
        }
      }
    }
    if (const Node* agents = node.Find("ssh")) {
      for (const Node::Member& member : agents->members) {
        std::string path = member.value.Text();
        build.ssh.push_back(member.key + (path.empty() ? "" : "=" + path));
      }
    }
    if (const Node* hosts = node.Find("extra_hosts")) {
      for (const Node::Member& member : hosts->members) {
        for (const Node& address : member.value.items) build.extra_hosts.emplace_back(member.key, address.Text());
      }
    }
    if (const Node* limits = node.Find("ulimits")) {
      for (const Node::Member& member : limits->members) {
        std::string both = member.value.is_mapping() ? TextOf(member.value, "soft") + ":" + TextOf(member.value, "hard")
                                                     : member.value.Text();
        build.ulimits.push_back(member.key + "=" + both);
      }
    }
    if (!service.platform.empty()) {
      if (build.platforms.empty()) {
        build.platforms = {service.platform};
      } else if (std::ranges::find(build.platforms, service.platform) == build.platforms.end()) {
        return ErrorAt(node.Find("platforms")->place,
                       fmt::format("service {}: build.platforms does not have the service's platform {}", service.name,
                                   service.platform));
      }
    }
    if (const Node* secrets = node.Find("secrets")) {
      for (const Node& item : secrets->items) {
        TRY_ASSIGN(BuildSecret secret, MakeSecret(service, item));
        build.secrets.push_back(std::move(secret));
      }
    }
    return build;
  }

  Result<BuildSecret> MakeSecret(const Service& service, const Node& item) {
    std::string source = TextOf(item, "source"), target = TextOf(item, "target");
    const Node* all = project_.loaded.model.Find("secrets");
    const Node* declared = all == nullptr ? nullptr : all->Find(source);
    if (declared == nullptr) {
      Error error = ErrorAt(item.place,
                            fmt::format("service {} uses the secret {}, which is not declared", service.name, source));
      error.hint = fmt::format("add it to the top-level secrets: {}: {{file: PATH}}", source);
      return error;
    }
    BuildSecret secret{.id = target.empty() ? source : target};
    if (std::string file = TextOf(*declared, "file"); !file.empty()) {
      secret.file = file;
    } else if (std::string name = TextOf(*declared, "environment"); !name.empty()) {
      secret.variable = name;
      auto it = project_.loaded.environment.find(name);
      if (it != project_.loaded.environment.end()) secret.value = it->second;
    } else {
      Error error = ErrorAt(item.place, fmt::format("the secret {} is external: a build cannot read it", source));
      error.hint = "declare it with file: or environment:";
      return error;
    }
    return secret;
  }

  Status CheckReferences() {
    for (const Service& service : project_.services) {
      for (const std::string& other : service.depends_on) {
        if (optional_.contains(service.name + "\n" + other)) continue;
        const Service* found = project_.Find(other);
        if (found == nullptr) {
          return ErrorAt(service.place,
                         fmt::format("service {} depends on the undefined service {}", service.name, other));
        }
        if (service.active && !found->active) {
          Error error = ErrorAt(service.place, fmt::format("service {} depends on {}, whose profiles are not active",
                                                           service.name, other));
          error.hint = fmt::format("pass --profile {}", found->profiles[0]);
          return error;
        }
      }
      if (!service.build) continue;
      for (const auto& [name, value] : service.build->additional_contexts) {
        if (!value.starts_with("service:")) continue;
        const Service* found = project_.Find(value.substr(8));
        if (found == nullptr || !found->build) {
          return ErrorAt(service.place,
                         fmt::format("service {}: additional_contexts.{} names {}, which {}", service.name, name, value,
                                     found == nullptr ? "is not defined" : "has no build"));
        }
      }
    }
    return Ok();
  }

  Project project_;
  std::set<std::string> optional_;  // "service\nother": depends_on with required: false
};

}  // namespace

std::string Service::ImageName(const std::string& project) const {
  return image.empty() ? project + "-" + name : image;
}

const Service* Project::Find(std::string_view name) const {
  auto it = std::ranges::find(services, name, &Service::name);
  return it == services.end() ? nullptr : &*it;
}

Result<Project> MakeProject(Loaded loaded, const std::vector<std::string>& profiles,
                            const std::vector<std::string>& named) {
  return Maker(std::move(loaded)).Run(profiles, named);
}

Result<std::vector<const Service*>> ServicesToBuild(const Project& project, const std::vector<std::string>& named,
                                                    bool with_dependencies) {
  std::vector<const Service*> wanted;
  std::map<const Service*, int> state;  // 1: on the way, 2: there
  std::set<const Service*> seen;
  std::function<void(const Service&)> depend = [&](const Service& service) {
    if (!seen.insert(&service).second) return;
    if (with_dependencies) {
      for (const std::string& other : service.depends_on) {
        if (const Service* found = project.Find(other)) depend(*found);
      }
    }
    if (service.build) wanted.push_back(&service);
  };
  for (const std::string& name : named) {
    const Service* service = project.Find(name);
    if (service == nullptr) return NotFound("no such service: {}", name);
    depend(*service);
  }
  if (named.empty()) {
    for (const Service& service : project.services) {
      if (service.active) depend(service);
    }
  }
  std::vector<const Service*> ordered;
  std::function<Status(const Service&)> add = [&](const Service& service) -> Status {
    int& now = state[&service];
    if (now == 2) return Ok();
    if (now == 1) {
      return ErrorAt(service.place,
                     fmt::format("additional_contexts make a circle: service {} needs itself", service.name));
    }
    now = 1;
    for (const auto& [name, value] : service.build->additional_contexts) {
      if (value.starts_with("service:")) TRY(add(*project.Find(value.substr(8))));
    }
    state[&service] = 2;
    ordered.push_back(&service);
    return Ok();
  };
  for (const Service* service : wanted) TRY(add(*service));
  return ordered;
}

Result<Environment> EnvironmentOfService(const Project& project, const Service& service) {
  const Node& written = *project.loaded.model.Find("services")->Find(service.name);
  const Environment& outer = project.loaded.environment;
  Environment out;
  // What earlier files say goes before the project's environment.
  const Lookup lookup = [&](const std::string& name) -> std::optional<std::string> {
    if (auto it = out.find(name); it != out.end()) return it->second;
    if (auto it = outer.find(name); it != outer.end()) return it->second;
    return std::nullopt;
  };
  if (const Node* files = written.Find("env_file")) {
    for (const Node& item : files->items) {
      const std::string path = item.is_mapping() ? TextOf(item, "path") : item.Text();
      auto text = ReadFile(path, kMaxEnvFile);
      if (!text) {
        const bool optional =
            item.is_mapping() && item.Find("required") != nullptr && TextOf(item, "required") == "false";
        if (optional && text.error().code == Code::kNotFound) continue;
        return Error(std::move(text).error()).With("env_file of service " + service.name);
      }
      Environment read;
      if (item.is_mapping() && TextOf(item, "format") == "raw") {
        ReadRawEnv(*text, lookup, read);
      } else {
        TRY(ReadDotenv(*text, path, lookup, read));
      }
      for (auto& [name, value] : read) out[name] = std::move(value);
    }
  }
  if (const Node* own = written.Find("environment")) {
    for (const Node::Member& member : own->members) {
      if (!member.value.is_null()) {
        out[member.key] = member.value.Text();
      } else if (auto it = outer.find(member.key); it != outer.end()) {
        out[member.key] = it->second;
      }
    }
  }
  return out;
}

}  // namespace varve::compose
