#include "sandbox/bundle.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/log.h"
#include "base/strings.h"
#include "sandbox/device_filter.h"
#include "sandbox/runc_cgroups.h"
#include "sandbox/seccomp_compiler.h"
#include "sys/open.h"
#include "sys/probe.h"
#include "sys/remove.h"

namespace varve::sandbox {
namespace {

Status Validate(const Spec& spec, const Host& host) {
  if (spec.args.empty()) return Internal("a step without a command");
  if (host.single_id && (spec.user.uid != 0 || spec.user.gid != 0)) {
    Error error = Invalid(
        "cannot run as user {}:{}: a rootless build without subordinate ids has no "
        "other user than 0",
        spec.user.uid, spec.user.gid);
    error.hint =
        "install the package uidmap and give your user a range in /etc/subuid and "
        "/etc/subgid, run varve as root, or leave USER out";
    return error;
  }
  for (const MountSpec& mount : spec.mounts) {
    if (RelPath(mount.target).IsRoot()) return Invalid("cannot mount on / of a build step");
  }
  for (const DeviceNode& device : spec.devices) {
    struct stat st;
    if (stat(device.host_path.c_str(), &st) != 0) {
      return ErrnoError(errno, "device " + device.host_path);
    }
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode)) {
      return Invalid("{} is not a device", device.host_path);
    }
  }
  return Ok();
}

// crun has its cgroup manager switched off, so limits are runc's work.
Result<Runtime> RuntimeForLimits(Runtime runtime, const Spec& spec) {
  if (spec.limits.empty() || runtime.kind == RuntimeKind::kRunc) return runtime;
  if (auto path = sys::FindProgram("runc")) return Runtime{RuntimeKind::kRunc, *path};
  Error error = Invalid("cannot limit the resources of a step: that needs runc");
  error.hint = "install runc, or leave the --resource flags out";
  return error;
}

// The places that the runtime will mount on. Those inside of an earlier mount are made by the
// runtime, in that mount. An image that lacks /proc, /dev or /sys gets them from its first step, as
// with BuildKit, where the runtime makes them and they stay.
Status EnsureMountPoints(const Json& document, int root_fd, MountPoints& points) {
  std::vector<RelPath> mounted;
  const std::set<RelPath> kept = {RelPath("proc"), RelPath("dev"), RelPath("sys")};
  for (const Json& mount : document.GetArray("mounts")) {
    RelPath target(mount.GetString("destination"));
    const bool nested = std::ranges::any_of(mounted, [&](const RelPath& earlier) { return target.IsWithin(earlier); });
    mounted.push_back(target);
    if (nested) continue;
    if (kept.contains(target)) {
      TRY(sys::MkdirAllInRoot(root_fd, target, 0755, geteuid(), getegid()));
      continue;
    }
    bool directory = true;
    if (mount.GetString("type") == "bind") {
      struct stat st;
      std::string source = mount.GetString("source");
      if (stat(source.c_str(), &st) != 0) return ErrnoError(errno, "mount source " + source);
      directory = S_ISDIR(st.st_mode);
    }
    TRY(points.Ensure(target, directory));
  }
  return Ok();
}

Status EnsureWorkingDirectory(const Host& host, const Spec& spec, int root_fd) {
  RelPath cwd(spec.cwd);
  for (const MountSpec& mount : spec.mounts) {
    if (cwd.IsWithin(RelPath(mount.target))) return Ok();
  }
  // What is user 0 in a namespace to be made is this process's user outside of it.
  uid_t uid = host.make_user_namespace ? geteuid() : spec.user.uid;
  gid_t gid = host.make_user_namespace ? getegid() : spec.user.gid;
  TRY(sys::MkdirAllInRoot(root_fd, cwd, 0755, uid, gid));
  return Ok();
}

std::vector<DeviceAccess> ExtraDevices(const Spec& spec) {
  std::vector<DeviceAccess> devices;
  for (const DeviceNode& device : spec.devices) {
    struct stat st;
    if (stat(device.host_path.c_str(), &st) != 0) continue;
    devices.push_back({S_ISBLK(st.st_mode), major(st.st_rdev), minor(st.st_rdev)});
  }
  return devices;
}

}  // namespace

