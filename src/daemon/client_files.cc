#include "daemon/client_files.h"

#include <algorithm>
#include <set>

#include "daemon/context_paths.h"

namespace varve::daemon {

namespace {

std::vector<std::string> AgentIds(const graph::Graph& graph) {
  std::set<std::string> ids;
  for (const graph::Step& step : graph.steps) {
    if (const auto* run = std::get_if<graph::Exec>(&step.op)) {
      for (const graph::Mount& mount : run->mounts) {
        if (mount.type == graph::MountType::kSsh) ids.insert(mount.secret_id);
      }
    } else if (const auto* git = std::get_if<graph::GitSource>(&step.op)) {
      if (git->remote.starts_with("ssh://") || git->remote.find('@') != std::string::npos) {
        ids.insert(git->ssh_id);
      }
    }
  }
  return {ids.begin(), ids.end()};
}

}  // namespace

OnProgress ProgressTo(engine::StepSink& sink) {
  return [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
    sink.Progress(id, current, total, done);
  };
}

// What leaves this machine goes to the client's exporters.
class ClientFiles::Outputs final : public job::OutputReceiver {
 public:
  explicit Outputs(Client& client) : client_(client) {}

  Status TakeStream(size_t output, const Json& metadata, const std::function<Status(Writer&)>& write,
                    std::stop_token stop) override {
    std::map<std::string, std::string> texts;
    if (metadata.is_object()) {
      for (const auto& [key, value] : metadata.as_object()) {
        texts[key] = value.is_string() ? value.as_string() : value.Dump();
      }
    }
    return client_.SendStream(output, texts, write, stop);
  }
  Result<std::shared_ptr<RemoteBlobs>> TakesBlobs(size_t, std::stop_token stop) override {
    return client_.Content("export", "", std::move(stop));  // one for all outputs: clients have no more
  }
  Status TakeFiles(size_t output, const std::string& directory, engine::StepSink& sink, std::stop_token stop) override {
    return client_.SendFiles(output, directory, ProgressTo(sink), stop);
  }

 private:
  Client& client_;
};

ClientFiles::ClientFiles(Client& client, Options options, std::stop_token stop)
    : client_(client), options_(std::move(options)), stop_(std::move(stop)),
      outputs_(std::make_unique<Outputs>(client)) {
  hooks_.project = options_.project;
  hooks_.steps = options_.steps;
  hooks_.secrets = [this](const std::string& id) { return client_.Secret(id, stop_); };
  hooks_.ssh = [this](const graph::Graph& graph) { return StartAgents(graph); };
  hooks_.directories = [this](const graph::LocalSource& source, const std::vector<tree::Selector>& reach,
                              engine::StepSink& sink,
                              std::stop_token token) { return DirectoryOf(source, reach, sink, std::move(token)); };
  hooks_.uploads = [this](const std::string& url, Writer& out, std::stop_token token) {
    return client_.Upload(url, out, std::move(token));
  };
  hooks_.outputs = outputs_.get();
  hooks_.stores = [this](const std::string& store, const std::string& session) {
    return client_.Content(store, session, stop_);
  };
}

ClientFiles::~ClientFiles() = default;

Result<std::string> ClientFiles::DirectoryOf(const graph::LocalSource& source, const std::vector<tree::Selector>& reach,
                                             engine::StepSink& sink, std::stop_token stop) {
  WantedFiles wanted{.mount = source.name,
                     .session = source.session,
                     .shared_key = source.shared_key_hint,
                     .include = source.include,
                     .exclude = source.exclude,
                     .follow = source.follow_paths,
                     .all_again = source.compare_nothing};
  // A front end that names paths knows best; for others, what the steps select is what is wanted.
  if (wanted.follow.empty() && wanted.include.empty()) wanted.follow = FollowPaths(reach);
  if (options_.rename) options_.rename(source, wanted);
  std::lock_guard lock(syncing_);
  for (const Synced& synced : synced_) {
    if (synced.wanted == wanted) return synced.files->directory();
  }
  TRY_ASSIGN(auto files, client_.Sync(wanted, ProgressTo(sink), std::move(stop)));
  synced_.push_back({std::move(wanted), std::move(files)});
  return synced_.back().files->directory();
}

Result<std::vector<exec::SshAgent>> ClientFiles::StartAgents(const graph::Graph& graph) {
  std::vector<exec::SshAgent> agents;
  for (const std::string& id : AgentIds(graph)) {
    TRY_ASSIGN(const std::string scratch, options_.scratch.Path());
    auto agent = client_.StartAgent(id, scratch, stop_);
    if (!agent) {
      // A step that needs it says so; many ask only in case there is one.
      if (agent.error().code == Code::kCancelled) return Error(std::move(agent).error());
      agents.push_back({.id = id, .socket = {}, .missing = agent.error().message});
      continue;
    }
    agents.push_back({.id = id, .socket = (*agent)->socket()});
    agents_.push_back(std::move(*agent));
  }
  return agents;
}

}  // namespace varve::daemon
