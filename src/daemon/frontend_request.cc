#include "daemon/frontend_request.h"

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"
#include "graph/source_url.h"

namespace varve::daemon {

namespace {

using moby::buildkit::v1::SolveRequest;

constexpr std::string_view kHostnameArg = "BUILDKIT_SANDBOX_HOSTNAME";

bool TakePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

Status AddNamedContext(FrontendRequest& request, const std::string& name, const std::string& value) {
  std::string_view rest = value;
  if (TakePrefix(rest, "local:")) {
    request.local_contexts[name] = std::string(rest);
  } else if (TakePrefix(rest, "input:")) {
    request.input_contexts.push_back(std::string(rest));
  } else if (!value.starts_with("docker-image:") && !value.starts_with("oci-layout:") && !IsRemoteContext(value)) {
    return Invalid("unsupported context source {} for {}", value, name);
  }
  request.flags.build_contexts.emplace_back(name, value);
  return Ok();
}

Status AddHosts(job::BuildFlags& flags, const std::string& value) {
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  for (const std::string& field : fields) {
    TRY_ASSIGN(auto hosts, job::ParseAddHost(field));
    flags.extra_hosts.insert(flags.extra_hosts.end(), hosts.begin(), hosts.end());
  }
  return Ok();
}

Status AddUlimits(job::BuildFlags& flags, const std::string& value) {
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  for (const std::string& field : fields) {
    TRY_ASSIGN(auto limit, job::ParseUlimit(field));
    flags.ulimits.push_back(std::move(limit));
  }
  return Ok();
}

Status SetNetwork(job::BuildFlags& flags, const std::string& value) {
  if (value == "none") {
    flags.network = graph::NetworkMode::kNone;
  } else if (value == "host") {
    flags.network = graph::NetworkMode::kHost;
  } else if (!value.empty() && value != "sandbox" && value != "default") {
    return Invalid("invalid value \"{}\" of force-network-mode: none, host or sandbox expected", value);
  }
  return Ok();
}

void AddCommaList(std::vector<std::string>& to, const std::string& value) {
  for (std::string& part : Split(value, ',')) {
    if (!TrimSpace(part).empty()) to.emplace_back(TrimSpace(part));
  }
}

Status SetShmSize(job::BuildFlags& flags, const std::string& value) {
  auto bytes = ParseInt(value);
  if (!bytes || *bytes < 0) return Invalid("failed to parse shm-size \"{}\": bytes expected", value);
  flags.shm_size = static_cast<uint64_t>(*bytes);
  return Ok();
}

// Attributes whose name says it all. False: not one of these.
Result<bool> SetPlain(FrontendRequest& request, const std::string& key, const std::string& value) {
  job::BuildFlags& flags = request.flags;
  if (key == "filename") {
    if (!value.empty()) request.filename = value;
  } else if (key == "target") {
    flags.target = value;
  } else if (key == "no-cache") {
    if (value.empty()) flags.no_cache = true;
    AddCommaList(flags.no_cache_filter, value);
  } else if (key == "platform") {
    AddCommaList(flags.platforms, value);
  } else if (key == "image-resolve-mode") {
    if (value != "pull" && value != "local" && value != "default" && !value.empty()) {
      return Invalid("invalid image-resolve-mode: {}", value);
    }
    flags.pull = value == "pull";
  } else if (key == "add-hosts") {
    TRY(AddHosts(flags, value));
  } else if (key == "ulimit") {
    TRY(AddUlimits(flags, value));
  } else if (key == "force-network-mode") {
    TRY(SetNetwork(flags, value));
  } else if (key == "shm-size") {
    TRY(SetShmSize(flags, value));
  } else if (key == "cgroup-parent") {
    flags.cgroup_parent = value;
  } else if (key == "context") {
    if (auto git = graph::ParseGitUrl(value); !git) return Error(std::move(git).error());
    if (!value.empty() && !IsRemoteContext(value)) {
      request.context_mount = value.starts_with("local:") ? value.substr(6) : value;
    } else {
      request.context = value;
    }
  } else if (key == "contextsubdir") {
    request.context_subdir = value;
  } else if (key == "contextkey") {
    request.context_mount = value;
  } else if (key == "dockerfilekey") {
    request.dockerfile_mount = value;
    request.dockerfile_given = true;
  } else if (key == "hostname") {
    // The build argument of the same meaning wins.
    if (!value.empty() && !request.attributes.contains("build-arg:" + std::string(kHostnameArg))) {
      flags.build_args.emplace_back(kHostnameArg, value);
    }
  } else if (key == "requestid") {
    request.subrequest = value;
  } else if (key == "frontend.caps") {
    AddCommaList(request.wanted_capabilities, value);
  } else if (key == "multi-platform") {
    auto several = ParseBool(value);
    if (!several) return Invalid("invalid value \"{}\" of multi-platform", value);
    if (*several) flags.build_args.emplace_back("BUILDKIT_MULTI_PLATFORM", "1");
  } else {
    return false;
  }
  return true;
}

void SetResource(job::BuildFlags& flags, const std::string& key, const std::string& value) {
  static constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"memory", "memory"},         {"memswap", "memory-swap"}, {"cpushares", "cpu-shares"},
      {"cpuperiod", "cpu-period"},  {"cpuquota", "cpu-quota"},  {"cpusetcpus", "cpuset-cpus"},
      {"cpusetmems", "cpuset-mems"}};
  for (const auto& [attribute, flag] : kNames) {
    if (key == attribute) flags.resources[std::string(flag)] = value;
  }
}

