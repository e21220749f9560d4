#include "dockerfile/stage_run.h"

#include <algorithm>

#include "base/rel_path.h"
#include "base/strings.h"
#include "dockerfile/directives.h"
#include "dockerfile/hinted.h"
#include "dockerfile/history.h"
#include "dockerfile/image_config_edit.h"
#include "dockerfile/installs_only.h"
#include "dockerfile/parser.h"
#include "dockerfile/run_mount.h"
#include "dockerfile/windows_path.h"

namespace varve::dockerfile {

namespace {

class RunLowering {
 public:
  RunLowering(const CommandScope& scope, const Run& run)
      : scope_(scope), stage_(scope.stage()), lowering_(scope.lowering()), run_(run) {}

  Status Lower() {
    RunScript script = MakeRunScript(run_, IsWindows(*stage_.platform));
    exec_.args = script.args;
    if (script.shell_form) {
      exec_.args = ShellOf(stage_.config);
      exec_.args.push_back(Join(script.args, " "));
    }
    exec_.env = stage_.variables.Entries();
    exec_.cwd = stage_.directory;
    exec_.user = stage_.config.user();
    graph::Mount root{.target = "/", .output = 0};
    if (const auto base = BaseOf(lowering_, stage_)) root.input = Input(*base);
    root_inputs_ = inputs_.size();
    exec_.mounts.push_back(root);
    if (script.file) AddScript(*script.file);
    TRY(AddMounts());
    TRY(ApplyModes());
    ApplyOptions();

    std::string title = Title(script.suffix);
    std::string prefix = stage_.numbers.Next(scope_.PlatformPart(), scope_.command().on_build);
    graph::Step step = scope_.NewStep(prefix, title);
    std::vector<std::string> argv = exec_.args;
    step.op = std::move(exec_);
    step.inputs = std::move(inputs_);
    step.no_cache = stage_.no_cache;
    step.no_cache_rule = stage_.no_cache_rule;
    TRY_ASSIGN(bool traced, TraceOfComments(scope_.origin().comments));
    step.no_trace = !traced;
    for (const auto& [name, value] : DeclaredArgs()) step.arg_names.push_back(name);
    if (MayBeSemantic(lowering_)) step.installs = InstallsOnly(run_);
    stage_.root = lowering_.steps.Add(std::move(step));
    scope_.AddHistory(RunHistory(DeclaredArgs(), argv), stage_.root);
    return Ok();
  }

 private:
  // The file system written on is an input of its own; what is only read is listed once.
  int Input(graph::Ref ref) {
    auto it = std::find(inputs_.begin() + static_cast<ptrdiff_t>(root_inputs_), inputs_.end(), ref);
    auto index = static_cast<int>(it - inputs_.begin());
    if (it == inputs_.end()) inputs_.push_back(ref);
    return index;
  }

  // A here-document that begins with "#!" is a program.
  void AddScript(const InlineFile& file) {
    graph::Step step;
    step.platform = *stage_.platform;
    step.name = "[internal] preparing inline document";
    step.text = step.name;
    step.op = graph::FileOp{
        .base = -1,
        .actions = {graph::MakeFile{.path = "/" + file.name, .data = file.content, .mode = 0755, .owner = {}}}};
    graph::Mount mount{.target = "/dev/pipes"};
    mount.input = Input(lowering_.steps.AddOnce(std::move(step)));
    mount.readonly = true;
    exec_.mounts.push_back(std::move(mount));
  }

