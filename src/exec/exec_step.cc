#include "exec/exec_step.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "base/go_quote.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "exec/emulation.h"
#include "exec/show_traced.h"
#include "exec/step_mounts.h"
#include "sandbox/cdi.h"
#include "sandbox/early_runtime.h"
#include "sandbox/user.h"
#include "sys/open.h"
#include "sys/overlay.h"

namespace varve::exec {

namespace {

constexpr size_t kMaxRecordedLog = 256 << 10;

// Passes output on and keeps the end of it for the record.
class RecordingSink final : public engine::StepSink {
 public:
  explicit RecordingSink(engine::StepSink& out) : out_(out) {}
  void Log(int stream, std::string_view data) override {
    log_ += data;
    if (log_.size() > 2 * kMaxRecordedLog) log_.erase(0, log_.size() - kMaxRecordedLog);
    out_.Log(stream, data);
  }
  void Progress(const std::string& id, uint64_t current, uint64_t total, bool done) override {
    out_.Progress(id, current, total, done);
  }
  std::string TakeLog() {
    if (log_.size() > kMaxRecordedLog) log_.erase(0, log_.size() - kMaxRecordedLog);
    return std::move(log_);
  }

 private:
  engine::StepSink& out_;
  std::string log_;
};

sandbox::ResourceLimits LimitsOf(const std::map<std::string, std::string>& resources) {
  sandbox::ResourceLimits limits;
  auto bytes = [](const std::string& text) -> std::optional<int64_t> {
    if (text == "-1") return -1;
    auto value = ParseRamBytes(text);
    if (!value) return {};
    return static_cast<int64_t>(*value);
  };
  for (const auto& [name, value] : resources) {
    if (name == "memory") limits.memory = bytes(value);
    if (name == "memory-swap") limits.memory_swap = bytes(value);
    auto number = ParseInt(value);
    if (name == "cpu-shares" && number) limits.cpu_shares = static_cast<uint64_t>(*number);
    if (name == "cpu-period" && number) limits.cpu_period = static_cast<uint64_t>(*number);
    if (name == "cpu-quota" && number) limits.cpu_quota = *number;
    if (name == "cpuset-cpus") limits.cpuset_cpus = value;
    if (name == "cpuset-mems") limits.cpuset_mems = value;
  }
  return limits;
}

// One that nobody requires may be missing (reference dockerfile.md §4.4).
Status AddDevices(const graph::Exec& exec, sandbox::Spec& spec, engine::StepSink& sink) {
  if (exec.devices.empty()) return Ok();
  sandbox::CdiRegistry registry = sandbox::CdiRegistry::Load(sandbox::CdiDirectories());
  std::vector<std::string> names;
  for (const graph::Device& device : exec.devices) {
    std::vector<std::string> found = registry.Find(device.name);
    if (found.empty() && device.required) {
      Error error = NotFound("required device \"{}\" is not registered", device.name);
      error.hint = registry.Describe();
      return error;
    }
    if (found.empty()) {
      sink.Log(2,
               fmt::format("warning: the step runs without the device \"{}\": {}\n", device.name, registry.Describe()));
    }
    for (std::string& name : found) {
      if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
    }
  }
  return registry.Apply(names, spec);
}

bool IsValid(const graph::Exec& exec, int exit_code) {
  if (exec.valid_exit_codes.empty()) return exit_code == 0;
  return std::ranges::find(exec.valid_exit_codes, exit_code) != exec.valid_exit_codes.end();
}

// In the words that clients and their users look for.
std::string WordsOf(const graph::Exec& exec) {
  return fmt::format("process {} did not complete successfully", GoQuote(Join(exec.args, " ")));
}

Error ExitError(const graph::Exec& exec, const sandbox::Outcome& outcome) {
  Error error = MakeError(Code::kExec, "{}: exit code: {}", WordsOf(exec), outcome.exit_code);
  if (outcome.exit_code == 137) {
    error.hint = "killed by SIGKILL: the machine, or a limit of --resource, may be out of memory";
  } else if (outcome.exit_code == 127) {
    error.hint =
        "127 is the shell's \"command not found\"; for a script that is there, it is the program of its first "
        "line that is not (bash, or one that ends in a Windows line break)";
  } else if (outcome.exit_code == 126) {
    error.hint = "126 is the shell's \"found, but cannot be executed\": a file needs chmod +x, or COPY --chmod=755";
  }
  return error;
}

// Nothing where the process ended as the step is to end.
std::optional<Error> FailureOf(const graph::Exec& exec, const Result<sandbox::Outcome>& outcome) {
  if (!outcome && outcome.error().code == Code::kExec) return Error(outcome.error()).With(WordsOf(exec));
  if (!outcome) return outcome.error();
  if (!IsValid(exec, outcome->exit_code)) return ExitError(exec, *outcome);
  return std::nullopt;
}

std::function<Result<bool>(const RelPath&, const tree::Node&)> IsIn(const Job& job, const Digest& tree) {
  return [&job, tree](const RelPath& path, const tree::Node& directory) -> Result<bool> {
    TRY_ASSIGN(auto below, tree::Lookup(job.trees, tree, path));
    return below && below->IsDirectory() && below->mode == directory.mode && below->uid == directory.uid &&
           below->gid == directory.gid;
  };
}

// What a step runs in, and the layer that it writes.
struct Root {
  cache::Rootfs base;
  std::unique_ptr<snapshot::LayerDraft> draft;
  std::unique_ptr<snapshot::RootfsMount> mounted;

