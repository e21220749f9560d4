#include "daemon/frontend_containers.h"

#include <algorithm>

#include "base/strings.h"
#include "llb/definition.h"

namespace varve::daemon {

namespace {

constexpr size_t kMaxContainers = 100;
constexpr char kUnixPath[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr char kWindowsPath[] = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0";

void SetDefault(std::vector<std::string>& env, const std::string& name, const std::string& value) {
  if (std::ranges::none_of(env, [&](const std::string& entry) { return entry.starts_with(name + "="); })) {
    env.push_back(name + "=" + value);
  }
}

}  // namespace

Result<std::shared_ptr<FrontendContainer>> FrontendContainer::Create(
    const gateway::NewContainerRequest& request, const std::vector<std::optional<cache::Rootfs>>& inputs,
    std::set<std::string> granted, const exec::StepSettings& settings, job::Workspace& workspace, Client& client,
    std::stop_token stop) {
  std::shared_ptr<FrontendContainer> made(new FrontendContainer());
  made->granted_ = std::move(granted);
  made->default_path_ = request.platform().os() == "windows" ? kWindowsPath : kUnixPath;
  exec::ContainerSpec spec{.hostname = request.hostname()};
  for (const pb::HostIp& host : request.extra_hosts()) spec.extra_hosts.emplace_back(host.host(), host.ip());
  switch (request.network()) {
    case pb::UNSET:
      break;
    case pb::HOST:
      spec.network = graph::NetworkMode::kHost;
      break;
    case pb::NONE:
      spec.network = graph::NetworkMode::kNone;
      break;
    default:
      return Invalid("invalid network mode {}", static_cast<int>(request.network()));
  }
  if (request.network() == pb::HOST && !made->granted_.contains("network.host")) {
    return Invalid("network.host is not allowed");
  }
  for (int i = 0; i < request.mounts_size(); ++i) {
    TRY_ASSIGN(graph::Mount mount, llb::DecodeMount(request.mounts(i)));
    if (const auto& input = inputs[static_cast<size_t>(i)]; input) {
      mount.input = static_cast<int>(spec.inputs.size());
      spec.inputs.push_back(*input);
    }
    made->targets_.push_back(mount.target);
    spec.mounts.push_back(std::move(mount));
  }
  graph::Graph shown;  // for the agents that its mounts ask for
  graph::Step step;
  step.op = graph::Exec{.mounts = spec.mounts};
  shown.steps.push_back(std::move(step));
  made->files_ = std::make_unique<ClientFiles>(
      client, ClientFiles::Options{.project = client.project(), .scratch = workspace.scratch}, stop);
  exec::RunnerOptions options{.root = workspace.root,
                              .directories = {},
                              .secrets = {},
                              .secrets_elsewhere = made->files_->hooks().secrets,
                              .steps = settings};
  TRY_ASSIGN(options.ssh, made->files_->hooks().ssh(shown));
  TRY_ASSIGN(made->runner_, exec::Runner::Create(std::move(options), job::RunnerStoresOf(workspace)));
  TRY_ASSIGN(made->container_, exec::Container::Create(made->runner_->job(), std::move(spec), stop));
  return made;
}

Result<exec::ContainerProcess> FrontendContainer::ProcessOf(const gateway::InitMessage& init) {
  const pb::Meta& meta = init.meta();
  exec::ContainerProcess process{.args = {meta.args().begin(), meta.args().end()},
                                 .env = {meta.env().begin(), meta.env().end()},
                                 .cwd = meta.cwd().empty() ? "/" : meta.cwd(),
                                 .user = meta.user(),
                                 .terminal = init.tty()};
  if (process.args.empty()) return Invalid("a process needs arguments");
  SetDefault(process.env, "PATH", default_path_);
  if (init.tty()) SetDefault(process.env, "TERM", "xterm");
  for (const pb::SecretEnv& wanted : init.secret_env()) {
    if (wanted.id().empty()) return Invalid("secret ID missing for \"{}\" environment variable", wanted.name());
    TRY_ASSIGN(auto value, files_->hooks().secrets(wanted.id()));
    if (!value && !wanted.optional()) return NotFound("secret {}: not found", wanted.id());
    process.env.push_back(wanted.name() + "=" + value.value_or(""));
  }
  switch (init.security()) {
    case pb::SANDBOX:
      break;
    case pb::INSECURE:
      process.security = graph::SecurityMode::kInsecure;
      break;
    default:
      return Invalid("invalid security mode {}", static_cast<int>(init.security()));
  }
  if (init.security() == pb::INSECURE && !granted_.contains("security.insecure")) {
    return Invalid("security.insecure is not allowed");
  }
  return process;
}

Result<sandbox::Outcome> FrontendContainer::Run(const gateway::InitMessage& init, sandbox::Streams streams,
                                                sandbox::ProcessHandle& handle, std::stop_token stop) {
  {
    auto state = state_.Lock();
    if (state->released) return Cancelled("context canceled");
    ++state->running;
    state->has_begun = true;
  }
  auto run = [&]() -> Result<sandbox::Outcome> {
    std::stop_source both;
    std::stop_callback by_release(released_.get_token(), [&] { both.request_stop(); });
    std::stop_callback by_caller(stop, [&] { both.request_stop(); });
    TRY_ASSIGN(exec::ContainerProcess process, ProcessOf(init));
    auto outcome = container_->Run(process, std::move(streams), handle, both.get_token());
    // With the first process, whichever was told first to end, all end.
    if (both.stop_requested()) return Cancelled("context canceled");
    return outcome;
  };
  auto outcome = run();
  auto state = state_.Lock();
  --state->running;
  if (!state->ended_by && !outcome) state->ended_by = outcome.error();
  if (!state->ended_by && outcome->exit_code != 0)
    state->ended_by = MakeError(Code::kExec, "exit code: {}", outcome->exit_code);
  changed_.notify_all();
  return outcome;
}

Result<std::string> FrontendContainer::DirectoryOf(size_t index) const {
  if (index >= targets_.size()) {
    return Invalid("mount index {} is out of bounds ({} available)", index, targets_.size());
  }
  std::string path = container_->PathOf(targets_[index]);
  if (path.empty()) return NotFound("mountable {} not found", index);
  return path;
}

Status FrontendContainer::Release() {
  auto state = state_.Lock();
  state->released = true;
  released_.request_stop();
  state.Wait(changed_, [&] { return state->running == 0; });
  return state->ended_by ? Status(*state->ended_by) : Ok();
}

Status FrontendContainers::Add(const std::string& id, std::shared_ptr<FrontendContainer> container) {
  auto containers = containers_.Lock();
  if (containers->size() >= kMaxContainers) {
    return Resource("this build has {} containers already: release some", kMaxContainers);
  }
  if (containers->try_emplace(id, std::move(container)).second) return Ok();
  return Invalid("Container {} already exists", id);
}

Result<std::shared_ptr<FrontendContainer>> FrontendContainers::Find(const std::string& id) {
  auto containers = containers_.Lock();
  auto it = containers->find(id);
  if (it == containers->end()) return NotFound("container \"{}\" previously released or not created", id);
  return it->second;
}

Status FrontendContainers::Release(const std::string& id) {
  TRY_ASSIGN(auto container, Find(id));
  containers_.Lock()->erase(id);
  return container->Release();
}

void FrontendContainers::ReleaseAll() {
  for (auto& [id, container] : std::exchange(*containers_.Lock(), {})) (void)container->Release();
}

}  // namespace varve::daemon