  Status AddMounts() {
    for (size_t i = 0; i < run_.mounts.size(); ++i) {
      TRY_ASSIGN(Mount mount, ParseMount(run_.mounts[i], [&](std::string_view word) { return scope_.Expand(word); }));
      StageState* source = scope_.command().sources[i];
      if (source != nullptr && !source->done) {
        return Hinted(Invalid("cannot mount from stage \"{}\" to \"{}\", stage needs to be defined "
                              "before current command",
                              mount.from, mount.target),
                      "move its FROM, and what follows it, above this stage");
      }
      switch (mount.type) {
        case MountType::kBind:
        case MountType::kCache:
        case MountType::kTmpfs:
          TRY(AddFiles(mount, source));
          break;
        case MountType::kSecret:
          TRY(AddSecret(mount));
          break;
        case MountType::kSsh:
          TRY(AddSsh(mount));
          break;
      }
    }
    return Ok();
  }

  Status AddFiles(const Mount& mount, StageState* source) {
    graph::Mount out;
    out.target = JoinAbsolute(stage_.directory, mount.target);
    if (out.target == "/") {
      return Hinted(Invalid("invalid mount target \"/\""), "a mount needs target=PATH, below /");
    }
    out.readonly = mount.read_only;
    if (mount.type == MountType::kTmpfs) {
      out.type = graph::MountType::kTmpfs;
      out.tmpfs_size = mount.size;
      exec_.mounts.push_back(std::move(out));
      return Ok();
    }
    if (source != nullptr) {
      if (auto root = RootOf(lowering_, *source)) out.input = Input(*root);
    } else if (mount.type == MountType::kBind && mount.from.empty()) {
      out.input = Input(ContextRoot(lowering_));
    }
    out.source = RelPath(mount.source).str();
    if (mount.type == MountType::kCache) {
      out.type = graph::MountType::kCache;
      out.cache_id = mount.id.empty() ? CleanPath(mount.target) : mount.id;
      MountSharing sharing = mount.sharing.value_or(MountSharing::kShared);
      out.sharing = sharing == MountSharing::kLocked    ? graph::CacheSharing::kLocked
                    : sharing == MountSharing::kPrivate ? graph::CacheSharing::kPrivate
                                                        : graph::CacheSharing::kShared;
      if (out.source.empty()) {
        out.uid = mount.uid.value_or(0);
        out.gid = mount.gid.value_or(0);
        out.mode = mount.mode.value_or(0755);
      }
      stage_.outline.caches.try_emplace(out.cache_id, Outline::CacheMount{out.cache_id, scope_.origin().span});
    }
    exec_.mounts.push_back(std::move(out));
    return Ok();
  }

  Status AddSecret(const Mount& mount) {
    graph::Mount out;
    out.type = graph::MountType::kSecret;
    out.secret_id = mount.source.empty() ? mount.id : mount.source;
    if (out.secret_id.empty()) {
      if (mount.target.empty()) {
        return Hinted(Invalid("one of source, target required"), "write id=NAME");
      }
      out.secret_id = RelPath(mount.target).Name();
    }
    std::string target = mount.target;
    if (mount.env) {
      out.env_name = mount.env->empty() ? out.secret_id : *mount.env;
    } else if (target.empty()) {
      target = fmt::format("/run/secrets/{}", RelPath(out.secret_id).Name());
    }
    if (!target.empty()) {
      out.target = JoinAbsolute(stage_.directory, target);
      out.uid = mount.uid.value_or(0);
      out.gid = mount.gid.value_or(0);
      out.mode = mount.mode.value_or(0400);
    }
    out.readonly = true;
    out.required = mount.required;
    stage_.outline.secrets.try_emplace(out.secret_id,
                                       Outline::Credential{out.secret_id, mount.required, scope_.origin().span});
    exec_.mounts.push_back(std::move(out));
    return Ok();
  }

