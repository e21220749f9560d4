#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/strings.h"
#include "sys/stop_event.h"

namespace varve::sys {
namespace {

// Everything the child needs, laid out before the clone: it shares our memory and must not
// allocate.
struct ChildPlan {
  const SpawnSpec* spec;
  const char* program;
  std::vector<char*> argv, envp;
  std::vector<std::pair<int, int>> fds;  // source → target; source replaced by the child's own copy
  int first_free_fd = 3;
  int program_fd = -1;
  std::string uid_map, gid_map;
  pid_t parent;
  // The child's report: which call failed and how.
  const char* failed = nullptr;
  int error = 0;
};

// For all that runs between clone and exec. AddressSanitizer would mark the child's frames, and
// unmark everything at its last call, in memory that the parent goes on using; ThreadSanitizer
// would enter calls in the parent's stack that are never left. Its versions of open, dup2 and close
// would take the child's descriptors for ours, so these are the system calls themselves.
#define VARVE_CHILD_CODE __attribute__((no_sanitize("address", "undefined", "thread")))

VARVE_CHILD_CODE int Open(const char* path, int flags) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags));
}

[[noreturn]] VARVE_CHILD_CODE void Fail(ChildPlan* plan, const char* what) {
  plan->error = errno;
  plan->failed = what;
  _exit(127);
}

VARVE_CHILD_CODE void SetUpFds(ChildPlan* plan) {
  // Beyond this point every descriptor above stderr closes on exec, except those installed below.
  syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
  // First out of the way of all targets, then into place.
  if (plan->spec->program_fd >= 0) {
    plan->program_fd = fcntl(plan->spec->program_fd, F_DUPFD_CLOEXEC, plan->first_free_fd);
    if (plan->program_fd < 0) Fail(plan, "duplicate a descriptor");
  }
  for (auto& [source, target] : plan->fds) {
    int copy = source < 0 ? Open("/dev/null", O_RDWR | O_CLOEXEC) : source;
    if (copy < 0) Fail(plan, "open /dev/null");
    source = fcntl(copy, F_DUPFD_CLOEXEC, plan->first_free_fd);
    if (source < 0) Fail(plan, "duplicate a descriptor");
  }
  for (auto& [source, target] : plan->fds) {
    // Never equal: the copies lie above all targets.
    if (syscall(SYS_dup3, source, target, 0) < 0) Fail(plan, "duplicate a descriptor");
  }
}

VARVE_CHILD_CODE void SetUpMounts(ChildPlan* plan) {
  const unsigned long propagation = plan->spec->follow_mounts ? MS_SLAVE : MS_PRIVATE;
  if (mount("none", "/", nullptr, MS_REC | propagation, nullptr) != 0) {
    Fail(plan, "make mounts private");
  }
  for (const SpawnMount& m : plan->spec->mounts) {
    if (mount(m.source.c_str(), m.target.c_str(), m.type.c_str(), m.flags, m.data.c_str()) != 0 && !m.optional) {
      Fail(plan, "mount");
    }
  }
}

VARVE_CHILD_CODE void WriteFile(ChildPlan* plan, const char* path, const char* text) {
  int fd = Open(path, O_WRONLY | O_CLOEXEC);
  size_t size = strlen(text);
  if (fd < 0 || syscall(SYS_write, fd, text, size) != static_cast<long>(size)) Fail(plan, path);
  syscall(SYS_close, fd);
}

VARVE_CHILD_CODE void MapUser(ChildPlan* plan) {
  WriteFile(plan, "/proc/self/setgroups", "deny");
  WriteFile(plan, "/proc/self/uid_map", plan->uid_map.c_str());
  WriteFile(plan, "/proc/self/gid_map", plan->gid_map.c_str());
}