  Status Unmount() {
    TRY(mounted->Finish());
    mounted.reset();
    return Ok();
  }

  struct Made {
    uint64_t tar_size = 0;
    cache::Rootfs rootfs;
  };
  // Once, after Unmount.
  Result<Made> Commit(const Job& job, std::stop_token stop) {
    draft->is_below = IsIn(job, base.tree_root);
    draft->has_directory = [&job, tree = base.tree_root](const RelPath& path) -> Result<bool> {
      TRY_ASSIGN(auto below, tree::Lookup(job.trees, tree, path));
      return below && below->IsDirectory();
    };
    TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job, std::move(draft), {}, stop));
    TRY_ASSIGN(cache::Rootfs made, WithLayer(job, base, layer.diff_id));
    return Made{layer.tar_size, std::move(made)};
  }
};

// Hands over what a process that failed was shown and what it wrote, for somebody to look into.
Status KeepWhatIsLeft(const Job& job, const engine::RunRequest& request, Root& root, StepMounts& mounts,
                      std::stop_token stop) {
  TRY(root.Unmount());
  FailedExec left{.step = request.step, .mounted = {}, .written = {}};
  for (const graph::Mount& each : std::get<graph::Exec>(request.graph.steps[request.step].op).mounts) {
    if (each.input >= 0) left.mounted[each.target] = request.inputs[static_cast<size_t>(each.input)].rootfs;
  }
  TRY_ASSIGN(auto others, mounts.Commit(StepMounts::Which::kAllWritten, stop));
  for (auto& [of, made] : others) left.written[of->target] = std::move(made);
  TRY_ASSIGN(auto made, root.Commit(job, stop));
  left.written["/"] = std::move(made.rootfs);
  job.keep_failed(std::move(left));
  return Ok();
}

// The layers whose use is to be noted, where that can be done.
std::unique_ptr<trace::TracedLayers> ShowLayers(const Job& job, const engine::RunRequest& request,
                                                const std::string& scratch) {
  std::vector<trace::TracedLayers::Layer> layers;
  for (const auto& layer : request.traced) {
    auto directory = job.layers.Directory(layer.layer);
    if (!directory) return nullptr;  // mounting the root says what is wrong with it
    layers.push_back({std::move(*directory), layer.has_xattrs});
  }
  return layers.empty() ? nullptr : ShowTraced(job, std::move(layers), scratch + "/context");
}

