#include "sandbox/oci_spec.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/strings.h"
#include "sandbox/capabilities.h"
#include "sandbox/seccomp_profile.h"

namespace varve::sandbox {
namespace {

constexpr std::string_view kDefaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// Paths that tell about, or reach, the host's hardware.
const std::vector<std::string>& MaskedPaths() {
  static const std::vector<std::string> paths = {
      "/proc/acpi",        "/proc/asound",        "/proc/interrupts", "/proc/kcore",
      "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
      "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap"};
  return paths;
}

const std::vector<std::string>& ReadonlyPaths() {
  static const std::vector<std::string> paths = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                                 "/proc/sysrq-trigger"};
  return paths;
}

Json MountJson(const std::string& target, const std::string& type, const std::string& source,
               const std::vector<std::string>& options) {
  Json mount;
  mount.Set("destination", target).Set("type", type).Set("source", source);
  mount.Set("options", Json::Strings(options));
  return mount;
}

Json StandardMounts(const Spec& spec, const SpecContext& context) {
  const bool insecure = spec.security == Security::kInsecure;
  const std::string access = insecure ? "rw" : "ro";
  Json mounts = Json::EmptyArray();
  mounts.Append(MountJson("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  mounts.Append(MountJson("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
  std::vector<std::string> pts = {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"};
  if (!context.single_id) pts.push_back("gid=5");  // tty
  mounts.Append(MountJson("/dev/pts", "devpts", "devpts", pts));
  mounts.Append(MountJson("/dev/shm", "tmpfs", "shm",
                          {"nosuid", "noexec", "nodev", "mode=1777", fmt::format("size={}", spec.shm_size)}));
  mounts.Append(MountJson("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  if (context.user_namespace && spec.network == Network::kHost) {
    // A new sysfs needs rights over the network namespace.
    mounts.Append(MountJson("/sys", "none", "/sys", {"rbind", "nosuid", "noexec", "nodev", "ro"}));
  } else {
    mounts.Append(MountJson("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", access}));
    if (context.cgroup_mount) {
      mounts.Append(MountJson("/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", access}));
    }
  }
  mounts.Append(MountJson("/etc/resolv.conf", "bind", context.resolv_path, {"rbind", "ro"}));
  mounts.Append(MountJson("/etc/hosts", "bind", context.hosts_path, {"rbind", "ro"}));
  return mounts;
}

Json StepMount(const MountSpec& mount) {
  std::vector<std::string> options;
  if (mount.kind == MountKind::kBind) options.push_back("rbind");
  options.push_back(mount.read_only ? "ro" : "rw");
  if (mount.nosuid) options.push_back("nosuid");
  if (mount.nodev) options.push_back("nodev");
  if (mount.noexec) options.push_back("noexec");
  if (mount.kind == MountKind::kBind) return MountJson(mount.target, "bind", mount.source, options);
  if (mount.size > 0) options.push_back(fmt::format("size={}", mount.size));
  options.push_back(fmt::format("mode={:o}", mount.mode.value_or(01777)));
  return MountJson(mount.target, "tmpfs", "tmpfs", options);
}

Json DeviceRule(bool allow, std::string_view access, std::string_view type = {}, std::optional<int64_t> major = {},
                std::optional<int64_t> minor = {}) {
  Json rule;
  rule.Set("allow", allow);
  rule.SetIf(!type.empty(), "type", type);
  if (major) rule.Set("major", *major);
  if (minor) rule.Set("minor", *minor);
  return rule.Set("access", access);
}

// The nodes to make in /dev and the rules that open them.
void AddDevices(const Spec& spec, Json& linux_part, Json& rules) {
  Json nodes = Json::EmptyArray();
  for (const DeviceNode& device : spec.devices) {
    struct stat st;
    if (stat(device.host_path.c_str(), &st) != 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))) continue;
    const char* type = S_ISCHR(st.st_mode) ? "c" : "b";
    Json node;
    node.Set("path", device.path).Set("type", type).Set("major", major(st.st_rdev));
    node.Set("minor", minor(st.st_rdev)).Set("fileMode", device.mode.value_or(st.st_mode & 0777));
    node.Set("uid", device.uid.value_or(st.st_uid)).Set("gid", device.gid.value_or(st.st_gid));
    nodes.Append(std::move(node));
    rules.Append(DeviceRule(true, device.permissions, type, major(st.st_rdev), minor(st.st_rdev)));
  }
  if (!nodes.as_array().empty()) linux_part.Set("devices", std::move(nodes));
}

Json ResourcesJson(const Spec& spec, Json rules) {
  Json resources;
  resources.Set("devices", std::move(rules));
  const ResourceLimits& limits = spec.limits;
  Json memory = Json::EmptyObject(), cpu = Json::EmptyObject();
  if (limits.memory) memory.Set("limit", *limits.memory);
  if (limits.memory_swap) memory.Set("swap", *limits.memory_swap);
  if (limits.cpu_shares) cpu.Set("shares", *limits.cpu_shares);
  if (limits.cpu_quota) cpu.Set("quota", *limits.cpu_quota);
  if (limits.cpu_period) cpu.Set("period", *limits.cpu_period);
  cpu.SetIf(!limits.cpuset_cpus.empty(), "cpus", limits.cpuset_cpus);
  cpu.SetIf(!limits.cpuset_mems.empty(), "mems", limits.cpuset_mems);
  if (!memory.as_object().empty()) resources.Set("memory", std::move(memory));
  if (!cpu.as_object().empty()) resources.Set("cpu", std::move(cpu));
  return resources;
}

}  // namespace

