#include "sandbox/oci_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <set>

#include "base/fd.h"
#include "sandbox/capabilities.h"
#include "sandbox/runtime.h"
#include "sandbox/seccomp_compiler.h"
#include "sandbox/seccomp_profile.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

Spec ExampleSpec() {
  Spec spec;
  spec.rootfs = "/state/rootfs";
  spec.args = {"/bin/sh", "-c", "make all"};
  spec.env = {"LANG=C", "PATH=/bin"};
  spec.cwd = "/src";
  spec.user = {1000, 1001, {10, 1001}};
  spec.mounts = {{.source = "/host/cache", .target = "/root/.cache"},
                 {.source = "/host/secret",
                  .target = "/run/secrets/k",
                  .read_only = true,
                  .nosuid = true,
                  .nodev = true,
                  .noexec = true},
                 {.kind = MountKind::kTmpfs, .target = "/tmp", .nosuid = true, .size = 1 << 20}};
  spec.network = Network::kNone;
  spec.ulimits = {{"nofile", 1024, 2048}};
  spec.limits.memory = 1 << 30;
  spec.limits.cpuset_cpus = "0-1";
  return spec;
}

SpecContext ExampleContext() {
  SpecContext context;
  context.hosts_path = "/state/b/hosts";
  context.resolv_path = "/state/b/resolv.conf";
  context.cgroup_mount = true;
  context.cgroup_path = "/varve-1-0";
  return context;
}

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/sandbox/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(sys::MkdirAll(std::string(VARVE_GOLDEN_DIR) + "/sandbox"));
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

std::set<std::string> Destinations(const Json& document) {
  std::set<std::string> names;
  for (const Json& mount : document.GetArray("mounts")) names.insert(mount.GetString("destination"));
  return names;
}

TEST(OciSpec, GoldenDocument) {
  Json document = BuildOciSpec(ExampleSpec(), ExampleContext());
  ExpectGolden("spec.json", document.Dump({.indent = 2}) + "\n");
}

TEST(OciSpec, LimitsAndArchitecturesArePresent) {
  Json document = BuildOciSpec(ExampleSpec(), ExampleContext());
  const Json* resources = document.Find("linux")->Find("resources");
  ASSERT_NE(resources->Find("memory"), nullptr);
  EXPECT_EQ(resources->Find("memory")->GetInt("limit"), 1 << 30);
  EXPECT_EQ(resources->Find("cpu")->GetString("cpus"), "0-1");
  EXPECT_THAT(document.Find("linux")->Find("seccomp")->GetStrings("architectures"),
              ElementsAre("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"));
}

TEST(OciSpec, InsecureHasNoFilterNoMasksAndAllCapabilities) {
  Spec spec = ExampleSpec();
  spec.security = Security::kInsecure;
  Json document = BuildOciSpec(spec, ExampleContext());
  const Json* linux_part = document.Find("linux");
  EXPECT_EQ(linux_part->Find("seccomp"), nullptr);
  EXPECT_EQ(linux_part->Find("maskedPaths"), nullptr);
  EXPECT_EQ(linux_part->Find("readonlyPaths"), nullptr);
  const Json* capabilities = document.Find("process")->Find("capabilities");
  EXPECT_EQ(capabilities->GetStrings("bounding").size(), AllCapabilities().size());
}

TEST(OciSpec, RootlessLeavesOutWhatASingleIdCannotDo) {
  SpecContext context = ExampleContext();
  context.user_namespace = true;
  context.single_id = true;
  context.cgroup_mount = false;
  Spec spec = ExampleSpec();
  spec.network = Network::kHost;
  std::string text = BuildOciSpec(spec, context).Dump();
  EXPECT_THAT(text, Not(HasSubstr("gid=5")));
  EXPECT_THAT(text, Not(HasSubstr("additionalGids")));
  EXPECT_THAT(text, Not(HasSubstr("\"sysfs\"")));
  EXPECT_THAT(Destinations(BuildOciSpec(spec, context)), Not(Contains("/sys/fs/cgroup")));
}