Result<Bundle> Bundle::Create(const std::string& state_dir) {
  TRY(sys::MkdirAll(state_dir, 0711));
  Bundle bundle;
  bundle.id_ = NewContainerName();
  bundle.path_ = state_dir + "/" + bundle.id_;
  bundle.runtime_root_ = state_dir + "/runtime";
  TRY(sys::RemoveAll(bundle.path_));  // of a former process with our pid
  if (mkdir(bundle.path_.c_str(), 0711) != 0) return ErrnoError(errno, "mkdir " + bundle.path_);
  return bundle;
}

Bundle::Bundle(Bundle&& other) noexcept
    : id_(std::move(other.id_)), path_(std::exchange(other.path_, {})), runtime_root_(std::move(other.runtime_root_)) {}

Bundle::~Bundle() {
  if (path_.empty()) return;
  // A runtime that was killed has left its record of the container.
  for (const std::string& path : {path_, runtime_root_ + "/" + id_}) {
    if (Status status = sys::RemoveAll(path); !status) LOG_WARN("{}", status.error().ToString());
  }
}

Status Bundle::Write(std::string_view name, std::string_view text) const {
  TRY_ASSIGN(Fd fd, OpenFile(File(name), O_WRONLY | O_CREAT | O_EXCL, 0644));
  if (fchmod(fd.get(), 0644) != 0) return ErrnoError(errno, "chmod " + File(name));
  return FdWriter(fd.get()).Write(text);
}

Result<PreparedContainer> PreparedContainer::Create(const Host& host, const Runtime& wanted, const Spec& spec,
                                                    const std::string& state_dir, std::optional<Bundle> bundle_made) {
  TRY(Validate(spec, host));
  TRY_ASSIGN(Runtime runtime, RuntimeForLimits(wanted, spec));
  const bool crun = runtime.kind == RuntimeKind::kCrun;
  auto own = bundle_made ? Result<Bundle>(std::move(*bundle_made)) : Bundle::Create(state_dir);
  if (!own) return std::move(own).error();
  PreparedContainer container(std::move(runtime), std::move(*own));
  const Bundle& bundle = container.bundle_;

  SpecContext& context = container.context_;
  context.hosts_path = bundle.File("hosts");
  context.resolv_path = bundle.File("resolv.conf");
  context.machine = host.machine;
  context.user_namespace = host.user_namespace;
  context.single_id = host.single_id;
  context.capabilities = host.capabilities;
  if (crun && spec.security == Security::kSandbox) {
    TRY(sys::MkdirAll(bundle.runtime_root(), 0711));
    context.seccomp_program =
        CompiledDefaultProfile(host.machine, spec.filter_dir.empty() ? bundle.runtime_root() : spec.filter_dir);
  }
  context.cgroup_mount = !host.user_namespace;
  if (crun && !host.user_namespace && spec.security == Security::kSandbox) {
    auto cgroup = DeviceCgroup(ExtraDevices(spec));
    if (cgroup) {
      container.cgroup_fd_ = *cgroup;
    } else {
      LOG_WARN("steps may not make device nodes: {}", cgroup.error().ToString());
      context.may_mknod = false;
    }
  }
  if (!crun && !host.user_namespace) {
    RelPath parent(spec.cgroup_parent);
    RemoveCgroupsOfTheDead(parent.Absolute());
    context.cgroup_path = parent.Join(bundle.id()).Absolute();
  }

  TRY(bundle.Write("hosts", HostsFile(spec.hostname, spec.extra_hosts)));
  TRY(bundle.Write("resolv.conf", spec.resolv_conf.empty()
                                      ? ResolvConf(HostResolvConf(), spec.network == Network::kHost)
                                      : spec.resolv_conf));
  Json document = BuildOciSpec(spec, context);
  container.config_ = document.Dump();

  TRY_ASSIGN(container.root_, sys::OpenDir(spec.rootfs));
  container.points_ = std::make_unique<MountPoints>(container.root_.get());
  if (!spec.read_only_rootfs) {
    TRY(EnsureWorkingDirectory(host, spec, container.root_.get()));
    TRY(EnsureMountPoints(document, container.root_.get(), *container.points_));
  }
  return container;
}

Json PreparedContainer::ProcessOf(const Spec& spec) const { return BuildProcess(spec, context_); }

Result<std::vector<RelPath>> PreparedContainer::Finish(bool killed) {
  std::vector<RelPath> parents = points_->Parents();
  Status removed = points_->Remove();
  if (!context_.cgroup_path.empty() && killed) RemoveRuncCgroups(context_.cgroup_path);
  TRY(removed);
  return parents;
}

}  // namespace varve::sandbox