Json BuildProcess(const Spec& spec, const SpecContext& context) {
  Json user;
  user.Set("uid", spec.user.uid).Set("gid", spec.user.gid);
  // setgroups is denied in a single-id user namespace.
  if (!context.single_id && !spec.user.additional_gids.empty()) {
    Json gids = Json::EmptyArray();
    for (gid_t gid : spec.user.additional_gids) gids.Append(gid);
    user.Set("additionalGids", std::move(gids));
  }
  std::vector<std::string> env = spec.env;
  if (std::ranges::none_of(env, [](const std::string& e) { return e.starts_with("PATH="); })) {
    env.insert(env.begin(), std::string(kDefaultPath));
  }
  std::vector<std::string> names =
      Intersect(spec.security == Security::kInsecure ? AllCapabilities() : DefaultCapabilities(), context.capabilities);
  if (spec.security != Security::kInsecure && !context.may_mknod) {
    std::erase(names, "CAP_MKNOD");
  }
  Json capabilities;
  for (const char* set : {"bounding", "effective", "permitted"}) {
    capabilities.Set(set, Json::Strings(names));
  }
  Json process;
  process.Set("terminal", spec.terminal).Set("user", std::move(user));
  process.Set("args", Json::Strings(spec.args)).Set("env", Json::Strings(env));
  process.Set("cwd", spec.cwd.empty() ? "/" : spec.cwd);
  process.Set("capabilities", std::move(capabilities));
  if (!spec.ulimits.empty()) {
    Json limits = Json::EmptyArray();
    for (const Ulimit& u : spec.ulimits) {
      Json limit;
      limit.Set("type", "RLIMIT_" + ToUpper(u.name)).Set("hard", u.hard).Set("soft", u.soft);
      limits.Append(std::move(limit));
    }
    process.Set("rlimits", std::move(limits));
  }
  return process.Set("noNewPrivileges", false);
}

Json BuildOciSpec(const Spec& spec, const SpecContext& context) {
  const bool insecure = spec.security == Security::kInsecure;
  Json mounts = StandardMounts(spec, context);
  for (const MountSpec& mount : spec.mounts) mounts.Append(StepMount(mount));

  Json linux_part;
  Json rules = Json::EmptyArray();
  rules.Append(DeviceRule(insecure, "rwm"));
  if (!insecure) {
    rules.Append(DeviceRule(true, "m", "c"));
    rules.Append(DeviceRule(true, "m", "b"));
  }
  AddDevices(spec, linux_part, rules);
  linux_part.Set("resources", ResourcesJson(spec, std::move(rules)));
  linux_part.SetIf(!context.cgroup_path.empty(), "cgroupsPath", context.cgroup_path);
  Json namespaces = Json::EmptyArray();
  for (const char* type : {"pid", "ipc", "uts", "mount", "cgroup", "network"}) {
    if (std::string_view(type) == "network" && spec.network == Network::kHost) continue;
    if (std::string_view(type) == "cgroup" && !context.cgroup_mount) continue;
    Json entry;
    namespaces.Append(std::move(entry.Set("type", type)));
  }
  linux_part.Set("namespaces", std::move(namespaces));
  if (!insecure) {
    if (context.seccomp_program.empty()) {
      linux_part.Set("seccomp", DefaultSeccompProfile(context.machine));
    }
    linux_part.Set("maskedPaths", Json::Strings(MaskedPaths()));
    linux_part.Set("readonlyPaths", Json::Strings(ReadonlyPaths()));
  }

  Json root;
  root.Set("path", spec.rootfs).Set("readonly", spec.read_only_rootfs);
  Json document;
  document.Set("ociVersion", "1.0.2").Set("process", BuildProcess(spec, context));
  document.Set("root", std::move(root)).Set("hostname", spec.hostname);
  document.Set("mounts", std::move(mounts)).Set("linux", std::move(linux_part));
  Json hooks = Json::EmptyObject();
  for (const auto& [name, hook] : spec.hooks) {
    if (hooks.Find(name) == nullptr) hooks.Set(name, Json::EmptyArray());
    hooks.Find(name)->Append(hook);
  }
  if (!spec.hooks.empty()) document.Set("hooks", std::move(hooks));
  if (!insecure && !context.seccomp_program.empty()) {
    Json annotations;
    annotations.Set("run.oci.seccomp_bpf_data", context.seccomp_program);
    document.Set("annotations", std::move(annotations));
  }
  return document;
}

}  // namespace varve::sandbox