TEST(OciSpec, WithoutADeviceFilterNobodyMakesNodes) {
  SpecContext context = ExampleContext();
  context.may_mknod = false;
  Json document = BuildOciSpec(ExampleSpec(), context);
  EXPECT_THAT(document.Dump(), Not(HasSubstr("CAP_MKNOD")));
}

TEST(OciSpec, OnlyAvailableCapabilitiesAreGiven) {
  SpecContext context = ExampleContext();
  context.capabilities = 1 | 1 << 6;
  Json document = BuildOciSpec(ExampleSpec(), context);
  EXPECT_THAT(document.Find("process")->Find("capabilities")->GetStrings("effective"),
              ElementsAre("CAP_CHOWN", "CAP_SETGID"));
}

TEST(Seccomp, NoNameIsAllowedTwiceAndDangerousOnesAreNot) {
  for (const char* machine : {"x86_64", "aarch64", "riscv64"}) {
    Json profile = DefaultSeccompProfile(machine);
    std::multiset<std::string> allowed;
    for (const Json& name : profile.GetArray("syscalls")[0].GetArray("names")) {
      allowed.insert(name.as_string());
    }
    for (const std::string& name : allowed) EXPECT_EQ(allowed.count(name), 1u) << name;
    for (const char* name : {"mount",       "umount2",         "unshare",        "setns",        "bpf",
                             "keyctl",      "add_key",         "request_key",    "init_module",  "finit_module",
                             "kexec_load",  "reboot",          "swapon",         "pivot_root",   "open_by_handle_at",
                             "userfaultfd", "perf_event_open", "io_uring_setup", "clone",        "clone3",
                             "socket",      "personality",     "iopl",           "settimeofday", "move_mount",
                             "fsopen"}) {
      EXPECT_EQ(allowed.count(name), 0u) << name;
    }
    for (const char* name : {"execve", "openat2", "mmap", "futex", "statx", "renameat2", "wait4"}) {
      EXPECT_EQ(allowed.count(name), 1u) << name;
    }
  }
}

// Runs a classic BPF program as the kernel does, over a struct seccomp_data.
uint32_t Filter(const std::string& program, const seccomp_data& data) {
  std::vector<sock_filter> code(program.size() / sizeof(sock_filter));
  std::memcpy(code.data(), program.data(), code.size() * sizeof(sock_filter));
  uint32_t a = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& i = code[at];
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&a, reinterpret_cast<const char*>(&data) + i.k, 4);
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= i.k;
        break;
      case BPF_JMP | BPF_JA:
        at += i.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += a == i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += a >= i.k ? i.jt : i.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += a > i.k ? i.jt : i.jf;
        break;
      case BPF_RET | BPF_K:
        return i.k;
      default:
        ADD_FAILURE() << "unexpected instruction " << i.code;
        return 0;
    }
  }
  ADD_FAILURE() << "ran off the end";
  return 0;
}

