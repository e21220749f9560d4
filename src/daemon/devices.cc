#include "daemon/devices.h"

#include <algorithm>
#include <map>

#include "base/strings.h"

namespace varve::daemon {

namespace {

using Annotations = std::map<std::string, std::string>;

constexpr char kAutoAllow[] = "org.mobyproject.buildkit.device.autoallow";

bool IsForEverybody(const DeviceRules& rules, const std::string& name, const Annotations& annotations) {
  if (rules.allowed.contains(name) || rules.allowed.contains(name.substr(0, name.find('=')))) return true;
  auto note = annotations.find(kAutoAllow);
  return note != annotations.end() && ParseBool(note->second).value_or(false);
}

// What the client grants.
struct Grants {
  bool all = false;
  std::vector<std::string> names;
  std::map<std::string, std::string> by_alias;
};

Result<Grants> ReadGrants(const std::vector<std::string>& granted) {
  Grants grants;
  for (const std::string& entitlement : granted) {
    if (entitlement == "device") grants.all = true;
    if (!entitlement.starts_with("device=")) continue;
    const std::vector<std::string> fields = Split(std::string_view(entitlement).substr(7), ',');
    std::string alias;
    for (size_t i = 1; i < fields.size(); ++i) {
      if (!fields[i].starts_with("alias="))
        return Invalid("unknown device config key \"{}\"", fields[i].substr(0, fields[i].find('=')));
      alias = fields[i].substr(6);
    }
    if (alias.empty()) grants.names.push_back(fields[0]);
    else grants.by_alias[alias] = fields[0];
  }
  return grants;
}

}  // namespace

Status GrantDevices(graph::Graph& graph, const std::vector<std::string>& granted, const DeviceRules& rules,
                    const sandbox::CdiRegistry& devices) {
  TRY_ASSIGN(const Grants grants, ReadGrants(granted));
  if (grants.all) return Ok();
  std::set<std::string> allowed;
  for (const std::string& name : grants.names) {
    for (std::string& one : devices.Find(name)) allowed.insert(std::move(one));
  }
  for (const auto& [alias, name] : grants.by_alias) {
    for (std::string& one : devices.Find(name)) allowed.insert(std::move(one));
  }
  const auto known = devices.List();
  for (graph::Step& step : graph.steps) {
    auto* exec = std::get_if<graph::Exec>(&step.op);
    if (exec == nullptr) continue;
    std::vector<std::string> forbidden;
    for (graph::Device& device : exec->devices) {
      if (auto alias = grants.by_alias.find(device.name); alias != grants.by_alias.end()) {
        device.name = alias->second;
        continue;
      }
      for (const std::string& name : devices.Find(device.name)) {
        if (!allowed.contains(name) && !IsForEverybody(rules, name, known.at(name))) forbidden.push_back(name);
      }
    }
    if (forbidden.empty()) continue;
    const bool one = forbidden.size() == 1;
    Error error = Invalid("device{} {} {} requested by the build but not allowed", one ? "" : "s",
                          Join(forbidden, ", "), one ? "is" : "are");
    error.hint = fmt::format("pass --allow device={}", forbidden[0]);
    return error;
  }
  return Ok();
}

Status GrantDevices(graph::Graph& graph, const std::vector<std::string>& granted, const DeviceRules& rules) {
  const bool asked = std::ranges::any_of(graph.steps, [](const graph::Step& step) {
    const auto* exec = std::get_if<graph::Exec>(&step.op);
    return exec != nullptr && !exec->devices.empty();
  });
  if (!asked) return Ok();
  return GrantDevices(graph, granted, rules, sandbox::CdiRegistry::Load(sandbox::CdiDirectories()));
}

void FillDevices(const DeviceRules& rules, const sandbox::CdiRegistry& devices,
                 moby::buildkit::v1::types::WorkerRecord& worker) {
  for (const auto& [name, annotations] : devices.List()) {
    auto& device = *worker.add_cdi_devices();
    device.set_name(name);
    device.set_auto_allow(IsForEverybody(rules, name, annotations));
    device.mutable_annotations()->insert(annotations.begin(), annotations.end());
  }
}

}  // namespace varve::daemon