[[noreturn]] VARVE_CHILD_CODE void ChildMain(ChildPlan* plan) {
  const SpawnSpec& spec = *plan->spec;
  // Handlers of the parent must not run here: the memory is shared. All signals are still blocked.
  // The system call itself: libc's sigaction refuses the two signals that it keeps for itself (32 and
  // 33), which a parent of ours may have left ignored. All zeros is the default action.
  static constexpr unsigned long kDefault[8] = {};
  for (int signal = 1; signal < NSIG; ++signal) {
    syscall(SYS_rt_sigaction, signal, kDefault, nullptr, sizeof(unsigned long));
  }
  if (spec.parent_death_signal != 0) {
    if (prctl(PR_SET_PDEATHSIG, spec.parent_death_signal) != 0) Fail(plan, "prctl");
    // The parent may have died before the line above; in a new pid namespace its id reads as 0.
    pid_t parent = getppid();
    if (parent != plan->parent && parent != 0) _exit(127);
  }
  if (spec.new_session && setsid() < 0) Fail(plan, "setsid");
  if (spec.new_process_group && setpgid(0, 0) != 0) Fail(plan, "setpgid");
  if (spec.new_namespaces & CLONE_NEWUSER) MapUser(plan);
  if (spec.new_namespaces & CLONE_NEWNS) SetUpMounts(plan);
  if (spec.join_pidfd >= 0 && syscall(SYS_setns, spec.join_pidfd, CLONE_NEWNS) != 0) Fail(plan, "join mounts");
  if (!spec.cwd.empty() && chdir(spec.cwd.c_str()) != 0) Fail(plan, "change directory");
  SetUpFds(plan);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan->program_fd >= 0) {
    syscall(SYS_execveat, plan->program_fd, "", plan->argv.data(), plan->envp.data(), AT_EMPTY_PATH);
  }
  execve(plan->program, plan->argv.data(), plan->envp.data());
  Fail(plan, "execute");
}

