// The containers that front ends of one job have made (LLBBridge.NewContainer, ExecProcess, ReleaseContainer): a
// debugger's shell in what a step left, or a front end that asks a tool of an image.
//
// Safe from any thread.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "api/gateway.pb.h"
#include "base/guarded.h"
#include "daemon/client_files.h"
#include "exec/container.h"
#include "exec/runner.h"
#include "job/workspace.h"

namespace varve::daemon {

namespace gateway = moby::buildkit::v1::frontend;

class FrontendContainer {
 public:
  // `inputs`: of each mount of the request, whose results are here and leased; none: it starts empty.
  // `granted`: entitlements. kInvalid for mounts and modes that are none or were not granted.
  static Result<std::shared_ptr<FrontendContainer>> Create(const gateway::NewContainerRequest& request,
                                                           const std::vector<std::optional<cache::Rootfs>>& inputs,
                                                           std::set<std::string> granted,
                                                           const exec::StepSettings& settings,
                                                           job::Workspace& workspace, Client& client,
                                                           std::stop_token stop);

  // sandbox::Container::Run of the process that the message asks for; kCancelled, "context canceled", once the
  // container is released.
  Result<sandbox::Outcome> Run(const gateway::InitMessage& init, sandbox::Streams streams,
                               sandbox::ProcessHandle& handle, std::stop_token stop);
  // A first process was asked for: others join it.
  bool has_begun() { return state_.Lock()->has_begun; }
  // The host's directory that mount number `index` of the request shows.
  Result<std::string> DirectoryOf(size_t index) const;
  // Ends all processes, and returns when they have ended. No more are started. The error is that of the first
  // process that did not end well, as one that this ended.
  Status Release();

 private:
  FrontendContainer() = default;
  Result<exec::ContainerProcess> ProcessOf(const gateway::InitMessage& init);

  struct State {
    int running = 0;
    bool has_begun = false;
    std::optional<Error> ended_by = {};  // the first error of a process
    bool released = false;
  };
  std::set<std::string> granted_;
  std::string default_path_;          // of the platform
  std::vector<std::string> targets_;  // by mount of the request
  std::unique_ptr<ClientFiles> files_;
  std::unique_ptr<exec::Runner> runner_;
  std::unique_ptr<exec::Container> container_;
  std::stop_source released_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

class FrontendContainers {
 public:
  // kInvalid for an id that is in use, kResource beyond a hundred.
  Status Add(const std::string& id, std::shared_ptr<FrontendContainer> container);
  // kNotFound.
  Result<std::shared_ptr<FrontendContainer>> Find(const std::string& id);
  Status Release(const std::string& id);
  void ReleaseAll();

 private:
  Guarded<std::map<std::string, std::shared_ptr<FrontendContainer>>> containers_;
};

}  // namespace varve::daemon
