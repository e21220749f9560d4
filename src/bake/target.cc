#include "bake/target.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::bake {

namespace {

void Unique(std::optional<Strings>& list) {
  if (!list) return;
  Strings kept;
  for (std::string& item : *list) {
    if (!item.empty() && std::ranges::find(kept, item) == kept.end()) kept.push_back(std::move(item));
  }
  list = std::move(kept);
}

template <class T>
void Append(std::optional<T>& list, const std::optional<T>& more) {
  if (!more) return;
  if (!list) list.emplace();
  list->insert(list->end(), more->begin(), more->end());
}

template <class T>
void Replace(std::optional<T>& value, const std::optional<T>& other) {
  if (other) value = other;
}

void MergeMap(NullableMap& map, const NullableMap& upper) {
  for (const auto& [key, value] : upper) {
    if (value) map[key] = value;
  }
}

std::string Escaped(const std::string& text) { return ReplaceAll(ReplaceAll(text, "${", "$${"), "%{", "%%{"); }

Json MapJson(const NullableMap& map) {
  Json json = Json::EmptyObject();
  for (const auto& [key, value] : map) json.Set(key, value ? Json(Escaped(*value)) : Json());
  return json;
}

Json MapJson(const std::map<std::string, std::string>& map) {
  Json json = Json::EmptyObject();
  for (const auto& [key, value] : map) json.Set(key, value);
  return json;
}

// --push: images are pushed, and where nothing is said about an image there is one more.
void SetPush(std::optional<Entries>& output, bool push) {
  Entries kept;
  bool docker_only = true;
  if (!output) output.emplace();
  for (Entry& entry : *output) {
    const std::string type = entry.Get("type");
    if (type != "docker") docker_only = false;
    if (type == "registry" && !push) continue;
    if (type == "image") entry.fields["push"] = push ? "true" : "false";
    kept.push_back(std::move(entry));
  }
  if (push && docker_only) kept.push_back({.fields = {{"type", "image"}, {"push", "true"}}});
  output = std::move(kept);
}

void SetLoad(std::optional<Entries>& output, bool load) {
  if (!load) return;
  if (!output) output.emplace();
  for (const Entry& entry : *output) {
    const std::string type = entry.Get("type");
    // It is loaded already, or its files are what somebody wants.
    if (type == "docker" && entry.Get("dest").empty()) return;
    if (type != "image" && type != "registry" && type != "oci" && type != "docker") return;
  }
  output->push_back({.fields = {{"type", "docker"}}});
}

Result<Entries> ParseAll(EntryKind kind, const Strings& values) {
  Entries all;
  for (const std::string& value : values) {
    if (value.empty()) continue;
    TRY_ASSIGN(Entries entries, ParseEntries(kind, value));
    all.insert(all.end(), entries.begin(), entries.end());
  }
  return all;
}

Result<bool> BoolOf(const Override& o) {
  if (auto value = ParseBool(o.value)) return *value;
  return Invalid("invalid value {} for boolean key {}", o.value, o.key);
}

}  // namespace

const Strings& TargetAttributes() {
  static const Strings names = {"annotations",
                                "args",
                                "attest",
                                "cache-from",
                                "cache-to",
                                "call",
                                "context",
                                "contexts",
                                "description",
                                "dockerfile",
                                "dockerfile-inline",
                                "entitlements",
                                "extra-hosts",
                                "inherits",
                                "labels",
                                "matrix",
                                "name",
                                "network",
                                "no-cache",
                                "no-cache-filter",
                                "output",
                                "platforms",
                                "policy",
                                "pull",
                                "resources",
                                "secret",
                                "shm-size",
                                "ssh",
                                "tags",
                                "target",
                                "ulimits"};
  return names;
}

const Strings& ResourceNames() {
  static const Strings names = {"memory",    "memory-swap", "cpu-shares", "cpu-period",
                                "cpu-quota", "cpuset-cpus", "cpuset-mems"};
  return names;
}

