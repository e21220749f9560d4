#include "sandbox/cdi.h"

#include <dirent.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "base/fd.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "sys/open.h"

namespace varve::sandbox {

namespace {

constexpr uint64_t kMaxSpec = 8 << 20;
constexpr std::string_view kClass = "org.mobyproject.buildkit.device.class";

bool IsWord(std::string_view text, std::string_view more) {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || more.find(c) != more.npos;
  });
}

// vendor.com/class
bool IsKind(std::string_view text) {
  const size_t slash = text.find('/');
  return slash != text.npos && IsWord(text.substr(0, slash), "._-") && IsWord(text.substr(slash + 1), "._-");
}

Result<DeviceNode> NodeOf(const Json& json) {
  DeviceNode node;
  node.path = json.GetString("path");
  node.host_path = json.GetString("hostPath", node.path);
  if (!node.path.starts_with('/')) return Invalid("device node \"{}\" is no absolute path", node.path);
  node.permissions = json.GetString("permissions", "rwm");
  if (node.permissions.find_first_not_of("rwm") != std::string::npos) {
    return Invalid("device node {} has the permissions \"{}\"", node.path, node.permissions);
  }
  auto number = [&](const char* name) -> std::optional<uint32_t> {
    const Json* value = json.Find(name);
    if (value == nullptr || !value->is_int()) return {};
    return static_cast<uint32_t>(value->as_int());
  };
  node.mode = number("fileMode");
  node.uid = number("uid");
  node.gid = number("gid");
  return node;
}

MountSpec MountOf(const Json& json) {
  MountSpec mount;
  mount.kind = json.GetString("type") == "tmpfs" ? MountKind::kTmpfs : MountKind::kBind;
  mount.source = json.GetString("hostPath");
  mount.target = json.GetString("containerPath");
  for (const std::string& option : json.GetStrings("options")) {
    if (option == "ro") mount.read_only = true;
    if (option == "nosuid") mount.nosuid = true;
    if (option == "nodev") mount.nodev = true;
    if (option == "noexec") mount.noexec = true;
  }
  return mount;
}

Status ApplyEdits(const Json& edits, Spec& spec) {
  for (const char* name : {"intelRdt", "netDevices"}) {
    if (edits.Find(name) != nullptr) {
      return Invalid("its specification has {}, which varve does not support", name);
    }
  }
  for (const std::string& entry : edits.GetStrings("env")) {
    const std::string name = entry.substr(0, entry.find('=') + 1);
    std::erase_if(spec.env, [&](const std::string& e) { return e.starts_with(name); });
    spec.env.push_back(entry);
  }
  for (const Json& json : edits.GetArray("deviceNodes")) {
    TRY_ASSIGN(DeviceNode node, NodeOf(json));
    std::erase_if(spec.devices, [&](const DeviceNode& d) { return d.path == node.path; });
    spec.devices.push_back(std::move(node));
  }
  for (const Json& json : edits.GetArray("mounts")) {
    MountSpec mount = MountOf(json);
    if (!mount.target.starts_with('/') || (mount.kind == MountKind::kBind && mount.source.empty())) {
      return Invalid("a mount of \"{}\" at \"{}\"", mount.source, mount.target);
    }
    spec.mounts.push_back(std::move(mount));
  }
  for (const Json& json : edits.GetArray("hooks")) {
    Json hook;
    hook.Set("path", json.GetString("path"));
    for (const char* name : {"args", "env", "timeout"}) {
      if (const Json* value = json.Find(name)) hook.Set(name, *value);
    }
    spec.hooks.emplace_back(json.GetString("hookName"), std::move(hook));
  }
  for (const Json& gid : edits.GetArray("additionalGids")) {
    if (gid.is_int()) spec.user.additional_gids.push_back(static_cast<gid_t>(gid.as_int()));
  }
  return Ok();
}

}  // namespace

std::vector<std::string> CdiDirectories() {
  const char* given = std::getenv("VARVE_CDI_DIRS");
  if (given == nullptr) return {"/etc/cdi", "/var/run/cdi"};
  std::vector<std::string> directories = Split(given, ':');
  std::erase(directories, "");
  return directories;
}

CdiRegistry CdiRegistry::Load(const std::vector<std::string>& directories) {
  CdiRegistry registry;
  registry.directories_ = directories;
  for (const std::string& directory : directories) registry.ReadDirectory(directory);
  return registry;
}