// What was asked of the layers, then of the mounts; nothing where some of it was not noted.
std::optional<trace::Asked> FinishTraced(const engine::RunRequest& request, trace::TracedLayers* layers,
                                         StepMounts& mounts) {
  if ((layers == nullptr) != request.traced.empty()) return std::nullopt;
  const std::string& name = request.graph.steps[request.step].name;
  trace::Asked all;
  auto asked = layers != nullptr ? layers->Finish() : Result<trace::Asked>(trace::Asked());
  auto of_mounts = mounts.FinishTraced();
  for (const auto* part : {&asked, &of_mounts}) {
    if (!*part) {
      LOG_WARN("what \"{}\" looked at was lost: {}", name, part->error().message);
      return std::nullopt;
    }
    all.insert(all.end(), (*part)->begin(), (*part)->end());
  }
  if (all.size() != request.traced.size() + request.traced_mounts.size()) return std::nullopt;
  return all;
}

// Whether what the step's process sees was there before its root file system, which is what an early runtime can show:
// other mounts are made elsewhere than in the directory whose mounts it follows.
bool RootIsAllThatIsMounted(const graph::Exec& exec) {
  return std::ranges::all_of(exec.mounts, [](const graph::Mount& mount) {
    return mount.target == "/" || mount.type == graph::MountType::kCache || mount.type == graph::MountType::kTmpfs;
  });
}

Result<Emulation> EmulationOf(const graph::Step& step) {
  if (RunsNatively(step.platform)) return Emulation();
  auto emulation = EmulationFor(step.platform, sys::ReadBinfmtMisc());
  if (emulation) return emulation;
  return Error(std::move(emulation).error())
      .With(fmt::format("step \"{}\" ({}:{})", step.name, step.location.file, step.location.first_line));
}

}  // namespace

Result<sandbox::Spec> SandboxSpecOf(const graph::Exec& exec, const std::string& rootfs, const StepMounts& mounts) {
  sandbox::Spec spec;
  spec.rootfs = rootfs;
  spec.args = exec.args;
  spec.env = exec.env;
  for (const auto* more : {&exec.proxy_env, &mounts.env()}) {
    for (const std::string& entry : *more) {
      std::string name = entry.substr(0, entry.find('=') + 1);
      bool set = std::ranges::any_of(exec.env, [&](const auto& e) { return e.starts_with(name); });
      if (!set || more == &mounts.env()) spec.env.push_back(entry);
    }
  }
  spec.cwd = exec.cwd.empty() ? "/" : exec.cwd;
  if (!exec.hostname.empty()) spec.hostname = exec.hostname;
  spec.mounts = mounts.specs();
  spec.network = exec.network == graph::NetworkMode::kNone ? sandbox::Network::kNone : sandbox::Network::kHost;
  spec.security =
      exec.security == graph::SecurityMode::kInsecure ? sandbox::Security::kInsecure : sandbox::Security::kSandbox;
  for (const auto& [host, ip] : exec.extra_hosts) spec.extra_hosts.push_back({host, ip});
  if (exec.shm_size != 0) spec.shm_size = exec.shm_size;
  for (const graph::Ulimit& u : exec.ulimits) spec.ulimits.push_back({u.name, u.soft, u.hard});
  spec.limits = LimitsOf(exec.resources);
  spec.cgroup_parent = exec.cgroup_parent;
  TRY_ASSIGN(Fd root, sys::OpenDir(rootfs));
  TRY_ASSIGN(spec.user, sandbox::ResolveExecUser(root.get(), exec.user));
  if (std::ranges::none_of(spec.env, [](const auto& e) { return e.starts_with("PATH="); })) {
    spec.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  }
  // Here and not by the runtime: for a user without an entry runc says "/", and crun nothing.
  if (std::ranges::none_of(spec.env, [](const auto& e) { return e.starts_with("HOME="); })) {
    TRY_ASSIGN(std::string passwd, sandbox::ReadRootFile(root.get(), "etc/passwd"));
    std::string home = sandbox::HomeOf(spec.user.uid, passwd);
    spec.env.push_back("HOME=" + (home.empty() ? "/" : home));
  }
  return spec;
}