void Target::Merge(const Target& upper) {
  Replace(context, upper.context);
  if (upper.context) context_base = upper.context_base;
  Replace(dockerfile, upper.dockerfile);
  Replace(dockerfile_inline, upper.dockerfile_inline);
  MergeMap(args, upper.args);
  MergeMap(labels, upper.labels);
  MergeMap(extra_hosts, upper.extra_hosts);
  for (const auto& [key, value] : upper.contexts) {
    contexts[key] = value;
    contexts_base.erase(key);
    if (auto base = upper.contexts_base.find(key); base != upper.contexts_base.end()) contexts_base[key] = base->second;
  }
  Replace(tags, upper.tags);
  Replace(target, upper.target);
  Replace(call, upper.call);
  Append(annotations, upper.annotations);
  auto merge = [](EntryKind kind, std::optional<Entries>& list, const std::optional<Entries>& more) {
    Append(list, more);
    if (more) list = WithoutDuplicates(kind, *list);
  };
  merge(EntryKind::kAttest, attest, upper.attest);
  Append(policy, upper.policy);
  merge(EntryKind::kSecret, secret, upper.secret);
  merge(EntryKind::kSsh, ssh, upper.ssh);
  Replace(platforms, upper.platforms);
  merge(EntryKind::kCache, cache_from, upper.cache_from);
  Replace(cache_to, upper.cache_to);
  Replace(output, upper.output);
  Replace(pull, upper.pull);
  Replace(no_cache, upper.no_cache);
  Replace(network, upper.network);
  Append(no_cache_filter, upper.no_cache_filter);
  Replace(shm_size, upper.shm_size);
  Append(ulimits, upper.ulimits);
  for (const auto& [key, value] : upper.resources) resources[key] = value;
  if (!upper.description.empty()) description = upper.description;
  Append(entitlements, upper.entitlements);
  inherits.insert(inherits.end(), upper.inherits.begin(), upper.inherits.end());
}

void Target::Normalise() {
  for (auto* list : {&annotations, &tags, &platforms, &no_cache_filter, &ulimits}) Unique(*list);
  for (auto [kind, list] : {std::pair{EntryKind::kAttest, &attest},
                            {EntryKind::kCache, &cache_from},
                            {EntryKind::kCache, &cache_to},
                            {EntryKind::kSecret, &secret},
                            {EntryKind::kSsh, &ssh},
                            {EntryKind::kOutput, &output}}) {
    if (*list) *list = WithoutDuplicates(kind, **list);
  }
  if (network == "host") Append(entitlements, std::optional(Strings{"network.host"}));
  Unique(entitlements);
  std::erase_if(contexts, [](const auto& named) { return named.second.empty(); });
}

Status Target::Apply(const std::vector<Override>& overrides) {
  // --push and --load are about outputs, whatever order they were said in.
  std::vector<const Override*> ordered;
  for (const Override& o : overrides) ordered.push_back(&o);
  auto rank = [](const Override* o) {
    return o->key == "push" ? 1 : o->key == "load" ? 2 : o->key.starts_with("secret.") ? 3 : 0;
  };
  std::ranges::stable_sort(ordered, {}, rank);
  for (const Override* at : ordered) {
    const Override& o = *at;
    size_t dot = o.key.find('.');
    const std::string key = o.key.substr(0, dot);
    const std::string sub = dot == o.key.npos ? "" : o.key.substr(dot + 1);
    auto list = [&](std::optional<Strings>& to, bool append) {
      if (append) {
        Append(to, std::optional(o.values));
      } else {
        to = o.values;
      }
    };
    auto entries = [&](EntryKind kind, std::optional<Entries>& to, bool append) -> Status {
      TRY_ASSIGN(Entries all, ParseAll(kind, o.values));
      if (append) {
        Append(to, std::optional(all));
        to = WithoutDuplicates(kind, *to);
      } else {
        to = std::move(all);
      }
      return Ok();
    };
    auto named = [&]() -> Status {
      if (!sub.empty()) return Ok();
      return Invalid("invalid format for {0}, expecting {0}.<name>=<value>", key);
    };
    if (key == "context") context = o.value, context_base.reset();
    else if (key == "dockerfile") dockerfile = o.value;
    else if (key == "target") target = o.value;
    else if (key == "call") call = o.value;
    else if (key == "shm-size") shm_size = o.value;
    else if (key == "network") network = o.value;
    else if (key == "args") {
      TRY(named());
      args[sub] = o.value;
    } else if (key == "labels") {
      TRY(named());
      labels[sub] = o.value;
    } else if (key == "extra-hosts") {
      TRY(named());
      extra_hosts[sub] = o.value;
    } else if (key == "contexts") {
      TRY(named());
      contexts[sub] = o.value;
      contexts_base.erase(sub);
    } else if (key == "resources") {
      TRY(named());
      if (std::ranges::find(ResourceNames(), sub) == ResourceNames().end())
        return Invalid("unknown resource \"{}\": use {}", sub, Join(ResourceNames(), ", "));
      resources[sub] = o.value;
    } else if (key == "tags") list(tags, o.append);
    else if (key == "platform") list(platforms, o.append);
    else if (key == "annotations") list(annotations, true);
    else if (key == "entitlements") list(entitlements, true);
    else if (key == "no-cache-filter") list(no_cache_filter, o.append);
    else if (key == "ulimits") list(ulimits, o.append);
    else if (key == "cache-from") TRY(entries(EntryKind::kCache, cache_from, o.append));
    else if (key == "cache-to") TRY(entries(EntryKind::kCache, cache_to, o.append));
    else if (key == "output") TRY(entries(EntryKind::kOutput, output, o.append));
    else if (key == "attest") TRY(entries(EntryKind::kAttest, attest, true));
    else if (key == "ssh") TRY(entries(EntryKind::kSsh, ssh, o.append));
    else if (key == "secrets") TRY(entries(EntryKind::kSecret, secret, o.append));
    else if (key == "policy") TRY(entries(EntryKind::kPolicy, policy, o.append));
    else if (key == "secret") {
      TRY(named());
      auto found = secret ? std::ranges::find_if(*secret, [&](const Entry& e) { return e.Get("id") == sub; })
                          : Entries::iterator();
      if (!secret || found == secret->end())
        return Invalid("secret \"{}\" must be declared before it can be overridden", sub);
      TRY_ASSIGN(Entries next, ParseEntries(EntryKind::kSecret, o.value));
      if (!next[0].Get("id").empty() && next[0].Get("id") != sub)
        return Invalid("secret override id \"{}\" does not match declared secret \"{}\"", next[0].Get("id"), sub);
      next[0].fields["id"] = sub;
      *found = std::move(next[0]);
    } else if (key == "no-cache") {
      TRY_ASSIGN(no_cache, BoolOf(o));
    } else if (key == "pull") {
      TRY_ASSIGN(pull, BoolOf(o));
    } else if (key == "push") {
      TRY_ASSIGN(bool push, BoolOf(o));
      SetPush(output, push);
    } else if (key == "load") {
      TRY_ASSIGN(bool load, BoolOf(o));
      SetLoad(output, load);
    } else {
      Error error = Invalid("unknown key: {}", key);
      static const std::vector<std::string_view> known = {
          "annotations", "args",     "attest",     "cache-from",      "cache-to",    "call",
          "context",     "contexts", "dockerfile", "entitlements",    "extra-hosts", "labels",
          "load",        "network",  "no-cache",   "no-cache-filter", "output",      "platform",
          "policy",      "pull",     "push",       "resources",       "secret",      "secrets",
          "shm-size",    "ssh",      "tags",       "target",          "ulimits"};
      if (auto near = NearestWord(key, known)) error.hint = fmt::format("did you mean {}?", *near);
      return error;
    }
  }
  return Ok();
}

