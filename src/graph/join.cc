#include "graph/join.h"

#include <numeric>
#include <unordered_map>

namespace varve::graph {

namespace {

Json PairsOf(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json json = Json::EmptyArray();
  for (const auto& [first, second] : pairs) json.Append(Json().Append(first).Append(second));
  return json;
}

Json HowToRun(const Exec& exec) {
  Json json, limits = Json::EmptyObject(), mounts = Json::EmptyArray();
  for (const auto& [name, value] : exec.resources) limits.Set(name, value);
  for (const Mount& mount : exec.mounts) {
    mounts.Append(Json()
                      .Append(mount.cache_id)
                      .Append(static_cast<int>(mount.sharing))
                      .Append(mount.required)
                      .Append(mount.source));
  }
  return json.Set("hosts", PairsOf(exec.extra_hosts))
      .Set("proxies", Json::Strings(exec.proxy_env))
      .Set("limits", std::move(limits))
      .Set("cgroup", exec.cgroup_parent)
      .Set("mounts", std::move(mounts));
}

std::optional<Json> HowToTransfer(const LocalSource& local) {
  if (local.follow_paths.empty() && local.session.empty() && local.unique_id.empty() && local.shared_key_hint.empty() &&
      !local.compare_nothing) {
    return {};
  }
  return Json()
      .Set("follow", Json::Strings(local.follow_paths))
      .Set("hint", local.shared_key_hint)
      .Set("session", local.session)
      .Set("unique", local.unique_id)
      .Set("all", local.compare_nothing);
}

Json PlaceOf(const BlobSource& blob) { return Json().Append(blob.repository).Append(blob.store).Append(blob.session); }

}  // namespace

std::string Identity(const Step& step) {
  Json json;
  json.Set("op", CanonicalOp(step)).Set("platform", oci::ToJson(step.platform));
  json.Set("no_cache", step.no_cache).Set("no_trace", step.no_trace);
  Json inputs = Json::EmptyArray();
  for (const Ref& input : step.inputs) inputs.Append(Json().Append(input.step).Append(input.output));
  json.Set("inputs", std::move(inputs));
  if (const auto* image = std::get_if<ImageSource>(&step.op)) {
    json.Set("how", static_cast<int>(image->resolve_mode));
  } else if (const auto* git = std::get_if<GitSource>(&step.op)) {
    Json how = Json()
                   .Append(git->auth_token_secret)
                   .Append(git->auth_header_secret)
                   .Append(git->ssh_id)
                   .Append(git->known_hosts)
                   .Append(git->fetch_by_commit);
    if (const auto& bundle = git->bundle) how.Append(PlaceOf(*bundle).Append(bundle->digest.ToString()));
    json.Set("how", std::move(how));
  } else if (const auto* local = std::get_if<LocalSource>(&step.op)) {
    if (std::optional<Json> how = HowToTransfer(*local)) json.Set("how", std::move(*how));
  } else if (const auto* http = std::get_if<HttpSource>(&step.op)) {
    json.SetIf(http->auth_header_secret + http->accept + http->user_agent != "", "how",
               Json().Append(http->auth_header_secret).Append(http->accept).Append(http->user_agent));
  } else if (const auto* layout = std::get_if<OciLayoutSource>(&step.op)) {
    json.SetIf(!layout->session.empty(), "how", layout->session);
  } else if (const auto* blob = std::get_if<BlobSource>(&step.op)) {
    json.Set("how", PlaceOf(*blob));
  } else if (const auto* exec = std::get_if<Exec>(&step.op)) {
    json.Set("how", HowToRun(*exec));
  }
  return json.DumpCanonical();
}

Joined Join(std::vector<Graph> graphs) {
  Joined joined;
  if (graphs.size() == 1) {  // shares steps with no other: who is who need not be written down
    joined.places.emplace_back(graphs[0].steps.size());
    std::iota(joined.places[0].begin(), joined.places[0].end(), StepIndex{0});
    joined.graph = std::move(graphs[0]);
    return joined;
  }
  std::unordered_map<std::string, StepIndex> known;
  for (Graph& graph : graphs) {
    std::vector<StepIndex>& places = joined.places.emplace_back();
    std::vector<std::pair<std::string, StepIndex>> added;
    for (Step& step : graph.steps) {
      for (Ref& input : step.inputs) input.step = places[input.step];
      std::string identity = Identity(step);
      if (auto found = known.find(identity); found != known.end()) {
        places.push_back(found->second);
        continue;
      }
      places.push_back(joined.graph.Add(std::move(step)));
      added.emplace_back(std::move(identity), places.back());
    }
    known.insert(added.begin(), added.end());
  }
  return joined;
}

}  // namespace varve::graph