// An entry of "cache-imports", the JSON that clients give their front end.
Result<std::vector<tier::Spec>> ParseImportsAttribute(const std::string& text) {
  std::vector<tier::Spec> specs;
  auto json = Json::Parse(text);
  if (!json || !json->is_array()) return Invalid("failed to unmarshal cache-imports: an array expected");
  for (const Json& entry : json->as_array()) {
    Attributes attributes;
    for (const auto& [key, value] : entry.GetObject("Attrs")) {
      if (value.is_string()) attributes[key] = value.as_string();
    }
    TRY_ASSIGN(auto parsed, tier::ParseCacheFrom(AsFlag(entry.GetString("Type"), attributes)));
    specs.insert(specs.end(), parsed.begin(), parsed.end());
  }
  return specs;
}

void AddNew(std::vector<tier::Spec>& specs, std::vector<tier::Spec> more) {
  for (tier::Spec& spec : more) {
    if (std::ranges::find(specs, spec) == specs.end()) specs.push_back(std::move(spec));
  }
}

Result<exporter::Output> ParseExporter(const SolveRequest& request, const std::string& type, Attributes attributes) {
  static constexpr std::string_view kTypes[] = {"image", "oci", "docker", "local", "tar"};
  if (std::ranges::find(kTypes, type) == std::end(kTypes)) {
    return NotFound("exporter \"{}\" could not be found", type);
  }
  // Metadata of the result rather than of the output.
  std::erase_if(attributes, [](const auto& attribute) { return IsResultMetadata(attribute.first); });
  auto epoch = request.frontend_attrs().find("build-arg:SOURCE_DATE_EPOCH");
  if (epoch != request.frontend_attrs().end() && ParseInt(epoch->second)) {
    attributes.try_emplace("source-date-epoch", epoch->second);
  }
  // Where the client puts it is the client's affair; here it only says that it is somewhere.
  attributes["dest"] = "client";
  TRY_ASSIGN(auto output, exporter::ParseOutput(AsFlag(type, attributes), false));
  // What went to a registry is there. Kept by name here too, nothing that a client can ask for would free it.
  if (output.push && !attributes.contains("store")) output.store = false;
  if (output.push && output.names.empty()) return Invalid("tag is needed when pushing to registry");
  return output;
}

}  // namespace

bool IsResultMetadata(std::string_view key) { return key.starts_with("containerimage.") || key.starts_with("attest:"); }

std::string AsFlag(const std::string& type, const Attributes& attributes) {
  std::string flag = "type=" + type;
  for (const auto& [key, value] : attributes) {
    flag += ",\"" + ReplaceAll(key + "=" + value, "\"", "\"\"") + "\"";
  }
  return flag;
}

bool IsRemoteContext(const std::string& context) {
  auto git = graph::ParseGitUrl(context);
  return (git && *git && !(*git)->looks_local) || graph::IsHttpUrl(context);
}

Result<FrontendRequest> ParseFrontendRequest(const Attributes& attributes,
                                             const std::vector<std::string>& entitlements) {
  FrontendRequest request{.attributes = attributes};
  job::BuildFlags& flags = request.flags;
  flags.allow = entitlements;
  for (const auto& [key, value] : attributes) {
    std::string_view name = key;
    TRY_ASSIGN(bool plain, SetPlain(request, key, value));
    if (plain) continue;
    if (TakePrefix(name, "build-arg:")) {
      flags.build_args.emplace_back(name, value);
    } else if (TakePrefix(name, "label:")) {
      flags.labels.emplace_back(name, value);
    } else if (TakePrefix(name, "context:")) {
      TRY(AddNamedContext(request, std::string(name), value));
    } else if (TakePrefix(name, "local-sessionid:")) {
      request.sessions[std::string(name)] = value;
    } else if (TakePrefix(name, "sharedkey:localdir:")) {
      request.shared_keys[std::string(name)] = value;
    } else {
      SetResource(flags, key, value);
    }
  }
  TRY_ASSIGN(flags.attest, ParseAttestations(attributes));
  return request;
}