Json Target::ToJson() const {
  Json json = Json::EmptyObject();
  auto strings = [&](const char* key, const std::optional<Strings>& list) {
    if (list && !list->empty()) json.Set(key, Json::Strings(*list));
  };
  auto text = [&](const char* key, const std::optional<std::string>& value) {
    if (value) json.Set(key, *value);
  };
  auto entries = [&](const char* key, EntryKind kind, const std::optional<Entries>& list) {
    if (!list || list->empty()) return;
    Json array = Json::EmptyArray();
    for (const Entry& entry : *list) array.Append(EntryJson(kind, entry));
    json.Set(key, std::move(array));
  };
  json.SetIf(!description.empty(), "description", description);
  if (annotations && !annotations->empty()) {
    Strings escaped;
    for (const std::string& annotation : *annotations) escaped.push_back(Escaped(annotation));
    json.Set("annotations", Json::Strings(escaped));
  }
  entries("attest", EntryKind::kAttest, attest);
  text("context", context);
  json.SetIf(!contexts.empty(), "contexts", MapJson(contexts));
  text("dockerfile", dockerfile);
  if (dockerfile_inline) json.Set("dockerfile-inline", Escaped(*dockerfile_inline));
  json.SetIf(!args.empty(), "args", MapJson(args));
  json.SetIf(!labels.empty(), "labels", MapJson(labels));
  strings("tags", tags);
  entries("cache-from", EntryKind::kCache, cache_from);
  entries("cache-to", EntryKind::kCache, cache_to);
  text("target", target);
  entries("secret", EntryKind::kSecret, secret);
  entries("ssh", EntryKind::kSsh, ssh);
  strings("platforms", platforms);
  entries("output", EntryKind::kOutput, output);
  if (pull) json.Set("pull", *pull);
  if (no_cache) json.Set("no-cache", *no_cache);
  text("network", network);
  strings("no-cache-filter", no_cache_filter);
  text("shm-size", shm_size);
  strings("ulimits", ulimits);
  json.SetIf(!resources.empty(), "resources", MapJson(resources));
  text("call", call);
  strings("entitlements", entitlements);
  json.SetIf(!extra_hosts.empty(), "extra-hosts", MapJson(extra_hosts));
  entries("policy", EntryKind::kPolicy, policy);
  return json;
}

}  // namespace varve::bake