Result<engine::RunResult> RunExecStep(const Job& job, const engine::RunRequest& request, engine::StepSink& sink,
                                      std::stop_token stop) {
  METRIC("exec.run_step");
  const graph::Step& step = request.graph.steps[request.step];
  const auto& exec = std::get<graph::Exec>(step.op);
  TRY_ASSIGN(Emulation emulation, EmulationOf(step));
  auto root_mount = std::ranges::find(exec.mounts, "/", &graph::Mount::target);
  CHECK(root_mount != exec.mounts.end());
  cache::Rootfs base{{}, tree::EmptyTree()};
  if (root_mount->input >= 0) base = request.inputs[static_cast<size_t>(root_mount->input)].rootfs;

  TRY_ASSIGN(std::string state, job.step_state.Directory());
  TRY_ASSIGN(const std::string disk, job.scratch.Path());
  sys::TempDir scratch;  // for what mounts write
  if (exec.mounts.size() > 1) {
    TRY_ASSIGN(scratch, sys::TempDir::Create(disk, "run-"));
  }
  // A mount point takes no memory; a copy of the files, where overlayfs does not do, would.
  bool overlay = snapshot::OverlayUsable(disk) && 2 * base.layers.size() < sys::kMaxOverlayLowers;
  const bool early = overlay && RootIsAllThatIsMounted(exec);
  sandbox::Ahead ahead;
  if (early) ahead.runtime = job.step_state.TakeRuntime();
  if (request.more_to_run) ahead.on_running = [&job] { job.step_state.StartRuntime(); };
  TRY_ASSIGN(auto draft, job.layers.NewDraft());
  TRY_ASSIGN(auto point, sys::TempDir::Create(overlay ? state : disk, "rootfs-"));
  std::unique_ptr<trace::TracedLayers> traced;
  if (overlay) traced = ShowLayers(job, request, point.path());
  std::map<DiffId, std::string> shown_by;
  for (size_t i = 0; traced && i < request.traced.size(); ++i) {
    shown_by[request.traced[i].layer] = traced->Directory(i);
  }
  TRY_ASSIGN(auto mounted, snapshot::MountRootfs(job.layers, base.layers, draft.get(), point.path(), shown_by));
  Root root{std::move(base), std::move(draft), std::move(mounted)};

  StepMounts mounts(job, request, exec, scratch.path());
  TRY(mounts.Prepare(sink, stop));
  RecordingSink recording(sink);
  MaskingSink masking(recording, mounts.secrets());
  TRY_ASSIGN(sandbox::Spec spec, SandboxSpecOf(exec, root.mounted->path(), mounts));
  spec.read_only_rootfs = root_mount->readonly;
  spec.filter_dir = job.root;
  spec.resolv_conf = job.resolv_conf;
  for (const std::string& interpreter : emulation.interpreters) {
    spec.mounts.push_back(
        {.source = interpreter, .target = interpreter, .read_only = true, .nosuid = true, .nodev = true});
  }
  TRY(AddDevices(exec, spec, sink));
  auto on_output = [&](sys::Stream stream, std::string_view data) {
    masking.Log(stream == sys::Stream::kStdout ? 1 : 2, data);
  };
  auto outcome = sandbox::Run(spec, state, on_output, stop, std::move(ahead));
  masking.Flush();
  if (std::optional<Error> failed = FailureOf(exec, outcome)) {
    if (failed->code == Code::kExec && job.keep_failed) {
      Status kept = KeepWhatIsLeft(job, request, root, mounts, stop);
      if (!kept) LOG_WARN("what \"{}\" has left is lost: {}", step.name, kept.error().message);
    }
    return std::move(*failed);
  }

  TRY(root.Unmount());
  engine::RunResult result;
  result.asked = FinishTraced(request, traced.get(), mounts);
  result.log = recording.TakeLog();
  auto put = [&result](int output, cache::Rootfs made) {
    auto at = static_cast<size_t>(output);
    if (result.outputs.size() <= at) result.outputs.resize(at + 1, {{}, tree::EmptyTree()});
    result.outputs[at] = std::move(made);
  };
  TRY_ASSIGN(auto others, mounts.Commit(StepMounts::Which::kOutputs, stop));
  for (auto& [of, made] : others) put(of->output, std::move(made));
  if (root_mount->output >= 0) {
    TRY_ASSIGN(auto made, root.Commit(job, stop));
    result.new_bytes = made.tar_size;
    put(root_mount->output, std::move(made.rootfs));
  }
  return result;
}

}  // namespace varve::exec
