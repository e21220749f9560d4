// What the builds of one job take from their client, and give to it: job::BuildClient over daemon::Client.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/client.h"
#include "job/build_job.h"
#include "sys/tempdir.h"

namespace varve::daemon {

OnProgress ProgressTo(engine::StepSink& sink);

// One for each build. Safe from any thread.
class ClientFiles {
 public:
  struct Options {
    std::string project;              // job::BuildClient::project
    const sys::LazyTempDir& scratch;  // where sockets of agents may be made
    exec::StepSettings steps = {};
    // The mount and the shared key of a local source, where the graph names them otherwise.
    std::function<void(const graph::LocalSource& source, WantedFiles& wanted)> rename = nullptr;
  };
  ClientFiles(Client& client, Options options, std::stop_token stop);
  ~ClientFiles();

  // Lives as long as this object.
  job::BuildClient& hooks() { return hooks_; }

 private:
  class Outputs;
  // What the client sent stays until the build is done.
  struct Synced {
    WantedFiles wanted;
    std::unique_ptr<SyncedFiles> files;
  };
  Result<std::string> DirectoryOf(const graph::LocalSource& source, const std::vector<tree::Selector>& reach,
                                  engine::StepSink& sink, std::stop_token stop);
  Result<std::vector<exec::SshAgent>> StartAgents(const graph::Graph& graph);

  Client& client_;
  const Options options_;
  const std::stop_token stop_;
  std::unique_ptr<Outputs> outputs_;
  job::BuildClient hooks_;
  std::mutex syncing_;
  std::vector<Synced> synced_;
  std::vector<std::unique_ptr<ForwardedAgent>> agents_;
};

}  // namespace varve::daemon