TEST(Seccomp, CompiledProgramDecidesAsTheProfileSays) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "knows the numbers of x86_64 only";
#else
  auto program = CompileSeccomp(DefaultSeccompProfile("x86_64"));
  if (!program && program.error().code == Code::kInvalid) GTEST_SKIP() << program.error().message;
  ASSERT_TRUE(program) << program.error().ToString();
  constexpr uint32_t kX86_64 = AUDIT_ARCH_X86_64, kI386 = AUDIT_ARCH_I386;
  constexpr uint32_t kAllow = 0x7fff0000, kErrno = 0x00050000;
  constexpr uint32_t kRefuse = kErrno | EPERM, kNotThere = kErrno | ENOSYS;
  struct Decision {
    const char* what;
    int number;
    uint64_t argument;
    uint32_t expected;
  };
  const Decision decisions[] = {
      {"read", SYS_read, 0, kAllow},
      {"execve", SYS_execve, 0, kAllow},
      {"chroot: CAP_SYS_CHROOT is a default capability", SYS_chroot, 0, kAllow},
      {"a number that no kernel has", 9999, 0, kRefuse},

      {"clone as fork", SYS_clone, SIGCHLD, kAllow},
      {"clone as pthread_create", SYS_clone,
       CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
           CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
       kAllow},
      {"clone of a user namespace", SYS_clone, CLONE_NEWUSER, kRefuse},
      {"clone of a mount namespace", SYS_clone, CLONE_NEWNS | SIGCHLD, kRefuse},
      {"clone of a pid namespace", SYS_clone, CLONE_NEWPID, kRefuse},
      {"clone of a network namespace", SYS_clone, CLONE_NEWNET, kRefuse},
      {"clone of an ipc namespace", SYS_clone, CLONE_NEWIPC, kRefuse},
      {"clone of a uts namespace", SYS_clone, CLONE_NEWUTS, kRefuse},
      {"clone of a cgroup namespace", SYS_clone, CLONE_NEWCGROUP, kRefuse},
      {"clone3", 435, 0, kNotThere},
      {"unshare", SYS_unshare, CLONE_NEWUSER, kRefuse},
      {"setns", SYS_setns, 0, kRefuse},

      {"personality PER_LINUX", SYS_personality, 0, kAllow},
      {"personality PER_LINUX32", SYS_personality, 8, kAllow},
      {"personality UNAME26", SYS_personality, 0x20000, kAllow},
      {"personality PER_LINUX32 | UNAME26", SYS_personality, 0x20008, kAllow},
      {"personality, query", SYS_personality, 0xffffffff, kAllow},
      {"personality ADDR_NO_RANDOMIZE", SYS_personality, 0x40000, kRefuse},
      {"personality READ_IMPLIES_EXEC", SYS_personality, 0x400000, kRefuse},

      {"socket AF_UNIX", SYS_socket, AF_UNIX, kAllow},
      {"socket AF_INET6", SYS_socket, AF_INET6, kAllow},
      {"socket AF_NETLINK", SYS_socket, AF_NETLINK, kAllow},
      {"socket AF_PACKET", SYS_socket, AF_PACKET, kAllow},
      {"socket AF_ALG", SYS_socket, AF_ALG, kRefuse},
      {"socket AF_NFC", SYS_socket, AF_NFC, kAllow},
      {"socket AF_VSOCK", SYS_socket, AF_VSOCK, kRefuse},
      {"socket AF_XDP", SYS_socket, 44, kAllow},
      {"socketpair", SYS_socketpair, AF_UNIX, kAllow},

      {"ptrace", SYS_ptrace, 0, kAllow},
      {"process_vm_readv", SYS_process_vm_readv, 0, kAllow},
      {"process_vm_writev", SYS_process_vm_writev, 0, kAllow},
      {"process_madvise: CAP_SYS_PTRACE", 440, 0, kRefuse},
      {"pidfd_getfd: CAP_SYS_PTRACE", 438, 0, kRefuse},
      {"kcmp: CAP_SYS_PTRACE", SYS_kcmp, 0, kRefuse},

      {"keyctl", SYS_keyctl, 0, kRefuse},
      {"add_key", SYS_add_key, 0, kRefuse},
      {"request_key", SYS_request_key, 0, kRefuse},
      {"bpf", SYS_bpf, 0, kRefuse},
      {"perf_event_open", SYS_perf_event_open, 0, kRefuse},
      {"userfaultfd", SYS_userfaultfd, 0, kRefuse},
      {"io_uring_setup", 425, 0, kRefuse},
      {"io_uring_enter", 426, 0, kRefuse},
      {"io_uring_register", 427, 0, kRefuse},
      {"io_setup, the older asynchronous I/O", SYS_io_setup, 0, kAllow},
      {"landlock_create_ruleset", 444, 0, kAllow},
      {"seccomp, a stricter filter", SYS_seccomp, 0, kAllow},

      {"mount", SYS_mount, 0, kRefuse},
      {"umount2", SYS_umount2, 0, kRefuse},
      {"move_mount", 429, 0, kRefuse},
      {"open_tree", 428, 0, kRefuse},
      {"fsopen", 430, 0, kRefuse},
      {"mount_setattr", 442, 0, kRefuse},
      {"pivot_root", SYS_pivot_root, 0, kRefuse},
      {"open_by_handle_at: CAP_DAC_READ_SEARCH", SYS_open_by_handle_at, 0, kRefuse},
      {"name_to_handle_at", SYS_name_to_handle_at, 0, kAllow},
      {"swapon", SYS_swapon, 0, kRefuse},
      {"quotactl", SYS_quotactl, 0, kRefuse},
      {"fanotify_init", SYS_fanotify_init, 0, kRefuse},
      {"lsm_set_self_attr: CAP_SYS_ADMIN", 460, 0, kRefuse},

      {"init_module", SYS_init_module, 0, kRefuse},
      {"finit_module", SYS_finit_module, 0, kRefuse},
      {"kexec_load", SYS_kexec_load, 0, kRefuse},
      {"reboot", SYS_reboot, 0, kRefuse},
      {"iopl", SYS_iopl, 0, kRefuse},
      {"ioperm", SYS_ioperm, 0, kRefuse},
      {"syslog", SYS_syslog, 0, kRefuse},
      {"acct", SYS_acct, 0, kRefuse},
      {"settimeofday", SYS_settimeofday, 0, kRefuse},
      {"clock_settime", SYS_clock_settime, 0, kRefuse},
      {"adjtimex: reads without CAP_SYS_TIME", SYS_adjtimex, 0, kAllow},
      {"sethostname", SYS_sethostname, 0, kRefuse},
      {"vhangup", SYS_vhangup, 0, kRefuse},
      {"mbind: CAP_SYS_NICE", SYS_mbind, 0, kRefuse},
      {"set_mempolicy: CAP_SYS_NICE", SYS_set_mempolicy, 0, kRefuse},
  };
  auto decide = [&](uint32_t arch, int number, uint64_t argument = 0) {
    seccomp_data data{};
    data.nr = number;
    data.arch = arch;
    data.args[0] = argument;
    return Filter(*program, data);
  };
  for (const Decision& d : decisions) {
    EXPECT_EQ(decide(kX86_64, d.number, d.argument), d.expected) << d.what;
  }
  EXPECT_EQ(decide(kI386, 11), kAllow);          // execve of i386
  EXPECT_EQ(decide(kI386, 21), kRefuse);         // mount of i386
  EXPECT_EQ(decide(kI386, 359, 40), kRefuse);    // socket AF_VSOCK of i386
  EXPECT_EQ(decide(AUDIT_ARCH_AARCH64, 0), 0u);  // kill
