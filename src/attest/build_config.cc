// Steps in the JSON that BuildKit's Ops have: what Go makes of solver/pb/ops.proto, where a member that is
// zero or empty is left out.
#include <algorithm>

#include "attest/provenance.h"
#include "base/hex.h"
#include "base/strings.h"
#include "graph/source_name.h"
#include "graph/source_url.h"

namespace varve::attest {

namespace {

Json Attributes(std::initializer_list<std::pair<const char*, std::string>> items) {
  Json json = Json::EmptyObject();
  for (const auto& [name, value] : items) json.SetIf(!value.empty(), name, value);
  return json;
}

std::string If(bool condition, const char* text = "true") { return condition ? text : ""; }

std::string List(const std::vector<std::string>& items) { return items.empty() ? "" : Json::Strings(items).Dump(); }

Json Source(std::string identifier, Json attributes) {
  Json source = Json().Set("identifier", std::move(identifier));
  bool any = !attributes.as_object().empty();
  return Json().Set("source", source.SetIf(any, "attrs", std::move(attributes)));
}

Json SourceJson(const graph::Op& op) {
  if (const auto* image = std::get_if<graph::ImageSource>(&op)) {
    bool pull = image->resolve_mode == graph::ResolveMode::kPull;
    return Source("docker-image://" + image->reference, Attributes({{"image.resolvemode", If(pull, "pull")}}));
  }
  if (const auto* local = std::get_if<graph::LocalSource>(&op)) {
    return Source("local://" + local->name, Attributes({{"local.excludepatterns", List(local->exclude)},
                                                        {"local.followpaths", List(local->follow_paths)},
                                                        {"local.includepattern", List(local->include)}}));
  }
  if (const auto* git = std::get_if<graph::GitSource>(&op)) {
    std::string remote = graph::WithoutCredentials(git->remote);
    size_t scheme = remote.find("://");
    std::string place = scheme == std::string::npos ? remote : remote.substr(scheme + 3);
    if (!git->ref.empty() || !git->subdir.empty()) place += "#" + git->ref;
    if (!git->subdir.empty()) place += ":" + git->subdir;
    return Source("git://" + place, Attributes({{"git.authheadersecret", git->auth_header_secret},
                                                {"git.authtokensecret", git->auth_token_secret},
                                                {"git.checkoutbundle", If(git->checkout_bundle)},
                                                {"git.checksum", git->checksum},
                                                {"git.fullurl", remote},
                                                {"git.keepgitdir", If(git->keep_git_dir)},
                                                {"git.skipsubmodules", If(!git->submodules)}}));
  }
  if (const auto* http = std::get_if<graph::HttpSource>(&op)) {
    return Source(graph::WithoutCredentials(http->url),
                  Attributes({{"http.checksum", http->checksum ? http->checksum->ToString() : ""},
                              {"http.filename", http->filename}}));
  }
  if (std::holds_alternative<graph::BlobSource>(op)) {
    graph::SourceName name = graph::NameOfSource(op);
    Json attributes = Json::EmptyObject();
    for (const auto& [key, value] : name.attributes) attributes.Set(key, value);
    return Source(std::move(name.identifier), std::move(attributes));
  }
  const auto& layout = std::get<graph::OciLayoutSource>(op);
  return Source("oci-layout://layout" + (layout.digest ? "@" + layout.digest->ToString() : ""),
                Attributes({{"oci.store", layout.path}}));
}

Json MountJson(const graph::Mount& mount) {
  static constexpr int kTypes[] = {0, 3, 4, 1, 2};  // MountType of the protocol
  Json json = Json::EmptyObject();
  int type = kTypes[static_cast<int>(mount.type)];
  json.SetIf(mount.input != 0, "input", mount.input)
      .SetIf(!mount.source.empty(), "selector", "/" + mount.source)
      .Set("dest", mount.target)
      .SetIf(mount.output != 0, "output", mount.output)
      .SetIf(mount.readonly, "readonly", true)
      .SetIf(type != 0, "mountType", type);
  Json credential = Json()
                        .Set("ID", mount.secret_id)
                        .SetIf(mount.mode != 0, "mode", mount.mode)
                        .SetIf(!mount.required, "optional", true);
  if (mount.type == graph::MountType::kCache) {
    auto sharing = static_cast<int>(mount.sharing);
    json.Set("cacheOpt", Json().Set("ID", mount.cache_id).SetIf(sharing != 0, "sharing", sharing));
  }
  if (mount.type == graph::MountType::kSecret) json.Set("secretOpt", std::move(credential));
  else if (mount.type == graph::MountType::kSsh) json.Set("SSHOpt", std::move(credential));
  return json;
}

Json ExecJson(const graph::Exec& exec) {
  Json meta = Json().Set("args", Json::Strings(exec.args));
  meta.SetIf(!exec.env.empty(), "env", Json::Strings(exec.env))
      .Set("cwd", exec.cwd)
      .SetIf(!exec.user.empty(), "user", exec.user)
      .SetIf(!exec.hostname.empty(), "hostname", exec.hostname)
      .Set("removeMountStubsRecursive", true);
  Json mounts = Json::EmptyArray(), secrets = Json::EmptyArray();
  for (const graph::Mount& mount : exec.mounts) {
    if (!mount.env_name.empty()) {
      secrets.Append(
          Json().Set("ID", mount.secret_id).Set("name", mount.env_name).SetIf(!mount.required, "optional", true));
      if (mount.target.empty()) continue;
    }
    mounts.Append(MountJson(mount));
  }
  Json json = Json().Set("meta", std::move(meta)).Set("mounts", std::move(mounts));
  int network = exec.network == graph::NetworkMode::kHost ? 1 : exec.network == graph::NetworkMode::kNone ? 2 : 0;
  json.SetIf(network != 0, "network", network);
  json.SetIf(exec.security == graph::SecurityMode::kInsecure, "security", 1);
  bool any = !secrets.as_array().empty();
  return Json().Set("exec", json.SetIf(any, "secretenv", std::move(secrets)));
}

Json UserJson(const std::string& text) {
  auto number = ParseInt(text);
  Json user = number ? Json().Set("byID", *number) : Json().Set("byName", Json().Set("name", text));
  return Json().Set("User", std::move(user));
}

void SetOwner(Json& json, const graph::Owner& owner) {
  if (!owner.given()) return;
  Json out = Json::EmptyObject();
  if (!owner.user.empty()) out.Set("user", UserJson(owner.user));
  if (!owner.group.empty()) out.Set("group", UserJson(owner.group));
  json.Set("owner", std::move(out));
}

int64_t TimeOf(const std::optional<Timestamp>& time) { return time ? time->nanos : -1; }

Json CopyJson(const graph::Copy& copy) {
  Json json = Json().Set("src", "/" + copy.from.path).Set("dest", copy.dest);
  SetOwner(json, copy.owner);
  auto octal = ParseInt(copy.mode, 8);
  json.Set("mode", copy.mode.empty() ? -1 : octal.value_or(0));
  json.SetIf(copy.from.follow_last, "followSymlink", true)
      .SetIf(copy.contents_only, "dirCopyContents", true)
      .SetIf(copy.unpack, "attemptUnpackDockerCompatibility", true)
      .SetIf(copy.create_dest_path, "createDestPath", true)
      .SetIf(copy.from.wildcards, "allowWildcard", true)
      .SetIf(copy.from.allow_empty, "allowEmptyWildcard", true)
      .Set("timestamp", TimeOf(copy.timestamp))
      .SetIf(!copy.from.include.empty(), "include_patterns", Json::Strings(copy.from.include))
      .SetIf(!copy.from.exclude.empty(), "exclude_patterns", Json::Strings(copy.from.exclude))
      .SetIf(copy.replace, "alwaysReplaceExistingDestPaths", true)
      .SetIf(!copy.mode.empty() && !octal, "modeStr", copy.mode);
  return Json().Set("copy", std::move(json));
}

Json ActionJson(const graph::FileAction& action) {
  if (const auto* copy = std::get_if<graph::Copy>(&action)) return CopyJson(*copy);
  Json json;
  if (const auto* file = std::get_if<graph::MakeFile>(&action)) {
    json.Set("path", file->path).Set("mode", file->mode).SetIf(!file->data.empty(), "data", Base64Encode(file->data));
    SetOwner(json, file->owner);
    return Json().Set("mkfile", json.Set("timestamp", TimeOf(file->timestamp)));
  }
  if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) {
    json.Set("path", directory->path).Set("mode", directory->mode).SetIf(directory->make_parents, "makeParents", true);
    SetOwner(json, directory->owner);
    return Json().Set("mkdir", json.Set("timestamp", TimeOf(directory->timestamp)));
  }
  if (const auto* remove = std::get_if<graph::Remove>(&action)) {
    json.Set("path", remove->path)
        .SetIf(remove->allow_not_found, "allowNotFound", true)
        .SetIf(remove->allow_wildcard, "allowWildcard", true);
    return Json().Set("rm", std::move(json));
  }
  const auto& link = std::get<graph::MakeSymlink>(action);
  json.Set("oldpath", link.target).Set("newpath", link.path);
  SetOwner(json, link.owner);
  return Json().Set("symlink", json.Set("timestamp", TimeOf(link.timestamp)));
}

Json FileJson(const graph::Step& step, const graph::FileOp& file) {
  Json actions = Json::EmptyArray();
  for (size_t i = 0; i < file.actions.size(); ++i) {
    const auto* copy = std::get_if<graph::Copy>(&file.actions[i]);
    int64_t input = i == 0 ? file.base : static_cast<int64_t>(step.inputs.size() + i) - 1;
    int64_t secondary = copy == nullptr ? -1 : copy->input;
    int64_t output = i + 1 == file.actions.size() ? 0 : -1;
    actions.Append(Json()
                       .SetIf(input != 0, "input", input)
                       .SetIf(secondary != 0, "secondaryInput", secondary)
                       .SetIf(output != 0, "output", output)
                       .Set("Action", ActionJson(file.actions[i])));
  }
  return Json().Set("file", Json().Set("actions", std::move(actions)));
}

Json InputJson(size_t number) { return number == 0 ? Json::EmptyObject() : Json().Set("input", number); }

Json OpJson(const graph::Step& step) {
  Json op;
  if (graph::IsSource(step.op)) {
    op = SourceJson(step.op);
  } else if (const auto* exec = std::get_if<graph::Exec>(&step.op)) {
    op = ExecJson(*exec);
  } else if (const auto* file = std::get_if<graph::FileOp>(&step.op)) {
    op = FileJson(step, *file);
  } else if (std::holds_alternative<graph::Merge>(step.op)) {
    Json inputs = Json::EmptyArray();
    for (size_t i = 0; i < step.inputs.size(); ++i) inputs.Append(InputJson(i));
    op = Json().Set("merge", Json().Set("inputs", std::move(inputs)));
  } else {
    op = Json().Set("diff", Json().Set("lower", InputJson(0)).Set("upper", InputJson(1)));
  }
  Json platform = Json().Set("Architecture", step.platform.architecture).Set("OS", step.platform.os);
  platform.SetIf(!step.platform.variant.empty(), "Variant", step.platform.variant);
  return Json().Set("Op", std::move(op)).Set("platform", std::move(platform));
}

}  // namespace

