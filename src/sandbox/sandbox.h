// Runs one process in a prepared root file system, through an OCI runtime (crun, else runc).
//
//   sandbox::Spec spec;
//   spec.rootfs = mount.path();
//   spec.args = {"/bin/sh", "-c", "make"};
//   TRY_ASSIGN(sandbox::Outcome outcome, sandbox::Run(spec, state_dir, sink, stop));
//
// What holds afterwards, also after a stop: no process of the step, no mount and no file of ours is
// left, in the rootfs neither. When varve itself is killed, the kernel takes the step along: the
// runtime is pid 1 of a pid namespace of its own (the container's namespace nests in it) and gets
// SIGKILL when the thread that runs it ends.
//
// varve's own namespaces stay as they are. Measured on 4 cores: crun 7 ms, runc 38 ms for `true`.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/rel_path.h"
#include "base/result.h"
#include "sandbox/host_files.h"
#include "sandbox/user.h"
#include "sys/process.h"

namespace varve::sandbox {

enum class MountKind { kBind, kTmpfs };

struct MountSpec {
  MountKind kind = MountKind::kBind;
  std::string source = {};  // kBind: a path on the host, directory or file
  std::string target = {};  // absolute path in the container; symlinks are followed inside of it
  bool read_only = false;
  bool nosuid = false;
  bool nodev = false;
  bool noexec = false;
  uint64_t size = 0;                  // kTmpfs: bytes; 0 is no limit of its own
  std::optional<unsigned> mode = {};  // kTmpfs; default 1777
};

struct Ulimit {
  std::string name;            // "nofile": the lower-case name without RLIMIT_
  int64_t soft = 0, hard = 0;  // -1: unlimited
};

struct ResourceLimits {
  std::optional<int64_t> memory, memory_swap;  // bytes; swap counts memory too, -1 is unlimited
  std::optional<uint64_t> cpu_shares, cpu_period;
  std::optional<int64_t> cpu_quota;
  std::string cpuset_cpus, cpuset_mems;
  bool empty() const {
    return !memory && !memory_swap && !cpu_shares && !cpu_period && !cpu_quota && cpuset_cpus.empty() &&
           cpuset_mems.empty();
  }
};

enum class Network { kHost, kNone };  // kNone: a namespace with the loopback device alone
enum class Security { kSandbox, kInsecure };

// A device node of the host, to be seen in the container.
struct DeviceNode {
  std::string host_path;
  std::string path;                                       // in the container
  std::string permissions = "rwm";                        // read, write, mknod
  std::optional<uint32_t> mode = {}, uid = {}, gid = {};  // default: the host's
};

struct Spec {
  std::string rootfs;             // host path of a directory, usually a mounted overlay
  bool read_only_rootfs = false;  // mount points must then exist
  std::vector<std::string> args;  // the first is looked up in the container's PATH
  std::vector<std::string> env;   // "K=V"; PATH is added when missing
  bool terminal = false;          // the process gets one; only in a Container (container.h)
  std::string cwd = "/";          // made (0755, owned by the user) when missing
  User user;                      // sandbox/user.h resolves names
  std::string hostname = "buildkitsandbox";
  std::vector<MountSpec> mounts;  // in order, after the standard ones
  Network network = Network::kHost;
  Security security = Security::kSandbox;
  std::string filter_dir;  // exists; keeps the compiled system-call filter. Empty: the state directory
  std::vector<ExtraHost> extra_hosts;
  std::string resolv_conf;  // the text; empty: this machine's, as ResolvConf changes it
  uint64_t shm_size = 64 << 20;
  std::vector<Ulimit> ulimits;
  ResourceLimits limits;
  std::string cgroup_parent;  // only used with limits
  std::vector<DeviceNode> devices;
  std::vector<std::pair<std::string, Json>> hooks;  // name and object (config.md, "POSIX-platform Hooks")
};

struct Outcome {
  int exit_code = 0;  // 128 + signal when killed by one
  int signal = 0;     // as far as the runtime tells: 0 where it reports only 128 + n
  Nanos wall{};
  rusage usage{};  // of the runtime and all that it waited for
  // Directories of the rootfs in which mount points were made and removed again. Their times are as
  // before, but an overlay has copied them up: the layer's writer may drop such an unchanged entry.
  std::vector<RelPath> mount_point_parents;
};

// Receives the output as it comes, on the thread that called Run.
using OutputSink = sys::OutputCallback;

enum class RuntimeKind { kCrun, kRunc };

struct Runtime {
  RuntimeKind kind = RuntimeKind::kCrun;
  std::string path;
};

// VARVE_RUNTIME (a name or path; its last part must begin with "crun" or "runc"), else crun or runc
// on PATH. kNotFound with a hint when there is none.
Result<Runtime> FindRuntime();

// Blocks until the process has ended. Any number of steps may run at once, each on a rootfs of its
// own (mount points are made and removed in it). `state_dir` is a private directory of the caller,
// created when missing; steps may share it. A non-zero exit is an Outcome, not an error. Errors:
// kCancelled after a stop (everything is dead by then); kExec when the program cannot be started;
// kInvalid for a spec that this machine cannot run, with a hint.
Result<Outcome> Run(const Spec& spec, const std::string& state_dir, const OutputSink& sink, std::stop_token stop);
Result<Outcome> RunWith(const Runtime& runtime, const Spec& spec, const std::string& state_dir, const OutputSink& sink,
                        std::stop_token stop);

}  // namespace varve::sandbox