void CdiRegistry::ReadDirectory(const std::string& directory) {
  auto fd = sys::OpenDir(directory);
  if (!fd) {
    if (fd.error().code != Code::kNotFound) problems_.push_back(fd.error().ToString());
    return;
  }
  auto entries = sys::ListDirectory(fd->get());
  if (!entries) {
    problems_.push_back(entries.error().ToString());
    return;
  }
  std::ranges::sort(*entries, {}, &sys::DirEntry::name);
  std::map<std::string, Device> found;
  for (const sys::DirEntry& entry : *entries) {
    const std::string_view name = entry.name;
    if (!name.ends_with(".json") && !name.ends_with(".yaml") && !name.ends_with(".yml")) continue;
    const std::string path = directory + "/" + entry.name;
    if (Status read = ReadSpec(path, found); !read) {
      problems_.push_back(path + ": " + read.error().message);
    }
  }
  // A later directory wins over an earlier one.
  for (auto& [name, device] : found) devices_.insert_or_assign(name, std::move(device));
}

Status CdiRegistry::ReadSpec(const std::string& path, std::map<std::string, Device>& found) {
  TRY_ASSIGN(std::string text, ReadFile(path, kMaxSpec));
  TRY_ASSIGN(Json spec, path.ends_with(".json") ? Json::Parse(text) : ParseYaml(text));
  const std::string version = spec.GetString("cdiVersion"), kind = spec.GetString("kind");
  if (!version.starts_with("0.") && !version.starts_with("1.")) {
    return Invalid("cdiVersion \"{}\" is neither 0.x nor 1.x", version);
  }
  if (!IsKind(kind)) return Invalid("kind \"{}\" is not of the form vendor.com/class", kind);
  const Json* shared = spec.Find("containerEdits");
  const size_t file = shared_edits_.size();
  shared_edits_.push_back(shared != nullptr ? *shared : Json::EmptyObject());
  const Json* annotations = spec.Find("annotations");
  for (const Json& json : spec.GetArray("devices")) {
    const std::string name = json.GetString("name");
    if (!IsWord(name, "._-:")) return Invalid("a device with the name \"{}\"", name);
    Device device{.file = file};
    for (const Json* from : {annotations, json.Find("annotations")}) {
      if (from == nullptr || !from->is_object()) continue;
      for (const auto& [key, value] : from->as_object()) {
        device.annotations[key] = value.is_string() ? value.as_string() : value.Dump();  // YAML's true, 1
      }
    }
    const Json* edits = json.Find("containerEdits");
    device.edits = edits != nullptr ? *edits : Json::EmptyObject();
    // Two files of one directory that disagree: neither is believed.
    if (!found.emplace(kind + "=" + name, std::move(device)).second) {
      found.erase(kind + "=" + name);
      return Invalid("the device {}={} is described twice", kind, name);
    }
  }
  return Ok();
}

std::vector<std::string> CdiRegistry::Find(const std::string& request) const {
  std::vector<std::string> names;
  const size_t equals = request.find('=');
  const std::string kind = request.substr(0, equals);
  const std::string name = equals == request.npos ? "" : request.substr(equals + 1);
  if (IsKind(kind)) {
    if (name.empty() || name == "*") {
      for (const auto& [full, device] : devices_) {
        if (full.starts_with(kind + "=") && (name == "*" || names.empty())) names.push_back(full);
      }
    } else if (devices_.contains(request)) {
      names.push_back(request);
    }
  }
  if (!names.empty()) return names;
  for (const auto& [full, device] : devices_) {
    auto its = device.annotations.find(std::string(kClass));
    if (its != device.annotations.end() && !request.empty() && its->second == request) names.push_back(full);
  }
  return names;
}

std::map<std::string, std::map<std::string, std::string>> CdiRegistry::List() const {
  std::map<std::string, std::map<std::string, std::string>> list;
  for (const auto& [name, device] : devices_) list[name] = device.annotations;
  return list;
}

Status CdiRegistry::Apply(const std::vector<std::string>& names, Spec& spec) const {
  std::set<size_t> files;
  for (const std::string& name : names) {
    auto device = devices_.find(name);
    CHECK(device != devices_.end());
    Status applied = Ok();
    if (files.insert(device->second.file).second) {
      applied = ApplyEdits(shared_edits_[device->second.file], spec);
    }
    if (applied) applied = ApplyEdits(device->second.edits, spec);
    if (!applied) return Error(std::move(applied).error()).With("device " + name);
  }
  return Ok();
}

std::string CdiRegistry::Describe() const {
  std::string text;
  if (devices_.empty()) {
    text = "no device is described in " + Join(directories_, " or ");
  } else {
    std::vector<std::string> names;
    for (const auto& [name, device] : devices_) names.push_back(name);
    text = "devices of this machine: " + Join(names, ", ");
  }
  for (const std::string& problem : problems_) text += "; left out: " + problem;
  return text;
}

}  // namespace varve::sandbox
