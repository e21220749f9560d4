#include "compose/canonical.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <span>

#include "base/strings.h"

namespace varve::compose {

namespace {

// compose-go, schema/compose-spec.json.
constexpr std::string_view kTopKeys[] = {"version",  "name",    "include", "services", "models",
                                         "networks", "volumes", "secrets", "configs"};
constexpr std::string_view kServiceKeys[] = {"annotations",
                                             "attach",
                                             "blkio_config",
                                             "build",
                                             "cap_add",
                                             "cap_drop",
                                             "cgroup",
                                             "cgroup_parent",
                                             "command",
                                             "configs",
                                             "container_name",
                                             "cpu_count",
                                             "cpu_percent",
                                             "cpu_period",
                                             "cpu_quota",
                                             "cpu_rt_period",
                                             "cpu_rt_runtime",
                                             "cpu_shares",
                                             "cpus",
                                             "cpuset",
                                             "credential_spec",
                                             "depends_on",
                                             "deploy",
                                             "develop",
                                             "device_cgroup_rules",
                                             "devices",
                                             "dns",
                                             "dns_opt",
                                             "dns_search",
                                             "domainname",
                                             "entrypoint",
                                             "env_file",
                                             "environment",
                                             "expose",
                                             "extends",
                                             "external_links",
                                             "extra_hosts",
                                             "gpus",
                                             "group_add",
                                             "healthcheck",
                                             "hostname",
                                             "image",
                                             "init",
                                             "ipc",
                                             "isolation",
                                             "label_file",
                                             "labels",
                                             "links",
                                             "logging",
                                             "mac_address",
                                             "mem_limit",
                                             "mem_reservation",
                                             "mem_swappiness",
                                             "memswap_limit",
                                             "models",
                                             "network_mode",
                                             "networks",
                                             "oom_kill_disable",
                                             "oom_score_adj",
                                             "pid",
                                             "pids_limit",
                                             "platform",
                                             "ports",
                                             "post_start",
                                             "pre_start",
                                             "pre_stop",
                                             "privileged",
                                             "profiles",
                                             "provider",
                                             "pull_policy",
                                             "pull_refresh_after",
                                             "read_only",
                                             "restart",
                                             "runtime",
                                             "scale",
                                             "secrets",
                                             "security_opt",
                                             "shm_size",
                                             "stdin_open",
                                             "stop_grace_period",
                                             "stop_signal",
                                             "storage_opt",
                                             "sysctls",
                                             "tmpfs",
                                             "tty",
                                             "ulimits",
                                             "use_api_socket",
                                             "user",
                                             "userns_mode",
                                             "uts",
                                             "volumes",
                                             "volumes_from",
                                             "working_dir"};
constexpr std::string_view kBuildKeys[] = {"additional_contexts",
                                           "args",
                                           "cache_from",
                                           "cache_to",
                                           "context",
                                           "dockerfile",
                                           "dockerfile_inline",
                                           "entitlements",
                                           "extra_hosts",
                                           "isolation",
                                           "labels",
                                           "network",
                                           "no_cache",
                                           "no_cache_filter",
                                           "platforms",
                                           "privileged",
                                           "provenance",
                                           "pull",
                                           "sbom",
                                           "secrets",
                                           "shm_size",
                                           "ssh",
                                           "tags",
                                           "target",
                                           "ulimits"};

Status CheckKeys(const Node& mapping, std::string_view what, std::span<const std::string_view> known) {
  for (const Node::Member& member : mapping.members) {
    if (member.key.starts_with("x-")) continue;
    if (std::ranges::find(known, member.key) != known.end()) continue;
    Error error = ErrorAt(member.place, fmt::format("{} has no key \"{}\"", what, member.key));
    auto near = NearestWord(member.key, known);
    error.hint = near ? fmt::format("did you mean {}?", *near) : "keys of your own begin with x-";
    return error;
  }
  return Ok();
}

Status WantMapping(const Node& node, std::string_view what) {
  if (node.is_mapping()) return Ok();
  return ErrorAt(node.place, fmt::format("{} must be a mapping", what));
}

Status WantScalar(const Node& node, std::string_view what) {
  if (node.is_scalar()) return Ok();
  return ErrorAt(node.place, fmt::format("{} must be a single value", what));
}

// "NAME=VALUE" items as a mapping; an item without "=" has no value.
Status ListToMapping(Node& node, std::string_view what) {
  if (node.is_null()) node = Node::Mapping(node.place);
  if (node.is_mapping()) {
    for (Node::Member& member : node.members) {
      if (!member.value.is_scalar()) {
        return ErrorAt(member.place, fmt::format("{}.{} must be a single value", what, member.key));
      }
      if (!member.value.is_null()) member.value.scalar = member.value.Text();
    }
    return Ok();
  }
  if (!node.is_sequence()) {
    return ErrorAt(node.place, fmt::format("{} must be a mapping or a list of NAME=VALUE", what));
  }
  Node mapping = Node::Mapping(node.place);
  mapping.tag = node.tag;
  for (const Node& item : node.items) {
    TRY(WantScalar(item, fmt::format("an item of {}", what)));
    std::string text = item.Text();
    size_t eq = text.find('=');
    mapping.Set(text.substr(0, eq),
                eq == text.npos ? Node::Null(item.place) : Node::String(text.substr(eq + 1), item.place));
  }
  node = std::move(mapping);
  return Ok();
}

// Names to lists of addresses; the separator of a list item is "=", else the first ":".
Status HostsToMapping(Node& node) {
  Node mapping = Node::Mapping(node.place);
  mapping.tag = node.tag;
  auto add = [&](const std::string& host, const std::string& addresses, const Place& place) {
    Node* list = mapping.Find(host);
    if (list == nullptr) list = &mapping.Set(host, Node::Sequence(place));
    for (std::string address : Split(addresses, ',')) {
      if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
      bool known = std::ranges::any_of(list->items, [&](const Node& n) { return n.Text() == address; });
      if (!known) list->items.push_back(Node::String(std::move(address), place));
    }
  };
  for (const Node& item : node.items) {
    std::string text = item.Text();
    size_t at = text.find('=');
    if (at == text.npos) at = text.find(':');
    if (at == text.npos || at == 0) {
      return ErrorAt(item.place, fmt::format("extra_hosts \"{}\": HOST=IP expected", text));
    }
    add(text.substr(0, at), text.substr(at + 1), item.place);
  }
  for (const Node::Member& member : node.members) {
    if (member.value.is_scalar()) add(member.key, member.value.Text(), member.place);
    for (const Node& item : member.value.items) add(member.key, item.Text(), item.place);
  }
  node = std::move(mapping);
  return Ok();
}

// Nothing is an empty list; compose-go's schema takes no text where only lists stand.
Status WantList(Node& node, std::string_view what) {
  if (node.is_null()) {
    Node list = Node::Sequence(node.place);
    list.tag = node.tag;
    node = std::move(list);
  }
  if (node.is_sequence()) return Ok();
  Error error = ErrorAt(node.place, fmt::format("{} must be a list", what));
  if (node.is_scalar()) error.hint = fmt::format("write [{}]", node.Text());
  return error;
}

Status StringToList(Node& node, std::string_view what) {
  if (node.is_sequence()) return Ok();
  if (node.is_mapping()) return ErrorAt(node.place, fmt::format("{} must be a list", what));
  Node list = Node::Sequence(node.place);
  list.tag = node.tag;
  if (!node.is_null()) {
    Node item = std::move(node);
    item.tag = Node::Tag::kNone;
    list.items.push_back(std::move(item));
  }
  node = std::move(list);
  return Ok();
}

Status SecretsToMappings(Node& node) {
  TRY(StringToList(node, "secrets"));
  static constexpr std::string_view kKeys[] = {"source", "target", "uid", "gid", "mode"};
  for (Node& item : node.items) {
    if (item.is_scalar()) {
      Node mapping = Node::Mapping(item.place);
      mapping.Set("source", Node::String(item.Text(), item.place));
      item = std::move(mapping);
    }
    TRY(WantMapping(item, "a secret"));
    TRY(CheckKeys(item, "a service's secret", kKeys));
    if (item.Find("source") == nullptr) return ErrorAt(item.place, "a service's secret needs a source");
    // As docker compose writes it: the octal digits as a text.
    if (Node* mode = item.Find("mode"); mode != nullptr && mode->is_scalar() && mode->scalar.is_int())
      mode->scalar = fmt::format("0{:o}", mode->scalar.as_int());
  }
  return Ok();
}

Status UlimitsOf(Node& node) {
  TRY(WantMapping(node, "ulimits"));
  static constexpr std::string_view kKeys[] = {"soft", "hard"};
  for (Node::Member& member : node.members) {
    if (member.value.is_scalar()) continue;
    TRY(WantMapping(member.value, "a limit"));
    TRY(CheckKeys(member.value, "a limit", kKeys));
    if (!member.value.Find("soft") || !member.value.Find("hard")) {
      return ErrorAt(member.value.place, fmt::format("ulimits.{} needs soft and hard", member.key));
    }
  }
  return Ok();
}

void ResolveIn(Node& node, const std::string& directory) {
  if (node.is_string()) node.scalar = ResolvePath(node.scalar.as_string(), directory);
}

Status CanonicalizeBuild(const std::string& service, Node& build, const std::string& directory) {
  if (build.is_scalar()) {
    Node mapping = Node::Mapping(build.place);
    mapping.tag = build.tag;
    build.tag = Node::Tag::kNone;
    if (!build.is_null()) mapping.Set("context", Node::String(build.Text(), build.place));
    build = std::move(mapping);
  }
  TRY(WantMapping(build, fmt::format("build of service {}", service)));
  TRY(CheckKeys(build, fmt::format("build of service {}", service), kBuildKeys));
  for (Node::Member& member : build.members) {
    Node& value = member.value;
    const std::string& key = member.key;
    if (value.tag == Node::Tag::kReset) continue;
    if (key == "args" || key == "labels" || key == "additional_contexts" || key == "ssh") {
      TRY(ListToMapping(value, "build." + key));
    } else if (key == "extra_hosts") {
      TRY(HostsToMapping(value));
    } else if (key == "secrets") {
      TRY(SecretsToMappings(value));
    } else if (key == "ulimits") {
      TRY(UlimitsOf(value));
    } else if (key == "tags" || key == "platforms" || key == "cache_from" || key == "cache_to" ||
               key == "entitlements") {
      TRY(WantList(value, "build." + key));
    } else if (key == "no_cache_filter") {
      TRY(StringToList(value, "build." + key));
    } else if (!key.starts_with("x-")) {
      TRY(WantScalar(value, "build." + key));
    }
    if (key == "context") ResolveIn(value, directory);
    if (key == "additional_contexts") {
      for (Node::Member& context : value.members) ResolveIn(context.value, directory);
    }
    if (key == "ssh") {
      for (Node::Member& agent : value.members) {
        if (agent.value.is_null() && agent.key != "default") {
          return ErrorAt(agent.place, fmt::format("build.ssh \"{}\": default or ID=PATH expected", agent.key));
        }
        if (!agent.value.Text().empty()) ResolveIn(agent.value, directory);
      }
    }
  }
  return Ok();
}

// The folders of bind mounts: [SOURCE:]TARGET[:MODE], where a source that is no path is a volume's name.
void ResolveVolumes(Node& volumes, const std::string& directory) {
  for (Node& item : volumes.items) {
    if (Node* source = item.Find("source")) {
      const Node* type = item.Find("type");
      if (type != nullptr && type->Text() == "bind") ResolveIn(*source, directory);
    } else if (item.is_string()) {
      const std::string text = item.scalar.as_string();
      size_t colon = text.find(':');
      bool path = text.starts_with('.') || text.starts_with("~");
      if (path && colon != text.npos) {
        item.scalar = ResolvePath(text.substr(0, colon), directory) + text.substr(colon);
      }
    }
  }
}

Status CanonicalizeDependsOn(Node& node) {
  if (node.is_mapping() || node.tag == Node::Tag::kReset) return Ok();
  TRY(StringToList(node, "depends_on"));
  Node mapping = Node::Mapping(node.place);
  mapping.tag = node.tag;
  for (const Node& item : node.items) {
    Node condition = Node::Mapping(item.place);
    condition.Set("condition", Node::String("service_started", item.place));
    condition.Set("required", Node{.scalar = true, .place = item.place});
    mapping.Set(item.Text(), std::move(condition));
  }
  node = std::move(mapping);
  return Ok();
}

// Items of `list` with the same key as a later one go; the later one takes the place.
void KeepLast(Node& list, const std::function<std::string(const Node&)>& key_of) {
  std::vector<Node> kept;
  for (Node& item : list.items) {
    std::string key = key_of(item);
    auto same = std::ranges::find_if(kept, [&](const Node& other) { return key_of(other) == key; });
    if (key.empty() || same == kept.end()) {
      kept.push_back(std::move(item));
    } else {
      *same = std::move(item);
    }
  }
  list.items = std::move(kept);
}

std::string WholeItem(const Node& item) { return item.ToJson().DumpCanonical(); }

std::string TargetOf(const Node& item) {
  if (item.is_mapping()) {
    for (const char* key : {"target", "source"}) {
      if (const Node* found = item.Find(key)) return found->Text();
    }
    return "";
  }
  return item.Text();
}

// [SOURCE:]TARGET[:MODE]
std::string VolumeTarget(const Node& item) {
  if (item.is_mapping()) return item.Find("target") ? item.Find("target")->Text() : "";
  auto parts = Split(item.Text(), ':');
  return parts.size() == 1 ? parts[0] : parts[1];
}

std::string PathOfEnvFile(const Node& item) {
  return item.is_mapping() && item.Find("path") ? item.Find("path")->Text() : item.Text();
}

// The sequences of a service whose items have keys (A10).
void Unique(Node& service) {
  auto apply = [](Node& in, std::string_view key, const std::function<std::string(const Node&)>& of) {
    if (Node* list = in.Find(key); list != nullptr && list->is_sequence()) KeepLast(*list, of);
  };
  apply(service, "volumes", VolumeTarget);
  apply(service, "secrets", TargetOf);
  apply(service, "configs", TargetOf);
  apply(service, "env_file", PathOfEnvFile);
  for (const char* key : {"ports", "profiles", "expose", "cap_add", "cap_drop", "dns", "dns_opt", "dns_search",
                          "devices", "security_opt", "tmpfs"}) {
    apply(service, key, WholeItem);
  }
  if (Node* build = service.Find("build"); build != nullptr && build->is_mapping()) {
    apply(*build, "secrets", TargetOf);
    for (const char* key : {"tags", "cache_from", "cache_to", "entitlements", "no_cache_filter"}) {
      apply(*build, key, WholeItem);
    }
  }
}

void MergeNode(Node& lower, const Node& upper, const std::string& path) {
  if (upper.tag == Node::Tag::kOverride || lower.kind != upper.kind || lower.is_scalar()) {
    // A value that says nothing leaves what is there.
    if (upper.is_null() && !lower.is_null() && upper.tag == Node::Tag::kNone) return;
    lower = upper;
    return;
  }
  if (upper.is_sequence()) {
    static constexpr std::string_view kReplaced[] = {"command", "entrypoint", "healthcheck.test"};
    if (std::ranges::find(kReplaced, path) != std::end(kReplaced)) {
      lower = upper;
      return;
    }
    lower.items.insert(lower.items.end(), upper.items.begin(), upper.items.end());
    return;
  }
  if (path == "logging") {
    const Node *ours = lower.Find("driver"), *theirs = upper.Find("driver");
    if (ours != nullptr && theirs != nullptr && ours->Text() != theirs->Text()) {
      lower = upper;
      return;
    }
  }
  const bool whole = path == "ulimits" || path == "build.ulimits";
  for (const Node::Member& member : upper.members) {
    Node* below = lower.Find(member.key);
    if (member.value.tag == Node::Tag::kReset) {
      lower.Erase(member.key);
    } else if (below == nullptr) {
      lower.members.push_back(member);
    } else if (whole) {
      *below = member.value;
    } else {
      MergeNode(*below, member.value, path.empty() ? member.key : path + "." + member.key);
    }
  }
}

}  // namespace

std::string ResolvePath(const std::string& path, const std::string& directory) {
  if (path.find("://") != path.npos) return path;
  for (std::string_view prefix : {"service:", "target:", "github.com/", "git@"}) {
    if (path.starts_with(prefix)) return path;
  }
  std::filesystem::path whole(path);
  if (path == "~" || path.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    whole = std::string(home ? home : "") + path.substr(1);
  }
  if (whole.is_relative()) whole = std::filesystem::path(directory) / whole;
  std::string normal = whole.lexically_normal().string();
  while (normal.size() > 1 && normal.ends_with('/')) normal.pop_back();
  return normal;
}

Status CanonicalizeService(const std::string& name, Node& service, const std::string& directory) {
  if (service.is_null()) service = Node::Mapping(service.place);
  TRY(WantMapping(service, fmt::format("service {}", name)));
  TRY(CheckKeys(service, fmt::format("service {}", name), kServiceKeys));
  for (Node::Member& member : service.members) {
    Node& value = member.value;
    const std::string& key = member.key;
    if (value.tag == Node::Tag::kReset) continue;
    if (key == "build") {
      TRY(CanonicalizeBuild(name, value, directory));
    } else if (key == "environment" || key == "labels" || key == "annotations" || key == "sysctls") {
      TRY(ListToMapping(value, key));
    } else if (key == "extra_hosts") {
      TRY(HostsToMapping(value));
    } else if (key == "depends_on") {
      TRY(CanonicalizeDependsOn(value));
    } else if (key == "volumes") {
      ResolveVolumes(value, directory);
    } else if (key == "networks" && value.is_sequence()) {
      TRY(ListToMapping(value, key));
    } else if (key == "secrets" || key == "configs") {
      TRY(SecretsToMappings(value));
    } else if (key == "ulimits") {
      TRY(UlimitsOf(value));
    } else if (key == "env_file") {
      TRY(StringToList(value, key));
      for (Node& item : value.items) {
        if (Node* path = item.is_mapping() ? item.Find("path") : &item) ResolveIn(*path, directory);
      }
    } else if (key == "profiles") {
      TRY(WantList(value, key));
    } else if (key == "dns" || key == "dns_search" || key == "tmpfs") {
      TRY(StringToList(value, key));
    } else if (key == "image" || key == "platform" || key == "pull_policy") {
      TRY(WantScalar(value, key));
    }
  }
  Unique(service);
  return Ok();
}

Status Canonicalize(Node& file, const std::string& directory) {
  TRY(WantMapping(file, "a Compose file"));
  TRY(CheckKeys(file, "a Compose file", kTopKeys));
  if (Node* services = file.Find("services"); services != nullptr && !services->is_null()) {
    TRY(WantMapping(*services, "services"));
    for (Node::Member& member : services->members) {
      if (member.key.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                       "._-") != member.key.npos) {
        if (member.key.starts_with("x-")) continue;
        return ErrorAt(member.place, fmt::format("\"{}\" is no name of a service", member.key));
      }
      if (member.value.tag == Node::Tag::kReset) continue;
      TRY(CanonicalizeService(member.key, member.value, directory));
    }
  }
  for (const char* kind : {"secrets", "configs", "networks", "volumes"}) {
    Node* all = file.Find(kind);
    if (all == nullptr || all->is_null()) continue;
    TRY(WantMapping(*all, kind));
    for (Node::Member& member : all->members) {
      if (member.value.is_null()) continue;
      TRY(WantMapping(member.value, fmt::format("{}.{}", kind, member.key)));
      if (Node* path = member.value.Find("file")) ResolveIn(*path, directory);
    }
  }
  return Ok();
}