bool IsFrontendCapability(std::string_view name) {
  static constexpr std::string_view kHere[] = {"moby.buildkit.frontend.inputs", "moby.buildkit.frontend.subrequests",
                                               "moby.buildkit.frontend.contexts",
                                               "moby.buildkit.frontend.gitquerystring"};
  // "…+forward": the one who asks goes without it, too.
  if (name.ends_with("+forward")) name.remove_suffix(8);
  return std::ranges::find(kHere, name) != std::end(kHere);
}

Attributes WithCacheImports(Attributes attributes, const moby::buildkit::v1::frontend::SolveRequest& request) {
  Json imports = Json::EmptyArray();
  for (const auto& entry : request.cache_imports()) {
    Json names = Json::EmptyObject();
    for (const auto& [key, value] : entry.attrs()) names.Set(key, value);
    imports.Append(Json().Set("Type", entry.type()).Set("Attrs", std::move(names)));
  }
  if (request.cache_imports_size() > 0) attributes["cache-imports"] = imports.Dump();
  return attributes;
}

Result<attest::Request> ParseAttestations(const Attributes& attributes) {
  std::vector<std::string> values;
  std::vector<std::pair<std::string, std::string>> build_args;
  for (const auto& [key, value] : attributes) {
    std::string_view name = key;
    if (TakePrefix(name, "attest:")) {
      values.push_back(fmt::format("type={}{}{}", name, value.empty() ? "" : ",", value));
    } else if (TakePrefix(name, "build-arg:")) {
      build_args.emplace_back(name, value);
    }
  }
  return attest::ParseRequest(values, build_args);
}

Result<std::vector<exporter::Output>> ParseExporters(const SolveRequest& request) {
  std::vector<session::NamedExporter> wanted;
  for (const auto& exporter : request.exporters()) {
    wanted.push_back({exporter.type(), ToAttributes(exporter.attrs())});
  }
  if (wanted.empty() && !request.exporter_deprecated().empty()) {
    wanted.push_back({request.exporter_deprecated(), ToAttributes(request.exporter_attrs_deprecated())});
  }
  return ParseExporters(request, wanted);
}

Result<std::vector<exporter::Output>> ParseExporters(const SolveRequest& request,
                                                     const std::vector<session::NamedExporter>& named) {
  std::vector<exporter::Output> outputs;
  for (const session::NamedExporter& exporter : named) {
    TRY_ASSIGN(auto output, ParseExporter(request, exporter.type, exporter.attributes));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

Result<std::vector<tier::Spec>> ParseCacheImports(const SolveRequest& request, const Attributes& attributes) {
  std::vector<tier::Spec> specs;
  for (const auto& entry : request.cache().imports()) {
    TRY_ASSIGN(auto parsed, tier::ParseCacheFrom(AsFlag(entry.type(), ToAttributes(entry.attrs()))));
    AddNew(specs, std::move(parsed));
  }
  for (const std::string& ref : request.cache().import_refs_deprecated()) {
    TRY_ASSIGN(auto parsed, tier::ParseCacheFrom(AsFlag("registry", {{"ref", ref}})));
    AddNew(specs, std::move(parsed));
  }
  if (auto it = attributes.find("cache-imports"); it != attributes.end() && !it->second.empty()) {
    TRY_ASSIGN(auto parsed, ParseImportsAttribute(it->second));
    AddNew(specs, std::move(parsed));
  }
  if (auto it = attributes.find("cache-from"); it != attributes.end()) {
    for (const std::string& ref : Split(it->second, ',')) {
      if (ref.empty()) continue;
      TRY_ASSIGN(auto parsed, tier::ParseCacheFrom(AsFlag("registry", {{"ref", ref}})));
      AddNew(specs, std::move(parsed));
    }
  }
  return specs;
}

Result<std::vector<tier::Spec>> ParseCacheExports(const SolveRequest& request) {
  std::vector<tier::Spec> specs;
  for (const auto& entry : request.cache().exports()) {
    TRY_ASSIGN(auto parsed, tier::ParseCacheTo(AsFlag(entry.type(), ToAttributes(entry.attrs()))));
    specs.insert(specs.end(), parsed.begin(), parsed.end());
  }
  if (specs.empty() && !request.cache().export_ref_deprecated().empty()) {
    Attributes attributes = ToAttributes(request.cache().export_attrs_deprecated());
    attributes["ref"] = request.cache().export_ref_deprecated();
    TRY_ASSIGN(auto parsed, tier::ParseCacheTo(AsFlag("registry", attributes)));
    specs.insert(specs.end(), parsed.begin(), parsed.end());
  }
  TRY(tier::CheckExports(specs));
  return specs;
}

}  // namespace varve::daemon
