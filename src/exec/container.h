// A container over results of a build, in which a front end runs processes (LLBBridge.NewContainer): mounts as a
// step has them, but for as long as the container is kept, and nothing of what is written stays.
//
//   TRY_ASSIGN(auto container, Container::Create(job, {.mounts = …, .inputs = …}, stop));
//   container->Run({.args = {"sh"}, .terminal = true}, {}, handle, stop);   // sandbox::Container::Run
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "exec/job.h"
#include "exec/step_mounts.h"
#include "sandbox/container.h"

namespace varve::exec {

struct ContainerSpec {
  std::vector<graph::Mount> mounts;   // one has target "/"; `input` is an index into:
  std::vector<cache::Rootfs> inputs;  // their layers are on this machine and leased
  graph::NetworkMode network = graph::NetworkMode::kDefault;
  std::string hostname;
  std::vector<std::pair<std::string, std::string>> extra_hosts;  // host, ip
};

struct ContainerProcess {
  std::vector<std::string> args, env;
  std::string cwd;
  std::string user;  // as USER has it
  bool terminal = false;
  graph::SecurityMode security = graph::SecurityMode::kSandbox;
};

class Container {
 public:
  // Blocks while a locked cache mount is in use elsewhere. `job` outlives the container.
  static Result<std::unique_ptr<Container>> Create(const Job& job, ContainerSpec spec, std::stop_token stop);
  ~Container();  // no process runs any more
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  // The first process makes the container, others join it; see sandbox::Container::Run. Safe from any thread.
  Result<sandbox::Outcome> Run(const ContainerProcess& process, sandbox::Streams streams,
                               sandbox::ProcessHandle& handle, std::stop_token stop);

  // The host's path of what is mounted at `target`; empty if it is nothing of the host's. Processes may change
  // what is there: it is for sys::OpenInRoot.
  std::string PathOf(const std::string& target) const;

 private:
  class Silent;
  Container() = default;

  graph::Graph graph_;
  std::unique_ptr<engine::RunRequest> request_;  // refers to graph_
  std::string state_;                            // where the runtime keeps what it needs
  sys::TempDir scratch_, point_;
  std::unique_ptr<snapshot::LayerDraft> draft_;
  std::unique_ptr<snapshot::RootfsMount> root_;
  std::unique_ptr<StepMounts> mounts_;
  std::unique_ptr<sandbox::Container> container_;
  std::string filter_dir_;
  std::string resolv_conf_;
};

}  // namespace varve::exec