#endif
}

TEST(Seccomp, EveryMachineHasItsOwnCallsAndArchitectures) {
  auto names_of = [](const Json& profile) { return profile.GetArray("syscalls")[0].GetStrings("names"); };
  Json s390 = DefaultSeccompProfile("s390x");
  EXPECT_THAT(s390.GetStrings("architectures"), ElementsAre("SCMP_ARCH_S390X", "SCMP_ARCH_S390"));
  EXPECT_THAT(names_of(s390), Contains("s390_runtime_instr"));
  for (const Json& rule : s390.GetArray("syscalls")) {
    if (rule.GetStrings("names") != std::vector<std::string>{"clone"}) continue;
    EXPECT_EQ(rule.GetArray("args")[0].GetInt("index"), 1);
  }
  EXPECT_THAT(names_of(DefaultSeccompProfile("riscv64")), Contains("riscv_flush_icache"));
  EXPECT_THAT(names_of(DefaultSeccompProfile("ppc64le")), Contains("swapcontext"));
  EXPECT_THAT(names_of(DefaultSeccompProfile("x86_64")), Not(Contains("cacheflush")));
  EXPECT_EQ(DefaultSeccompProfile("mips").Find("architectures"), nullptr);
}

TEST(OciSpec, CompiledFilterReplacesTheProfile) {
  SpecContext context = ExampleContext();
  context.seccomp_program = "AAAA";
  Json document = BuildOciSpec(ExampleSpec(), context);
  EXPECT_EQ(document.Find("linux")->Find("seccomp"), nullptr);
  EXPECT_EQ(document.Find("annotations")->GetString("run.oci.seccomp_bpf_data"), "AAAA");
}

