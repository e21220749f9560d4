#include "sandbox/runtime.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "sandbox/capabilities.h"
#include "sys/namespace.h"
#include "sys/probe.h"

namespace varve::sandbox {

namespace {

Result<Fd> CopyAndSeal(const std::string& path) {
  TRY_ASSIGN(Fd program, OpenFile(path, O_RDONLY));
  Fd copy(memfd_create("crun", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return ErrnoError(errno, "memfd_create");
  FdReader in(program.get());
  FdWriter out(copy.get());
  TRY(Copy(in, out));
  if (fchmod(copy.get(), 0555) != 0) return ErrnoError(errno, "chmod");
  if (fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
    return ErrnoError(errno, "seal");
  }
  return copy;
}

// The program at `path` in a file that nobody can change; -1 where that cannot be had.
//
// crun, so that a container cannot overwrite it through /proc/<pid>/exe (CVE-2019-5736), mounts itself
// read-only on a file in /tmp and executes itself once more from there, unless it finds that it is such
// a copy already. Started from one it is linked with its eleven libraries once: a fifth of a step's CPU.
int SealedCopyOf(const std::string& path) {
  struct Copied {
    struct stat of {};
    Fd fd;
  };
  static Guarded<std::map<std::string, Copied>> copies;
  struct stat now;
  if (stat(path.c_str(), &now) != 0) return -1;
  auto known = copies.Lock();
  Copied& copied = (*known)[path];
  bool same = copied.of.st_dev == now.st_dev && copied.of.st_ino == now.st_ino && copied.of.st_size == now.st_size &&
              copied.of.st_mtim.tv_sec == now.st_mtim.tv_sec && copied.of.st_mtim.tv_nsec == now.st_mtim.tv_nsec;
  if (same) return copied.fd.get();
  auto fd = CopyAndSeal(path);
  if (!fd) LOG_DEBUG("no sealed copy of {}: {}", path, fd.error().message);
  // An older copy stays open: a step may be starting from it.
  if (copied.fd) (void)copied.fd.Release();
  copied = {now, fd ? std::move(*fd) : Fd()};
  return copied.fd.get();
}

}  // namespace

Result<Runtime> FindRuntime() {
  if (const char* wanted = std::getenv("VARVE_RUNTIME"); wanted != nullptr && *wanted != '\0') {
    std::string_view name = std::string_view(wanted).substr(std::string_view(wanted).rfind('/') + 1);
    Runtime runtime;
    if (name.starts_with("crun")) {
      runtime.kind = RuntimeKind::kCrun;
    } else if (name.starts_with("runc")) {
      runtime.kind = RuntimeKind::kRunc;
    } else {
      return Invalid("VARVE_RUNTIME={}: the runtime should be crun or runc", wanted);
    }
    auto path = sys::FindProgram(wanted);
    if (!path) return NotFound("VARVE_RUNTIME={}: there is no such program", wanted);
    runtime.path = *path;
    return runtime;
  }
  if (auto path = sys::FindProgram("crun")) return Runtime{RuntimeKind::kCrun, *path};
  if (auto path = sys::FindProgram("runc")) return Runtime{RuntimeKind::kRunc, *path};
  Error error = NotFound("cannot run steps: neither crun nor runc is on PATH");
  error.hint = "install crun (recommended) or runc, or set VARVE_RUNTIME to its path";
  return error;
}

Host ProbeHost() {
  Host host;
  utsname name{};
  if (uname(&name) == 0) host.machine = name.machine;
  host.make_user_namespace = !sys::CanMount();
  host.user_namespace = host.make_user_namespace || sys::InUserNamespace();
  host.single_id = host.make_user_namespace || (host.user_namespace && sys::MappedIds() == 1);
  // A new user namespace has all capabilities.
  host.capabilities = host.make_user_namespace ? ~uint64_t{0} : AvailableCapabilities();
  host.cgroup2_mount = sys::DetectCgroupLayout() != sys::CgroupLayout::kV2;
  return host;
}

const Host& ThisHost() {
  static const Host host = ProbeHost();
  return host;
}

namespace {

sys::SpawnSpec CommandWith(const Runtime& runtime, const std::string& root, const std::string& bundle,
                           const std::string& log) {
  sys::SpawnSpec command;
  command.argv = {runtime.path, "--root", root, "--log", log, "--log-format", "json"};
  if (runtime.kind == RuntimeKind::kCrun) {
    command.argv.push_back("--cgroup-manager=disabled");
    command.program_fd = SealedCopyOf(runtime.path);
  }
  command.env = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR=" + bundle};
  command.cwd = "/";
  command.new_session = true;
  command.parent_death_signal = SIGKILL;
  return command;
}

}  // namespace

sys::SpawnSpec RuntimeCommand(const Runtime& runtime, const Host& host, const std::string& root,
                              const std::string& bundle, const std::string& id,
                              const std::vector<std::string>& options) {
  sys::SpawnSpec command = CommandWith(runtime, root, bundle, bundle + "/log");
  command.argv.insert(command.argv.end(), {"run", "--bundle", bundle});
  command.argv.insert(command.argv.end(), options.begin(), options.end());
  command.argv.push_back(id);
  command.new_namespaces = CLONE_NEWNS | CLONE_NEWPID;
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  command.mounts.push_back({"proc", "/proc", "proc", kFlags});
  if (host.user_namespace || (runtime.kind == RuntimeKind::kCrun && host.cgroup2_mount)) {
    // A cgroup2 mount takes rights over the cgroup namespace; and in the first of them Linux 6.18 lets it wait for an
    // RCU grace period, 8 to 15 ms (cgroup_favor_dynmods).
    command.new_namespaces |= CLONE_NEWCGROUP;
    command.mounts.push_back({"cgroup2", "/sys/fs/cgroup", "cgroup2", kFlags});
  }
  if (host.make_user_namespace) command.new_namespaces |= CLONE_NEWUSER;
  return command;
}

sys::SpawnSpec ExecCommand(const Runtime& runtime, const std::string& root, const std::string& bundle,
                           const std::string& id, const std::string& name, int pidfd) {
  const std::string files = bundle + "/" + name;
  sys::SpawnSpec command = CommandWith(runtime, root, bundle, files + ".log");
  command.argv.insert(command.argv.end(), {"exec", "--process", files + ".json", "--pid-file", files + ".pid", id});
  command.join_pidfd = pidfd;
  return command;
}

Result<Outcome> OutcomeOf(const Runtime& runtime, const std::string& log_file, const sys::ExitStatus& status) {
  Outcome outcome;
  outcome.exit_code = status.code;
  outcome.signal = status.signal;
  outcome.usage = status.usage;
  if (status.code != 0) {
    auto log = ReadFile(log_file);
    std::string message = log ? LastLogError(*log) : std::string();
    if (!message.empty()) return RuntimeError(runtime, message);
  }
  return outcome;
}

std::string LastLogError(std::string_view log) {
  std::string last;
  for (const std::string& line : Split(log, '\n')) {
    auto entry = Json::Parse(line);
    if (entry && entry->GetString("level") == "error") last = entry->GetString("msg");
  }
  return last;
}

Error RuntimeError(const Runtime& runtime, std::string_view message) {
  Error error = MakeError(Code::kExec, "cannot start the step's process: {}: {}",
                          runtime.kind == RuntimeKind::kCrun ? "crun" : "runc", message);
  std::string lower = ToLower(message);
  if (lower.find("executable file") != std::string::npos ||
      lower.find("no such file or directory") != std::string::npos) {
    error.hint = "check that the program and its interpreter are in the image and on PATH";
  } else if (lower.find("exec format error") != std::string::npos) {
    error.hint = "the image is for another platform: pass --platform, or register qemu with binfmt";
  }
  return error;
}

}  // namespace varve::sandbox