  Status AddSsh(const Mount& mount) {
    if (!mount.source.empty()) {
      return Hinted(Invalid("ssh does not support source"), "write id=NAME");
    }
    graph::Mount out;
    out.type = graph::MountType::kSsh;
    out.secret_id = mount.id.empty() ? "default" : mount.id;
    out.target = mount.target.empty() ? fmt::format("/run/buildkit/ssh_agent.{}", ssh_count_)
                                      : JoinAbsolute(stage_.directory, mount.target);
    ++ssh_count_;
    out.uid = mount.uid.value_or(0);
    out.gid = mount.gid.value_or(0);
    out.mode = mount.mode.value_or(0600);
    out.required = mount.required;
    stage_.outline.ssh.try_emplace(out.secret_id,
                                   Outline::Credential{out.secret_id, mount.required, scope_.origin().span});
    exec_.mounts.push_back(std::move(out));
    return Ok();
  }

  Status Require(const std::string& entitlement, const std::string& what) {
    const auto& granted = lowering_.options.entitlements;
    if (granted.contains(entitlement)) return Ok();
    if (entitlement.starts_with("device=") && granted.contains("device")) return Ok();
    Error error = Invalid("{} is not allowed: the build was not given the entitlement {}", what, entitlement);
    error.hint = fmt::format("pass --allow {}", entitlement);
    return error;
  }

  Status ApplyModes() {
    bool host = run_.network == "host";
    // --network=default means what the build says.
    exec_.network = host                     ? graph::NetworkMode::kHost
                    : run_.network == "none" ? graph::NetworkMode::kNone
                                             : lowering_.options.network;
    if (exec_.network == graph::NetworkMode::kHost) {
      TRY(Require("network.host", host ? "RUN --network=host" : "--network host"));
    }
    if (run_.security == "insecure") {
      TRY(Require("security.insecure", "RUN --security=insecure"));
      exec_.security = graph::SecurityMode::kInsecure;
    }
    for (const Device& device : run_.devices) {
      TRY(Require("device=" + device.name, "RUN --device=" + device.name));
      exec_.devices.push_back({device.name, device.required});
    }
    return Ok();
  }

  void ApplyOptions() {
    const LowerOptions& options = lowering_.options;
    // The build argument beats the option, as in the reference.
    std::string hostname = BuildArg(lowering_, "BUILDKIT_SANDBOX_HOSTNAME");
    exec_.hostname = hostname.empty() ? options.hostname : hostname;
    exec_.extra_hosts = options.extra_hosts;
    exec_.shm_size = options.shm_size;
    exec_.ulimits = options.ulimits;
    exec_.resources = options.resources;
    exec_.cgroup_parent = options.cgroup_parent;
    exec_.proxy_env = lowering_.proxy_env;
  }

  // Quotes stay, as do variables of the shell's own, and secrets are shown as such.
  std::string Title(const std::string& suffix) const {
    auto get = [&](std::string_view name) -> std::optional<std::string> {
      for (const graph::Mount& mount : exec_.mounts) {
        if (!mount.env_name.empty() && mount.env_name == name) return "****";
      }
      return stage_.variables.Get(name);
    };
    std::string text = scope_.origin().text + suffix;
    auto expansion = ProcessWord(
        text, get, {.escape = lowering_.file.escape, .raw_quotes = true, .raw_escapes = false, .skip_unset = true});
    return UpperCaseInstruction(expansion ? expansion->text : text);
  }

  // Each ARG once, with the value that the step sees.
  std::vector<std::pair<std::string, std::string>> DeclaredArgs() const {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, value] : stage_.args) {
      std::string now = stage_.variables.Get(name).value_or(value);
      auto it = std::ranges::find(out, name, &std::pair<std::string, std::string>::first);
      if (it == out.end()) {
        out.emplace_back(name, now);
      } else {
        it->second = now;
      }
    }
    return out;
  }

  const CommandScope& scope_;
  StageState& stage_;
  Lowering& lowering_;
  const Run& run_;
  graph::Exec exec_;
  std::vector<graph::Ref> inputs_;
  size_t root_inputs_ = 0;
  size_t ssh_count_ = 0;
};

}  // namespace

Status LowerRun(const CommandScope& scope, const Run& run) { return RunLowering(scope, run).Lower(); }

}  // namespace varve::dockerfile