BuildConfig MakeBuildConfig(const graph::Graph& graph, const std::optional<graph::Ref>& root) {
  BuildConfig config{.definition = Json::EmptyArray(), .numbers = {}};
  if (!root) return config;
  std::vector<bool> needed(root->step + 1, false);
  needed[root->step] = true;
  for (size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const graph::Ref& input : graph.steps[i].inputs) needed[input.step] = true;
  }
  for (graph::StepIndex i = 0; i < needed.size(); ++i) {
    if (!needed[i]) continue;
    const graph::Step& step = graph.steps[i];
    size_t number = config.numbers.size();
    config.numbers[i] = number;
    std::vector<std::string> inputs;
    for (const graph::Ref& input : step.inputs) {
      inputs.push_back(fmt::format("step{}:{}", config.numbers[input.step], input.output));
    }
    config.definition.Append(Json()
                                 .Set("id", fmt::format("step{}", number))
                                 .Set("op", OpJson(step))
                                 .SetIf(!inputs.empty(), "inputs", Json::Strings(inputs)));
  }
  // A definition ends with an Op that is nothing but the result as its input.
  config.definition.Append(
      Json()
          .Set("id", fmt::format("step{}", config.numbers.size()))
          .Set("op", Json().Set("Op", Json()))
          .Set("inputs", Json::Strings({fmt::format("step{}:{}", config.numbers[root->step], root->output)})));
  return config;
}

}  // namespace varve::attest
