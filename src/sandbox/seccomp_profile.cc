#include "sandbox/seccomp_profile.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "base/strings.h"

namespace varve::sandbox {
namespace {

// Blank-separated, by family. Runtimes skip names that their libseccomp does not know.
constexpr std::string_view kAllowed[] = {
    // Files and directories
    "access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 "
    "faccessat faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown "
    "fchown32 fchownat fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 "
    "fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64 lchown lchown32 link linkat "
    "lseek _llseek lstat lstat64 memfd_create memfd_secret mkdir mkdirat mknod mknodat "
    "name_to_handle_at newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64 "
    "pwritev pwritev2 read readahead readlink readlinkat readv rename renameat renameat2 rmdir "
    "sendfile sendfile64 splice stat stat64 statfs statfs64 statmount listmount statx symlink "
    "symlinkat sync sync_file_range syncfs tee truncate truncate64 ugetrlimit umask unlink "
    "unlinkat "
    "utime utimensat utimensat_time64 utimes vmsplice write writev cachestat",
    // Extended attributes
    "fgetxattr flistxattr fremovexattr fsetxattr getxattr lgetxattr listxattr llistxattr "
    "lremovexattr lsetxattr removexattr setxattr getxattrat listxattrat removexattrat setxattrat",
    // Memory
    "brk madvise map_shadow_stack membarrier mincore mlock mlock2 mlockall mmap mmap2 mprotect "
    "mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect "
    "process_mrelease remap_file_pages",
    // Processes, threads, users
    "alarm capget capset execve execveat exit exit_group fork get_robust_list get_thread_area "
    "getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid "
    "getpgrp getpid getppid getpriority getresgid getresgid32 getresuid getresuid32 getrlimit "
    "getrusage getsid gettid getuid getuid32 kill landlock_add_rule landlock_create_ruleset "
    "landlock_restrict_self pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv "
    "process_vm_writev ptrace rseq seccomp set_robust_list set_thread_area set_tid_address "
    "setfsgid "
    "setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer getitimer "
    "setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid "
    "setreuid32 setrlimit setsid setuid setuid32 sysinfo tgkill times tkill uname vfork wait4 "
    "waitid waitpid chroot",
    // Scheduling
    "ioprio_get ioprio_set sched_get_priority_max sched_get_priority_min sched_getaffinity "
    "sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval "
    "sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam "
    "sched_setscheduler sched_yield",
    // Signals
    "pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn "
    "rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack signalfd "
    "signalfd4 sigprocmask sigreturn",
    // Time
    "adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 gettimeofday nanosleep time "
    "timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime "
    "timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime "
    "timerfd_settime64",
    // Waiting
    "_newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
    "epoll_wait epoll_wait_old eventfd eventfd2 fanotify_mark futex futex_requeue futex_time64 "
    "futex_wait futex_waitv futex_wake inotify_add_watch inotify_init inotify_init1 "
    "inotify_rm_watch ioctl poll ppoll ppoll_time64 pselect6 pselect6_time64 select",
    // Asynchronous I/O
    "io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit",
    // Sockets
    "accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg "
    "recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall "
    "socketpair",
    // System V and POSIX IPC
    "ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend "
    "mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop "
    "semtimedop_time64 shmat shmctl shmdt shmget",
    // Keys are left out on purpose (not namespaced); random numbers and the rest
    "getrandom uretprobe riscv_hwprobe",
};

// What one machine has beyond the others, and the second instruction sets that its kernel runs.
struct Machine {
  std::string_view name;  // uname -m
  std::string_view allowed;
  std::vector<std::string> architectures;
};

const Machine* FindMachine(std::string_view name) {
  static const std::vector<Machine> machines = {
      {"x86_64", "arch_prctl modify_ldt", {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"}},
      {"aarch64",
       "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
       {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"}},
      {"riscv64", "riscv_flush_icache", {"SCMP_ARCH_RISCV64"}},
      {"s390x", "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr", {"SCMP_ARCH_S390X", "SCMP_ARCH_S390"}},
      {"ppc64le", "sync_file_range2 swapcontext", {"SCMP_ARCH_PPC64LE"}}};
  auto found = std::ranges::find(machines, name, &Machine::name);
  return found == machines.end() ? nullptr : &*found;
}

// All CLONE_NEW* flags: clone is allowed when none of them is set.
constexpr int64_t kNamespaceFlags = 0x7E020000;
// Two socket families are refused: AF_ALG (the kernel's ciphers, which programs have in libraries)
// and AF_VSOCK (the hypervisor). All others are allowed, AF_NFC between the two among them.
constexpr int64_t kAlg = 38, kNfc = 39, kVsock = 40;

Json Names(std::string_view list) {
  Json names = Json::EmptyArray();
  for (std::string& name : Split(list, ' ')) {
    if (!name.empty()) names.Append(std::move(name));
  }
  return names;
}

Json Argument(int index, int64_t value, std::string_view op, int64_t second = 0) {
  Json argument;
  argument.Set("index", index).Set("value", value);
  argument.SetIf(second != 0 || op == "SCMP_CMP_MASKED_EQ", "valueTwo", second).Set("op", op);
  return argument;
}

Json Rule(Json names, std::string_view action = "SCMP_ACT_ALLOW") {
  Json rule;
  rule.Set("names", std::move(names)).Set("action", action);
  return rule;
}

Json RuleWithArgument(std::string_view name, Json argument) {
  Json rule = Rule(Names(name));
  rule.Set("args", Json::EmptyArray().Append(std::move(argument)));
  return rule;
}

}  // namespace

Json DefaultSeccompProfile(std::string_view machine) {
  const Machine* own = FindMachine(machine);
  Json allowed = Json::EmptyArray();
  auto allow = [&](std::string_view list) {
    Json names = Names(list);
    for (Json& name : names.as_array()) allowed.Append(std::move(name));
  };
  for (std::string_view list : kAllowed) allow(list);
  if (own != nullptr) allow(own->allowed);

  Json rules = Json::EmptyArray();
  rules.Append(Rule(std::move(allowed)));
  rules.Append(RuleWithArgument("socket", Argument(0, kAlg, "SCMP_CMP_LT")));
  rules.Append(RuleWithArgument("socket", Argument(0, kNfc, "SCMP_CMP_EQ")));
  rules.Append(RuleWithArgument("socket", Argument(0, kVsock, "SCMP_CMP_GT")));
  // PER_LINUX, PER_LINUX32, each with and without UNAME26, and the query.
  for (int64_t value : {0x0, 0x0008, 0x20000, 0x20008}) {
    rules.Append(RuleWithArgument("personality", Argument(0, value, "SCMP_CMP_EQ")));
  }
  rules.Append(RuleWithArgument("personality", Argument(0, 0xffffffff, "SCMP_CMP_EQ")));
  // s390 takes the stack first and the flags second.
  const int flags = machine == "s390x" ? 1 : 0;
  rules.Append(RuleWithArgument("clone", Argument(flags, kNamespaceFlags, "SCMP_CMP_MASKED_EQ", 0)));
  Json clone3 = Rule(Names("clone3"), "SCMP_ACT_ERRNO");
  clone3.Set("errnoRet", ENOSYS);
  rules.Append(std::move(clone3));

  Json profile;
  profile.Set("defaultAction", "SCMP_ACT_ERRNO").Set("defaultErrnoRet", EPERM);
  if (own != nullptr) profile.Set("architectures", Json::Strings(own->architectures));
  profile.Set("syscalls", std::move(rules));
  return profile;
}

}  // namespace varve::sandbox