// The structure of <linux/sched.h>, which cannot be included together with <sched.h>.
struct CloneArguments {
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
constexpr uint64_t kCloneIntoCgroup = 0x200000000;

// The child runs on this very stack, below our frame, while we are suspended (vfork). That is sound
// only because it never returns from here, and because the system call is in line: a return address
// pushed for a wrapper would be overwritten by the child before we come back.
__attribute__((noinline)) VARVE_CHILD_CODE long CloneChild(const CloneArguments* arguments, ChildPlan* plan) {
  constexpr long kSize = sizeof(CloneArguments);
#if defined(__x86_64__)
  long result;
  asm volatile("syscall" : "=a"(result) : "a"(SYS_clone3), "D"(arguments), "S"(kSize) : "rcx", "r11", "memory");
#elif defined(__aarch64__)
  register long x8 asm("x8") = SYS_clone3;
  register long x0 asm("x0") = reinterpret_cast<long>(arguments);
  register long x1 asm("x1") = kSize;
  asm volatile("svc #0" : "+r"(x0) : "r"(x1), "r"(x8) : "memory");
  long result = x0;
#else
#error "Spawn knows x86_64 and aarch64"
#endif
  if (result == 0) ChildMain(plan);
  return result;
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const std::string& s : strings) pointers.push_back(const_cast<char*>(s.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The children of this thread, while it lives, are born into the pid namespace of another process: a
// process cannot change its own.
class ChildrenJoinPids {
 public:
  explicit ChildrenJoinPids(int pidfd) {
    if (pidfd < 0) return;
    own_.Reset(open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    if (!own_ || setns(pidfd, CLONE_NEWPID) != 0) {
      status_ = ErrnoError(errno, "join the pid namespace of a process");
      own_.Reset();
    }
  }
  ~ChildrenJoinPids() {
    // A thread that cannot go back would start everything that comes later in that namespace.
    if (own_) CHECK(setns(own_.get(), CLONE_NEWPID) == 0);
  }
  ChildrenJoinPids(const ChildrenJoinPids&) = delete;
  ChildrenJoinPids& operator=(const ChildrenJoinPids&) = delete;
  const Status& status() const { return status_; }

 private:
  Fd own_;
  Status status_ = Ok();
};

}  // namespace

std::optional<std::string> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return access(name.c_str(), X_OK) == 0 ? std::optional(name) : std::nullopt;
  }
  const char* path = std::getenv("PATH");
  std::string directories = path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (const std::string& directory : Split(directories, ':')) {
    if (directory.empty()) continue;
    std::string candidate = directory + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return std::nullopt;
}

Result<Child> Spawn(const SpawnSpec& spec) {
  CHECK(!spec.argv.empty());
  std::optional<std::string> program = FindProgram(spec.argv[0]);
  if (!program) return NotFound("cannot find the program {}", spec.argv[0]);

  ChildPlan plan;
  plan.spec = &spec;
  plan.program = program->c_str();
  plan.argv = Pointers(spec.argv);
  if (spec.env) {
    plan.envp = Pointers(*spec.env);
  } else {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      plan.envp.push_back(*entry);
    }
    plan.envp.push_back(nullptr);
  }
  plan.fds = {{spec.stdin_fd, 0}, {spec.stdout_fd, 1}, {spec.stderr_fd, 2}};
  plan.fds.insert(plan.fds.end(), spec.extra_fds.begin(), spec.extra_fds.end());
  for (auto& [source, target] : plan.fds) {
    plan.first_free_fd = std::max({plan.first_free_fd, source + 1, target + 1});
  }
  plan.parent = getpid();

  plan.uid_map = fmt::format("0 {} 1", geteuid());
  plan.gid_map = fmt::format("0 {} 1", getegid());

  int pidfd = -1;
  CloneArguments arguments{};
  arguments.flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | static_cast<unsigned>(spec.new_namespaces);
  arguments.pidfd = reinterpret_cast<uintptr_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  if (spec.cgroup_fd >= 0) {
    arguments.flags |= kCloneIntoCgroup;
    arguments.cgroup = static_cast<unsigned>(spec.cgroup_fd);
  }
  sigset_t all, old_mask;
  sigfillset(&all);
  long result;
  {
    ChildrenJoinPids joined(spec.join_pidfd);
    TRY(joined.status());
    pthread_sigmask(SIG_SETMASK, &all, &old_mask);
    result = CloneChild(&arguments, &plan);
    pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  }
  pid_t pid = result < 0 ? -1 : static_cast<pid_t>(result);
  int clone_error = result < 0 ? static_cast<int>(-result) : 0;
  if (pid < 0) {
    Error error = ErrnoError(clone_error, "start " + spec.argv[0]);
    if (clone_error == EPERM && spec.new_namespaces != 0) {
      error.hint = "making namespaces needs root (or a user namespace)";
    }
    return error;
  }

  Child child;
  child.pid_ = pid;
  child.pidfd_.Reset(pidfd);
  if (plan.failed != nullptr) {
    child.KillAndReap();
    return ErrnoError(plan.error, fmt::format("start {}: {}", spec.argv[0], plan.failed));
  }
  return child;
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    KillAndReap();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
  }
  return *this;
}

Child::~Child() { KillAndReap(); }

void Child::KillAndReap() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  pidfd_.Reset();
}

Status Child::Kill(int signal) {
  if (pid_ < 0 || kill(pid_, signal) == 0 || errno == ESRCH) return Ok();
  return ErrnoError(errno, "kill");
}

Result<ExitStatus> Child::Wait(std::stop_token stop) {
  CHECK(pid_ >= 0);
  if (stop.stop_possible()) {
    StopEvent event(stop);
    pollfd fds[] = {{pidfd_.get(), POLLIN, 0}, {event.fd(), POLLIN, 0}};
    while (poll(fds, 2, -1) < 0) {
      if (errno != EINTR) return ErrnoError(errno, "poll");
    }
    if ((fds[0].revents & POLLIN) == 0) return Cancelled("cancelled while a process was running");
  }
  ExitStatus status;
  int raw = 0;
  while (wait4(pid_, &raw, 0, &status.usage) < 0) {
    if (errno != EINTR) return ErrnoError(errno, "wait for a process");
  }
  pid_ = -1;
  pidfd_.Reset();
  if (WIFSIGNALED(raw)) {
    status.signal = WTERMSIG(raw);
    status.code = 128 + status.signal;
  } else {
    status.code = WEXITSTATUS(raw);
  }
  return status;
}

}  // namespace varve::sys