TEST(HostFiles, HostsInTheOrderGiven) {
  EXPECT_EQ(HostsFile("box", {{"b", "1.1.1.1"}, {"a", "::2"}}),
            "127.0.0.1\tlocalhost box\n::1\tlocalhost ip6-localhost ip6-loopback\n"
            "1.1.1.1\tb\n::2\ta\n");
}

TEST(HostFiles, LoopbackServersAreDroppedOffTheHostNetwork) {
  constexpr const char* kHostText =
      "# made by hand\nsearch example.test\nnameserver 127.0.0.1\nnameserver\t10.0.0.2 # x\n"
      "nameserver ::1\noptions ndots:2\n";
  EXPECT_EQ(ResolvConf(kHostText, false),
            "# made by hand\nsearch example.test\nnameserver\t10.0.0.2 # x\noptions ndots:2\n");
  EXPECT_THAT(ResolvConf(kHostText, true), HasSubstr("nameserver 127.0.0.1\n"));
}

TEST(HostFiles, PublicServersStandIn) {
  EXPECT_EQ(ResolvConf("search a\nnameserver 127.0.0.53\n", false),
            "search a\nnameserver 8.8.8.8\nnameserver 8.8.4.4\n"
            "nameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n");
  EXPECT_THAT(ResolvConf("", true), HasSubstr("nameserver 8.8.8.8\n"));
}

TEST(HostFiles, SystemdResolvedsListReplacesItsListener) {
  auto dir = sys::TempDir::Create(testing::TempDir(), "resolv-");
  ASSERT_TRUE(dir);
  std::string etc = dir->path() + "/etc", resolved = dir->path() + "/resolved";
  ASSERT_TRUE(WriteFileAtomically(etc, "nameserver 127.0.0.53\noptions edns0\n"));
  EXPECT_EQ(HostResolvConf(etc, resolved), "nameserver 127.0.0.53\noptions edns0\n");
  ASSERT_TRUE(WriteFileAtomically(resolved, "nameserver 10.1.1.1\n"));
  EXPECT_EQ(HostResolvConf(etc, resolved), "nameserver 10.1.1.1\n");
  ASSERT_TRUE(WriteFileAtomically(etc, "nameserver 127.0.0.53\nnameserver 9.9.9.9\n"));
  EXPECT_THAT(HostResolvConf(etc, resolved), HasSubstr("9.9.9.9"));
  EXPECT_EQ(HostResolvConf(dir->path() + "/none", resolved), "");
}

TEST(Runtime, LogErrorIsTheLastOne) {
  EXPECT_EQ(LastLogError("{\"level\":\"warning\",\"msg\":\"w\"}\nnot json\n"
                         "{\"level\":\"error\",\"msg\":\"first\"}\n"
                         "{\"msg\":\"second\",\"level\":\"error\"}\n"),
            "second");
  EXPECT_EQ(LastLogError("{\"level\":\"warning\",\"msg\":\"w\"}\n"), "");
}

TEST(Runtime, EnvironmentChoosesIt) {
  auto dir = sys::TempDir::Create(testing::TempDir(), "runtime-");
  ASSERT_TRUE(dir);
  std::string path = dir->path() + "/runc-1.2";
  ASSERT_TRUE(WriteFileAtomically(path, "#!/bin/sh\n", 0755));
  setenv("VARVE_RUNTIME", path.c_str(), 1);
  auto runtime = FindRuntime();
  ASSERT_TRUE(runtime);
  EXPECT_EQ(runtime->kind, RuntimeKind::kRunc);
  EXPECT_EQ(runtime->path, path);
  setenv("VARVE_RUNTIME", "/usr/bin/youki", 1);
  EXPECT_EQ(FindRuntime().error().code, Code::kInvalid);
  setenv("VARVE_RUNTIME", "crun-no-such", 1);
  EXPECT_EQ(FindRuntime().error().code, Code::kNotFound);
  unsetenv("VARVE_RUNTIME");
}

}  // namespace
}  // namespace varve::sandbox
