// CanonicalOp and Dump: operations as JSON.
//
// What CanonicalOp emits is hashed into every key: a change of it loses every user's cache. The
// golden test (canonical_test.cc) pins it; change it together with engine::kKeySchema.
#include "graph/graph.h"
#include "graph/reads.h"
#include "graph/source_url.h"

namespace varve::graph {

namespace {

constexpr std::string_view kMountTypes[] = {"bind", "cache", "tmpfs", "secret", "ssh"};
constexpr std::string_view kNetworks[] = {"default", "none", "host"};

// Cache mounts: their id and sharing decide no result (reference dockerfile.md §4.1), so a renamed
// id does not miss. Secrets: the id counts, the value never appears anywhere (invariant I6). The
// content of bind mounts is in the selections.
Json CanonicalMount(const Mount& mount) {
  Json json;
  json.Set("type", kMountTypes[static_cast<int>(mount.type)]);
  json.Set("target", mount.target);
  json.SetIf(mount.input >= 0, "input", mount.input);
  json.SetIf(mount.readonly, "readonly", true);
  json.SetIf(mount.output >= 0, "output", mount.output);
  json.SetIf(mount.tmpfs_size != 0, "size", mount.tmpfs_size);
  json.SetIf(!mount.secret_id.empty(), "id", mount.secret_id);
  json.SetIf(!mount.env_name.empty(), "env", mount.env_name);
  json.SetIf(mount.uid != 0, "uid", mount.uid);
  json.SetIf(mount.gid != 0, "gid", mount.gid);
  json.SetIf(mount.mode != 0, "mode", mount.mode);
  return json;
}

Json CanonicalExec(const Exec& exec) {
  Json json;
  json.Set("args", Json::Strings(exec.args));
  json.Set("env", Json::Strings(exec.env));
  json.Set("cwd", exec.cwd);
  json.SetIf(!exec.user.empty(), "user", exec.user);
  json.SetIf(!exec.hostname.empty(), "hostname", exec.hostname);
  json.SetIf(exec.network != NetworkMode::kDefault, "network", kNetworks[static_cast<int>(exec.network)]);
  json.SetIf(exec.security == SecurityMode::kInsecure, "security", "insecure");
  json.SetIf(exec.shm_size != 0, "shm_size", exec.shm_size);
  std::vector<std::string> devices;
  for (const Device& device : exec.devices) devices.push_back(device.name);
  json.SetIf(!devices.empty(), "devices", Json::Strings(devices));
  // Host names only: an address may differ from machine to machine for the same service
  // (BuildKit clears them too, reference cache.md §7).
  Json hosts = Json::EmptyArray();
  for (const auto& [host, ip] : exec.extra_hosts) hosts.Append(host);
  json.SetIf(!exec.extra_hosts.empty(), "extra_hosts", hosts);
  Json ulimits = Json::EmptyArray();
  for (const Ulimit& u : exec.ulimits) {
    ulimits.Append(Json().Append(u.name).Append(u.soft).Append(u.hard));
  }
  json.SetIf(!exec.ulimits.empty(), "ulimits", ulimits);
  Json codes = Json::EmptyArray();
  for (int code : exec.valid_exit_codes) codes.Append(code);
  json.SetIf(!exec.valid_exit_codes.empty(), "valid_exit_codes", codes);
  Json mounts = Json::EmptyArray();
  for (const Mount& mount : exec.mounts) mounts.Append(CanonicalMount(mount));
  return json.Set("mounts", mounts);
}

void SetOwner(Json& json, const Owner& owner) {
  json.SetIf(!owner.user.empty(), "user", owner.user);
  json.SetIf(!owner.group.empty(), "group", owner.group);
  json.SetIf(owner.names_of >= 0, "names_of", owner.names_of);
}

void SetTime(Json& json, const std::optional<Timestamp>& time) {
  if (time) json.Set("timestamp", time->nanos);
}

Json CanonicalAction(const FileAction& action) {
  Json json;
  if (const auto* copy = std::get_if<Copy>(&action)) {
    json.Set("do", "copy").Set("input", copy->input).Set("from", copy->from.ToJson());
    json.Set("dest", copy->dest);
    SetOwner(json, copy->owner);
    json.SetIf(!copy->mode.empty(), "mode", copy->mode);
    json.SetIf(!copy->contents_only, "contents_only", false);
    json.SetIf(!copy->create_dest_path, "create_dest_path", false);
    json.SetIf(copy->unpack, "unpack", true);
    json.SetIf(!copy->follow_dest_links, "follow_dest_links", false);
    json.SetIf(copy->replace, "replace", true);
    json.SetIf(!copy->required.empty(), "required", Json::Strings(copy->required));
    SetTime(json, copy->timestamp);
  } else if (const auto* file = std::get_if<MakeFile>(&action)) {
    json.Set("do", "mkfile").Set("path", file->path).Set("data", file->data);
    json.Set("mode", file->mode);
    SetOwner(json, file->owner);
    SetTime(json, file->timestamp);
  } else if (const auto* dir = std::get_if<MakeDirectory>(&action)) {
    json.Set("do", "mkdir").Set("path", dir->path).Set("mode", dir->mode);
    json.SetIf(!dir->make_parents, "make_parents", false);
    SetOwner(json, dir->owner);
    SetTime(json, dir->timestamp);
  } else if (const auto* remove = std::get_if<Remove>(&action)) {
    json.Set("do", "rm").Set("path", remove->path);
    json.SetIf(remove->allow_wildcard, "wildcard", true);
    json.SetIf(remove->allow_not_found, "allow_not_found", true);
  } else if (const auto* link = std::get_if<MakeSymlink>(&action)) {
    json.Set("do", "symlink").Set("path", link->path).Set("target", link->target);
    SetOwner(json, link->owner);
    SetTime(json, link->timestamp);
  }
  return json;
}

Json CanonicalGit(const GitSource& git) {
  Json json;
  json.Set("remote", WithoutPassword(git.remote)).Set("ref", git.ref);
  json.SetIf(!git.subdir.empty(), "subdir", git.subdir);
  json.SetIf(!git.checksum.empty(), "checksum", git.checksum);
  json.SetIf(git.keep_git_dir, "keep_git_dir", true);
  json.SetIf(!git.submodules, "submodules", false);
  json.SetIf(git.commit_mtime, "mtime", "commit");
  json.SetIf(git.checkout_bundle, "checkout", "bundle");
  return json;
}

Json CanonicalHttp(const HttpSource& http) {
  Json json;
  json.Set("url", http.url).Set("filename", http.filename).Set("mode", http.mode);
  json.SetIf(http.checksum.has_value(), "checksum", http.checksum ? http.checksum->ToString() : std::string());
  json.SetIf(http.uid != 0, "uid", http.uid);
  json.SetIf(http.gid != 0, "gid", http.gid);
  return json;
}

}  // namespace

Json CanonicalOp(const Step& step) {
  Json json;
  if (const auto* exec = std::get_if<Exec>(&step.op)) {
    json = CanonicalExec(*exec);
  } else if (const auto* file = std::get_if<FileOp>(&step.op)) {
    Json actions = Json::EmptyArray();
    for (const FileAction& action : file->actions) actions.Append(CanonicalAction(action));
    json.Set("base", file->base).Set("actions", actions);
  } else if (const auto* image = std::get_if<ImageSource>(&step.op)) {
    json.Set("reference", image->reference);
    json.SetIf(image->checksum.has_value(), "checksum", image->checksum ? image->checksum->ToString() : std::string());
    json.SetIf(image->layer_limit.has_value(), "layer_limit", image->layer_limit.value_or(0));
  } else if (const auto* local = std::get_if<LocalSource>(&step.op)) {
    json.Set("name", local->name);
    json.SetIf(!local->exclude.empty(), "exclude", Json::Strings(local->exclude));
    json.SetIf(!local->include.empty(), "include", Json::Strings(local->include));
  } else if (const auto* git = std::get_if<GitSource>(&step.op)) {
    json = CanonicalGit(*git);
  } else if (const auto* http = std::get_if<HttpSource>(&step.op)) {
    json = CanonicalHttp(*http);
  } else if (const auto* layout = std::get_if<OciLayoutSource>(&step.op)) {
    json.Set("path", layout->path).Set("reference", layout->reference);
    if (layout->digest) json.Set("digest", layout->digest->ToString());
    json.SetIf(layout->layer_limit.has_value(), "layer_limit", layout->layer_limit.value_or(0));
  } else if (const auto* blob = std::get_if<BlobSource>(&step.op)) {
    // Who has it is not what it is.
    json.Set("digest", blob->digest.ToString()).Set("filename", blob->filename).Set("mode", blob->mode);
    json.SetIf(blob->uid != 0, "uid", blob->uid).SetIf(blob->gid != 0, "gid", blob->gid);
  } else {
    json = Json::EmptyObject();
  }
  return json.Set("op", OpName(step.op));
}

Json Dump(const Graph& graph) {
  Json steps = Json::EmptyArray();
  for (const Step& step : graph.steps) {
    Json json;
    json.Set("name", step.name).Set("platform", step.platform.ToString());
    json.SetIf(!step.stage.empty(), "stage", step.stage);
    json.SetIf(step.location.first_line != 0, "line", step.location.first_line);
    json.SetIf(step.no_cache, "no_cache", true);
    json.SetIf(step.no_trace, "no_trace", true);
    json.Set("op", CanonicalOp(step));
    Json inputs = Json::EmptyArray();
    std::vector<InputUse> uses = InputUses(step);
    for (size_t i = 0; i < step.inputs.size(); ++i) {
      Json input;
      input.Set("step", step.inputs[i].step);
      input.SetIf(step.inputs[i].output != 0, "output", step.inputs[i].output);
      input.Set("use", uses[i].lineage ? "lineage" : "read");
      inputs.Append(input);
    }
    json.SetIf(!step.inputs.empty(), "inputs", inputs);
    if (const auto* exec = std::get_if<Exec>(&step.op)) {
      for (const Mount& mount : exec->mounts) {
        if (mount.type != MountType::kCache) continue;
        json.Set("cache_mounts", Json(json.GetArray("cache_mounts")))
            .Find("cache_mounts")
            ->Append(Json().Set("id", mount.cache_id).Set("target", mount.target));
      }
    }
    steps.Append(json);
  }
  return Json().Set("steps", steps);
}

}  // namespace varve::graph
