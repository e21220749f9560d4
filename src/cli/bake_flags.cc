#include "cli/bake_flags.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/strings.h"

namespace varve::cli {

namespace {

namespace fs = std::filesystem;
using bake::Entries;
using bake::Entry;
using bake::EntryKind;

std::string Cleaned(const std::string& path) {
  std::string clean = fs::path(path).lexically_normal().string();
  if (clean.size() > 1 && clean.ends_with('/')) clean.pop_back();
  return clean.empty() ? "." : clean;
}

// A path of a named context, as this machine finds it.
std::string NamedPath(const std::string& value, const BakeOrigin& origin) {
  if (value.starts_with("cwd://")) return Cleaned(value.substr(6));
  if (origin.url.empty() || IsRemoteUrl(value) || value.starts_with("docker-image:") ||
      value.starts_with("oci-layout:"))
    return value;
  return value == "." ? origin.url : Cleaned(origin.directory + "/" + value);
}

Status AddCaches(const bake::Target& target, job::BuildFlags& flags) {
  for (const Entry& entry : target.cache_from.value_or(Entries())) {
    TRY_ASSIGN(auto specs, tier::ParseCacheFrom(bake::EntryText(EntryKind::kCache, entry)));
    flags.cache_from.insert(flags.cache_from.end(), specs.begin(), specs.end());
  }
  for (const Entry& entry : target.cache_to.value_or(Entries())) {
    TRY_ASSIGN(auto specs, tier::ParseCacheTo(bake::EntryText(EntryKind::kCache, entry)));
    flags.cache_to.insert(flags.cache_to.end(), specs.begin(), specs.end());
  }
  return tier::CheckExports(flags.cache_to);
}

Status AddSecrets(const bake::Target& target, job::BuildFlags& flags) {
  for (const Entry& entry : target.secret.value_or(Entries())) {
    TRY_ASSIGN(auto secret, job::ParseSecret(bake::EntryText(EntryKind::kSecret, entry)));
    flags.secrets.push_back(std::move(secret));
  }
  for (const Entry& entry : target.ssh.value_or(Entries())) {
    TRY_ASSIGN(auto ssh, job::ParseSsh(bake::EntryText(EntryKind::kSsh, entry)));
    flags.ssh.push_back(std::move(ssh));
  }
  return Ok();
}

Status AddOutputs(const bake::Target& target, job::BuildFlags& flags) {
  for (const Entry& entry : target.output.value_or(Entries())) {
    TRY_ASSIGN(auto output,
               exporter::ParseOutput(bake::EntryText(EntryKind::kOutput, entry), isatty(STDOUT_FILENO) != 0));
    flags.outputs.push_back(std::move(output));
  }
  for (const std::string& text : target.annotations.value_or(bake::Strings())) {
    TRY_ASSIGN(auto annotations, exporter::ParseAnnotation(text));
    flags.annotations.insert(flags.annotations.end(), annotations.begin(), annotations.end());
  }
  return Ok();
}

Status AddLimits(const bake::Target& target, job::BuildFlags& flags) {
  for (const std::string& text : target.ulimits.value_or(bake::Strings())) {
    TRY_ASSIGN(auto limit, job::ParseUlimit(text));
    flags.ulimits.push_back(std::move(limit));
  }
  for (const auto& [host, address] : target.extra_hosts) {
    if (!address) continue;
    for (const std::string& one : Split(*address, ',')) {
      TRY_ASSIGN(auto hosts, job::ParseAddHost(host + "=" + one));
      flags.extra_hosts.insert(flags.extra_hosts.end(), hosts.begin(), hosts.end());
    }
  }
  if (target.shm_size) {
    TRY_ASSIGN(flags.shm_size, ParseRamBytes(*target.shm_size));
  }
  flags.resources = target.resources;
  const std::string network = target.network.value_or("default");
  if (network == "none") {
    flags.network = graph::NetworkMode::kNone;
  } else if (network == "host") {
    flags.network = graph::NetworkMode::kHost;
  } else if (network != "default" && !network.empty()) {
    return Invalid("invalid network mode \"{}\": use default, none or host", network);
  }
  return Ok();
}

Status CheckUnsupported(const bake::Target& target) {
  for (const Entry& entry : target.policy.value_or(Entries())) {
    if (ParseBool(entry.Get("disabled")).value_or(false)) continue;
    Error error = Invalid("policies are not supported by this version of varve");
    error.hint = "leave policy out, or pass --policy disabled=true";
    return error;
  }
  return Ok();
}

Result<TargetFlags> MakeFlags(const bake::Target& target, const BakeOrigin& origin) {
  TRY(CheckUnsupported(target));
  TargetFlags out;
  job::BuildFlags& flags = out.flags;
  flags.context = *target.context;
  const bool remote = IsRemoteUrl(flags.context);
  std::string dockerfile = *target.dockerfile;
  const bool local_dockerfile = dockerfile.starts_with("cwd://");
  if (local_dockerfile) {
    flags.file = Cleaned(fs::absolute(dockerfile.substr(6)).string());
  } else if (remote || IsRemoteUrl(dockerfile) || dockerfile.starts_with('/')) {
    flags.file = dockerfile == "Dockerfile" ? "" : Cleaned(dockerfile);
  } else {
    std::string path = Cleaned(flags.context + "/" + dockerfile);
    // The default name is left to the context's opener: "dockerfile" is tried too.
    bool fallback = dockerfile == "Dockerfile" && access(path.c_str(), F_OK) != 0;
    flags.file = fallback ? "" : path;
  }
  flags.dockerfile_text = target.dockerfile_inline;
  flags.tags = target.tags.value_or(bake::Strings());
  for (const auto& [name, value] : target.args) {
    if (value) flags.build_args.emplace_back(name, *value);
  }
  for (const auto& [name, value] : target.labels) {
    if (value) flags.labels.emplace_back(name, *value);
  }
  for (const auto& [name, value] : target.contexts) {
    if (value.starts_with("target:")) {
      TRY_ASSIGN(auto context, job::ParseBuildContext(name + "=docker-image://scratch"));
      out.links.emplace_back(context.first, value.substr(7));
      continue;
    }
    TRY_ASSIGN(auto context, job::ParseBuildContext(name + "=" + NamedPath(value, origin)));
    flags.build_contexts.push_back(std::move(context));
  }
  flags.target = target.target.value_or("");
  flags.platforms = target.platforms.value_or(bake::Strings());
  if (const char* platform = std::getenv("DOCKER_DEFAULT_PLATFORM");
      flags.platforms.empty() && platform != nullptr && *platform != '\0') {
    flags.platforms = {platform};
  }
  flags.no_cache = target.no_cache.value_or(false);
  if (!flags.no_cache) flags.no_cache_filter = target.no_cache_filter.value_or(bake::Strings());
  flags.pull = target.pull.value_or(false);
  flags.allow = target.entitlements.value_or(bake::Strings());
  if (target.call) {
    TRY_ASSIGN(flags.call, job::ParseCall(*target.call));
  }
  TRY(AddLimits(target, flags));
  TRY(AddSecrets(target, flags));
  TRY(AddOutputs(target, flags));
  std::vector<std::string> attest;
  for (const Entry& entry : target.attest.value_or(Entries()))
    attest.push_back(bake::EntryText(EntryKind::kAttest, entry));
  TRY_ASSIGN(flags.attest, attest::ParseRequest(attest, flags.build_args));
  TRY(AddCaches(target, flags));
  return out;
}

}  // namespace

bool IsRemoteUrl(const std::string& text) {
  for (const char* scheme : {"http://", "https://", "git://", "ssh://", "git@", "github.com/"}) {
    if (text.starts_with(scheme)) return true;
  }
  return false;
}

Status PlaceContext(bake::Target& target, const BakeOrigin& origin) {
  std::string& context = *target.context;
  auto refuse = [&](std::string_view what) {
    Error error = Invalid("target {}: {} from stdin not allowed in bake", target.name, what);
    error.hint = "all targets would read the same input; name a directory or a URL";
    return error;
  };
  if (context == "-") return refuse("context");
  if (target.dockerfile == "-") return refuse("dockerfile");
  const bool local = context.starts_with("cwd://");
  if (local) {
    context = Cleaned(context.substr(6));
    std::string dockerfile = target.dockerfile.value_or("Dockerfile");
    bool theirs = !dockerfile.starts_with("cwd://") && !IsRemoteUrl(dockerfile) && !target.dockerfile_inline;
    if (!origin.url.empty() && theirs) {
      Error error = Invalid("target {}: reading a dockerfile for a remote build invocation is currently not supported",
                            target.name);
      error.hint = "a local context needs a local Dockerfile: dockerfile = \"cwd://Dockerfile\"";
      return error;
    }
  } else if (!IsRemoteUrl(context)) {
    context = Cleaned(context);
    if (!origin.url.empty() && context == ".") context = origin.url;
    else if (!origin.url.empty()) context = Cleaned(origin.directory + "/" + context);
  }
  return Ok();
}

Result<TargetFlags> FlagsOfTarget(const bake::Target& target, const BakeOrigin& origin) {
  auto made = MakeFlags(target, origin);
  if (!made) return Error(std::move(made).error()).With("target " + target.name);
  return made;
}

}  // namespace varve::cli
