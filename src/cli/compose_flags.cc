#include "cli/compose_flags.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/strings.h"

namespace varve::cli {

namespace {

namespace fs = std::filesystem;

bool IsRemote(const std::string& context) {
  return context.find("://") != context.npos || context.starts_with("git@") || context.starts_with("github.com/");
}

// From where the user stands, when it is below: it is shown in messages.
std::string Shown(const std::string& path) {
  std::error_code error;
  std::string shown = fs::proximate(path, error).string();
  return error || shown.empty() || shown.starts_with("..") ? path : shown;
}

std::string DockerfileOf(const compose::Build& build) {
  if (IsRemote(build.context) || build.dockerfile_inline) return build.dockerfile;
  if (!build.dockerfile.empty()) return Shown((fs::path(build.context) / build.dockerfile).lexically_normal());
  // The default name is left to the context's opener when it is not there: "dockerfile" is tried
  // too.
  std::string path = build.context + "/Dockerfile";
  return access(path.c_str(), F_OK) == 0 ? Shown(path) : "";
}

Status AddLimits(const compose::Build& build, job::BuildFlags& flags) {
  for (const std::string& text : build.ulimits) {
    TRY_ASSIGN(auto limit, job::ParseUlimit(text));
    flags.ulimits.push_back(std::move(limit));
  }
  for (const auto& [host, address] : build.extra_hosts) {
    TRY_ASSIGN(auto hosts, job::ParseAddHost(host + "=" + address));
    flags.extra_hosts.insert(flags.extra_hosts.end(), hosts.begin(), hosts.end());
  }
  if (!build.shm_size.empty()) {
    TRY_ASSIGN(flags.shm_size, ParseRamBytes(build.shm_size));
  }
  if (build.network == "none") {
    flags.network = graph::NetworkMode::kNone;
  } else if (build.network == "host") {
    flags.network = graph::NetworkMode::kHost;
    flags.allow.push_back("network.host");
  } else if (!build.network.empty() && build.network != "default") {
    return Invalid("build.network \"{}\": use default, none or host", build.network);
  }
  return Ok();
}

// Agents of the files, and of the command line.
std::vector<std::string> AgentsOf(const compose::Build& build, const ComposeBuildFlags& all) {
  std::vector<std::string> agents = build.ssh;
  agents.insert(agents.end(), all.ssh.begin(), all.ssh.end());
  return agents;
}

Status AddSecrets(const compose::Build& build, const ComposeBuildFlags& all, job::BuildFlags& flags) {
  for (const compose::BuildSecret& secret : build.secrets) {
    flags.secrets.push_back({.id = secret.id, .path = secret.file, .variable = secret.variable});
  }
  for (const std::string& text : AgentsOf(build, all)) {
    TRY_ASSIGN(auto ssh, job::ParseSsh(text));
    flags.ssh.push_back(std::move(ssh));
  }
  return Ok();
}

Status AddCaches(const compose::Build& build, job::BuildFlags& flags) {
  for (const std::string& text : build.cache_from) {
    TRY_ASSIGN(auto specs, tier::ParseCacheFrom(text));
    flags.cache_from.insert(flags.cache_from.end(), specs.begin(), specs.end());
  }
  for (const std::string& text : build.cache_to) {
    TRY_ASSIGN(auto specs, tier::ParseCacheTo(text));
    flags.cache_to.insert(flags.cache_to.end(), specs.begin(), specs.end());
  }
  return tier::CheckExports(flags.cache_to);
}

std::vector<std::string> AttestationsOf(const compose::Build& build, const ComposeBuildFlags& all) {
  const std::string& provenance = all.provenance.empty() ? build.provenance : all.provenance;
  const std::string& sbom = all.sbom.empty() ? build.sbom : all.sbom;
  std::vector<std::string> values;
  if (!provenance.empty()) values.push_back(attest::AttestText("provenance", provenance));
  if (!sbom.empty()) values.push_back(attest::AttestText("sbom", sbom));
  return values;
}

std::vector<std::string> EntitlementsOf(const compose::Build& build) {
  std::vector<std::string> entitlements = build.entitlements;
  if (build.privileged) entitlements.push_back("security.insecure");
  return entitlements;
}

Status AddContexts(const compose::Build& build, ServiceFlags& out) {
  for (const auto& [name, value] : build.additional_contexts) {
    TRY_ASSIGN(auto context, job::ParseBuildContext(name + "=" + value));
    if (value.starts_with("service:")) {
      out.services.emplace_back(context.first, value.substr(8));
    } else {
      out.flags.build_contexts.push_back(std::move(context));
    }
  }
  return Ok();
}

// One line a service for everything that this version passes over.
void WarnOfPassedOver(const compose::Service& service, std::vector<std::string>& warnings) {
  const compose::Build& build = *service.build;
  std::vector<std::string> keys;
  if (!build.isolation.empty() && build.isolation != "default") keys.push_back("isolation");
  if (keys.empty()) return;
  warnings.push_back(fmt::format("service {}: {} not supported by compose build in this version and passed over",
                                 service.name, Join(keys, ", ") + (keys.size() == 1 ? " is" : " are")));
}

Result<ServiceFlags> MakeFlags(const compose::Project& project, const compose::Service& service,
                               const ComposeBuildFlags& all) {
  const compose::Build& build = *service.build;
  ServiceFlags out;
  job::BuildFlags& flags = out.flags;
  flags.context = build.context;
  flags.file = DockerfileOf(build);
  flags.dockerfile_text = build.dockerfile_inline;
  flags.tags = build.tags;
  std::string image = service.ImageName(project.loaded.name);
  if (std::ranges::find(flags.tags, image) == flags.tags.end()) flags.tags.push_back(image);
  flags.build_args = build.args;
  flags.build_args.insert(flags.build_args.end(), all.build_args.begin(), all.build_args.end());
  // What docker compose adds, so that tools that look for a project's images find them.
  flags.labels = build.labels;
  flags.labels.emplace_back("com.docker.compose.project", project.loaded.name);
  flags.labels.emplace_back("com.docker.compose.service", service.name);
  flags.target = build.target;
  flags.platforms = build.platforms;
  const char* platform = std::getenv("DOCKER_DEFAULT_PLATFORM");
  if (flags.platforms.empty() && platform != nullptr && *platform != '\0') flags.platforms = {platform};
  flags.no_cache = build.no_cache || all.no_cache;
  if (!flags.no_cache) flags.no_cache_filter = build.no_cache_filter;
  flags.pull = build.pull || all.pull;
  flags.allow = EntitlementsOf(build);
  if (!all.memory.empty()) flags.resources["memory"] = all.memory;
  TRY(AddLimits(build, flags));
  TRY(AddSecrets(build, all, flags));
  TRY(AddContexts(build, out));
  TRY_ASSIGN(flags.attest, attest::ParseRequest(AttestationsOf(build, all), flags.build_args));
  TRY(AddCaches(build, flags));
  flags.load = all.load;
  // As docker compose: a name that nobody wrote is not a name to push to.
  flags.push = all.push && (!service.image.empty() || !build.tags.empty());
  if (flags.push && service.image.empty()) flags.tags = build.tags;
  if (all.push && !flags.push) {
    out.warnings.push_back(fmt::format("service {} has no image: name, and is not pushed", service.name));
  }
  WarnOfPassedOver(service, out.warnings);
  return out;
}

std::string TargetName(const std::string& service) { return ReplaceAll(service, ".", "_"); }

Json Strings(const compose::Pairs& pairs, bool escape) {
  Json json = Json::EmptyObject();
  for (const auto& [name, value] : pairs) json.Set(name, escape ? ReplaceAll(value, "${", "$${") : value);
  return json;
}

}  // namespace

Result<ServiceFlags> FlagsOfService(const compose::Project& project, const compose::Service& service,
                                    const ComposeBuildFlags& all) {
  auto made = MakeFlags(project, service, all);
  if (!made) return Error(std::move(made).error()).With("service " + service.name);
  return made;
}

Json BakeFile(const compose::Project& project, const std::vector<const compose::Service*>& services,
              const std::vector<std::string>& named, const ComposeBuildFlags& all) {
  Json targets = Json::EmptyObject();
  std::vector<std::string> group;
  for (const compose::Service* service : services) {
    const compose::Build& build = *service->build;
    Json target = Json::EmptyObject();
    compose::Pairs args = build.args, contexts, labels = build.labels;
    args.insert(args.end(), all.build_args.begin(), all.build_args.end());
    for (const auto& [name, value] : build.additional_contexts) {
      bool other = value.starts_with("service:");
      contexts.emplace_back(name, other ? "target:" + TargetName(value.substr(8)) : value);
    }
    labels.emplace_back("com.docker.compose.project", project.loaded.name);
    labels.emplace_back("com.docker.compose.service", service->name);
    Json secrets = Json::EmptyArray();
    for (const compose::BuildSecret& secret : build.secrets) {
      bool file = secret.variable.empty();
      secrets.Append(Json()
                         .Set("id", secret.id)
                         .Set("type", file ? "file" : "env")
                         .Set(file ? "src" : "env", file ? secret.file : secret.variable));
    }
    std::vector<std::string> tags = build.tags;
    std::string image = service->ImageName(project.loaded.name);
    if (std::ranges::find(tags, image) == tags.end()) tags.push_back(image);
    target.Set("context", build.context);
    target.SetIf(!contexts.empty(), "contexts", Strings(contexts, false));
    if (build.dockerfile_inline) {
      target.Set("dockerfile-inline", ReplaceAll(*build.dockerfile_inline, "${", "$${"));
    } else {
      target.Set("dockerfile", build.dockerfile.empty() ? "Dockerfile" : build.dockerfile);
    }
    target.SetIf(!args.empty(), "args", Strings(args, true)).Set("labels", Strings(labels, true));
    target.Set("tags", Json::Strings(tags));
    target.SetIf(!build.cache_from.empty(), "cache-from", Json::Strings(build.cache_from));
    target.SetIf(!build.cache_to.empty(), "cache-to", Json::Strings(build.cache_to));
    target.SetIf(!build.target.empty(), "target", build.target);
    target.SetIf(!secrets.as_array().empty(), "secret", secrets);
    const std::vector<std::string> agents = AgentsOf(build, all);
    target.SetIf(!agents.empty(), "ssh", Json::Strings(agents));
    target.SetIf(!build.platforms.empty(), "platforms", Json::Strings(build.platforms));
    target.SetIf(build.pull || all.pull, "pull", true);
    target.SetIf(build.no_cache || all.no_cache, "no-cache", true);
    target.SetIf(!build.no_cache_filter.empty(), "no-cache-filter", Json::Strings(build.no_cache_filter));
    target.SetIf(!build.network.empty(), "network", build.network);
    target.SetIf(!build.shm_size.empty(), "shm-size", build.shm_size);
    target.SetIf(!build.ulimits.empty(), "ulimits", Json::Strings(build.ulimits));
    Json hosts = Json::EmptyObject();
    for (const auto& [host, address] : build.extra_hosts) {
      std::string others = hosts.GetString(host);
      hosts.Set(host, others.empty() ? address : others + "," + address);
    }
    target.SetIf(!build.extra_hosts.empty(), "extra-hosts", std::move(hosts));
    const std::vector<std::string> entitlements = EntitlementsOf(build), attestations = AttestationsOf(build, all);
    target.SetIf(!entitlements.empty(), "entitlements", Json::Strings(entitlements));
    target.SetIf(!attestations.empty(), "attest", Json::Strings(attestations));
    bool push = all.push && !service->image.empty();
    target.Set("output", Json::Strings({push                         ? "type=registry"
                                        : build.platforms.size() > 1 ? "type=image,push=false"
                                                                     : "type=docker"}));
    targets.Set(TargetName(service->name), std::move(target));
    bool asked = named.empty() || std::ranges::find(named, service->name) != named.end();
    if (asked) group.push_back(TargetName(service->name));
  }
  std::ranges::sort(group);
  return Json()
      .Set("group", Json().Set("default", Json().Set("targets", Json::Strings(group))))
      .Set("target", std::move(targets));
}

}  // namespace varve::cli