void MergeService(Node& lower, const Node& upper) {
  MergeNode(lower, upper, "");
  Unique(lower);
}

void Merge(Node& lower, const Node& upper) {
  for (const Node::Member& member : upper.members) {
    Node* below = lower.Find(member.key);
    if (member.value.tag == Node::Tag::kReset) {
      lower.Erase(member.key);
    } else if (below == nullptr) {
      lower.members.push_back(member);
    } else if (member.key == "services" && below->is_mapping() && member.value.is_mapping() &&
               member.value.tag == Node::Tag::kNone) {
      for (const Node::Member& service : member.value.members) {
        Node* known = below->Find(service.key);
        if (service.value.tag == Node::Tag::kReset) {
          below->Erase(service.key);
        } else if (known == nullptr) {
          below->members.push_back(service);
        } else {
          MergeService(*known, service.value);
        }
      }
    } else {
      MergeNode(*below, member.value, member.key);
    }
  }
}

void DropResets(Node& node) {
  std::erase_if(node.members, [](const Node::Member& m) { return m.value.tag == Node::Tag::kReset; });
  std::erase_if(node.items, [](const Node& item) { return item.tag == Node::Tag::kReset; });
  node.tag = Node::Tag::kNone;
  for (Node& item : node.items) DropResets(item);
  for (Node::Member& member : node.members) DropResets(member.value);
}

}  // namespace varve::compose
