#include "exec/container.h"

#include <algorithm>

#include "exec/exec_step.h"
#include "sys/overlay.h"

namespace varve::exec {

// What is told of a mount that is awaited is told nobody: no step shows it.
class Container::Silent final : public engine::StepSink {
 public:
  void Log(int, std::string_view) override {}
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
};

Container::~Container() = default;

Result<std::unique_ptr<Container>> Container::Create(const Job& job, ContainerSpec spec, std::stop_token stop) {
  std::unique_ptr<Container> made(new Container());
  graph::Exec exec{.mounts = std::move(spec.mounts),
                   .network = spec.network,
                   .hostname = std::move(spec.hostname),
                   .extra_hosts = std::move(spec.extra_hosts)};
  // Parents before what is mounted in them.
  std::ranges::stable_sort(exec.mounts, {}, &graph::Mount::target);
  graph::Step step;
  step.name = "a container of a front end";
  step.op = std::move(exec);
  made->graph_.steps.push_back(std::move(step));
  const auto& wanted = std::get<graph::Exec>(made->graph_.steps[0].op);
  made->request_.reset(
      new engine::RunRequest{.graph = made->graph_, .step = 0, .key = {}, .inputs = {}, .similar = {}});
  for (cache::Rootfs& input : spec.inputs) {
    made->request_->inputs.push_back({.step = 0, .rootfs = std::move(input)});
  }
  auto root = std::ranges::find(wanted.mounts, "/", &graph::Mount::target);
  if (root == wanted.mounts.end()) return Invalid("a container needs a mount at /");
  cache::Rootfs base{{}, tree::EmptyTree()};
  if (root->input >= 0) base = made->request_->inputs[static_cast<size_t>(root->input)].rootfs;

  TRY_ASSIGN(made->state_, job.step_state.Directory());
  TRY_ASSIGN(const std::string scratch, job.scratch.Path());
  TRY_ASSIGN(made->scratch_, sys::TempDir::Create(scratch, "container-"));
  TRY_ASSIGN(made->draft_, job.layers.NewDraft());
  TRY_ASSIGN(made->point_, sys::TempDir::Create(scratch, "rootfs-"));
  TRY_ASSIGN(made->root_, snapshot::MountRootfs(job.layers, base.layers, made->draft_.get(), made->point_.path()));
  made->mounts_ = std::make_unique<StepMounts>(job, *made->request_, wanted, made->scratch_.path());
  Silent silent;
  TRY(made->mounts_->Prepare(silent, stop));
  TRY_ASSIGN(sandbox::Runtime runtime, sandbox::FindRuntime());
  made->container_ = std::make_unique<sandbox::Container>(std::move(runtime), made->state_);
  made->filter_dir_ = job.root;
  made->resolv_conf_ = job.resolv_conf;
  return made;
}

Result<sandbox::Outcome> Container::Run(const ContainerProcess& process, sandbox::Streams streams,
                                        sandbox::ProcessHandle& handle, std::stop_token stop) {
  graph::Exec exec = std::get<graph::Exec>(graph_.steps[0].op);
  exec.args = process.args;
  exec.env = process.env;
  exec.cwd = process.cwd;
  exec.user = process.user;
  exec.security = process.security;
  TRY_ASSIGN(sandbox::Spec spec, SandboxSpecOf(exec, root_->path(), *mounts_));
  spec.terminal = process.terminal;
  spec.filter_dir = filter_dir_;
  spec.resolv_conf = resolv_conf_;
  auto root = std::ranges::find(exec.mounts, "/", &graph::Mount::target);
  spec.read_only_rootfs = root->readonly;
  return container_->Run(spec, std::move(streams), handle, std::move(stop));
}

std::string Container::PathOf(const std::string& target) const {
  if (target == "/") return root_->path();
  for (const sandbox::MountSpec& mount : mounts_->specs()) {
    if (mount.target == target && mount.kind == sandbox::MountKind::kBind) return mount.source;
  }
  return "";
}

}  // namespace varve::exec
