#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "sandbox/capabilities.h"
#include "sandbox/early_runtime.h"
#include "sandbox/runtime.h"
#include "sandbox/sandbox_fixture.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/overlay.h"
#include "sys/statx.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
namespace {

using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(RuntimeCommand, MountsCgroup2InACgroupNamespaceOfItsOwn) {
  const Runtime crun{RuntimeKind::kCrun, "/usr/bin/crun"};
  for (bool user_namespace : {false, true}) {
    for (bool cgroup2_mount : {false, true}) {
      const Host host{.user_namespace = user_namespace, .cgroup2_mount = cgroup2_mount};
      sys::SpawnSpec command = RuntimeCommand(crun, host, "/root", "/bundle", "id");
      const bool mounts = std::ranges::any_of(command.mounts, [](const auto& m) { return m.type == "cgroup2"; });
      EXPECT_EQ(mounts, user_namespace || cgroup2_mount);
      EXPECT_EQ((command.new_namespaces & CLONE_NEWCGROUP) != 0, mounts);
    }
  }
}

TEST_P(SandboxTest, ReportsExitCodeAndSeparatesStreams) {
  auto outcome = Shell("echo out; echo err >&2; exit 7");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 7);
  EXPECT_EQ(out_, "out\n");
  EXPECT_EQ(err_, "err\n");
  EXPECT_GT(outcome->wall.count(), 0);
}

class EarlyRuntimeTest : public SandboxTest {
 protected:
  void SetUp() override {
    SandboxTest::SetUp();
    if (IsSkipped()) return;
    auto early = EarlyRuntime::Start(ThisHost(), runtime_, state_);
    ASSERT_TRUE(early) << early.error().ToString();
    early_ = std::move(*early);
  }
  Result<Outcome> RunEarly(const std::string& script) {
    spec_.args = {"/bin/sh", "-c", script};
    auto sink = [this](sys::Stream stream, std::string_view chunk) {
      (stream == sys::Stream::kStdout ? out_ : err_) += chunk;
    };
    return sandbox::Run(spec_, state_, sink, {}, {.runtime = std::move(early_), .on_running = [this] { ++running_; }});
  }
  std::unique_ptr<EarlyRuntime> early_;
  int running_ = 0;
};

TEST_P(EarlyRuntimeTest, RunsWhatItIsToldLater) {
  EXPECT_EQ(Leftovers().size(), 1u);
  auto outcome = RunEarly("echo out; echo err >&2; ls /proc/self/fd | wc -w; exit 7");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 7);
  EXPECT_EQ(out_, "out\n4\n");  // the standard ones, and that of ls
  EXPECT_EQ(err_, "err\n");
  EXPECT_EQ(running_, 1);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(EarlyRuntimeTest, TakesAConfigurationThatIsLargerThanAPipe) {
  for (int i = 0; i < 3; ++i) spec_.env.push_back(fmt::format("LARGE{}={}", i, std::string(100'000, 'x')));
  auto outcome = RunEarly("echo ${#LARGE2}");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(out_, "100000\n");
}

TEST_P(EarlyRuntimeTest, LeavesNothingWhereItIsNotUsed) {
  early_.reset();
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(EarlyRuntimeTest, AnotherIsStartedWhereItDoesNotFit) {
  spec_.security = Security::kInsecure;
  auto outcome = RunEarly("echo other");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(out_, "other\n");
  EXPECT_EQ(running_, 1);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(EarlyRuntimeTest, AnotherIsStartedWhereItIsGone) {
  ASSERT_EQ(kill(early_->pid(), SIGKILL), 0);
  siginfo_t ended{};
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(early_->pid()), &ended, WEXITED | WNOWAIT), 0);
  auto outcome = RunEarly("echo other");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(out_, "other\n");
  EXPECT_EQ(running_, 1);
}

INSTANTIATE_TEST_SUITE_P(Crun, EarlyRuntimeTest, testing::Values(RuntimeKind::kCrun));

TEST_P(SandboxTest, KilledProcessCountsAs128PlusSignal) {
  auto outcome = Shell("sh -c 'kill -9 $$; true'; exit $?");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(outcome->exit_code, 137);
}

TEST_P(SandboxTest, PassesEnvironmentAndDefaultsPath) {
  spec_.env = {"A=b c", "EMPTY="};
  EXPECT_EQ(Output("echo \"$A|$EMPTY|$PATH\""), "b c||/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
  spec_.env = {"PATH=/bin"};
  EXPECT_EQ(Output("echo $PATH"), "/bin\n");
}

TEST_P(SandboxTest, RunsAsUserWithGroups) {
  spec_.user = {1234, 55, {55, 77}};
  EXPECT_EQ(Output("id -u; id -g; id -G"), "1234\n55\n55 77\n");
}

TEST_P(SandboxTest, UnprivilegedUserCanReopenItsOutput) {
  spec_.user = {1234, 55, {55}};
  EXPECT_EQ(Output("echo hi > /dev/stdout"), "hi\n");
}

TEST_P(SandboxTest, MakesTheWorkingDirectoryForTheUser) {
  spec_.user = {1234, 55, {}};
  spec_.cwd = "/a/b";
  EXPECT_EQ(Output("pwd; touch here"), "/a/b\n");
  struct stat st;
  ASSERT_EQ(stat((spec_.rootfs + "/a/b").c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 1234u);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
}

TEST_P(SandboxTest, HostnameHostsAndResolvConf) {
  spec_.extra_hosts = {{"db", "10.0.0.5"}};
  EXPECT_EQ(Output("hostname; cat /etc/hosts"),
            "buildkitsandbox\n"
            "127.0.0.1\tlocalhost buildkitsandbox\n"
            "::1\tlocalhost ip6-localhost ip6-loopback\n"
            "10.0.0.5\tdb\n");
  EXPECT_THAT(Output("cat /etc/resolv.conf"), HasSubstr("nameserver "));
  auto outcome = Shell("echo x > /etc/hosts");
  ASSERT_TRUE(outcome);
  EXPECT_NE(outcome->exit_code, 0);
}

TEST_P(SandboxTest, StandardInputIsEmpty) { EXPECT_EQ(Output("cat; echo end"), "end\n"); }

TEST_P(SandboxTest, BindMountsReadOnlyAndWritable) {
  std::string source = dir_.path() + "/source";
  ASSERT_TRUE(sys::MkdirAll(source));
  ASSERT_TRUE(WriteFileAtomically(source + "/file", "content"));
  spec_.mounts = {{.source = source, .target = "/ro", .read_only = true},
                  {.source = source, .target = "/rw"},
                  {.source = source + "/file", .target = "/deep/file", .read_only = true}};
  EXPECT_EQ(Output("cat /ro/file /deep/file; echo new > /rw/made; "
                   "if echo x > /ro/x; then echo writable; fi"),
            "contentcontent");
  EXPECT_EQ(*ReadFile(source + "/made"), "new\n");
  EXPECT_FALSE(std::filesystem::exists(source + "/x"));
}

TEST_P(SandboxTest, TmpfsMountVanishes) {
  spec_.mounts = {{.kind = MountKind::kTmpfs, .target = "/scratch", .nosuid = true, .size = 1 << 20}};
  EXPECT_THAT(Output("echo x > /scratch/f; grep ' /scratch ' /proc/mounts"),
              AllOf(HasSubstr("tmpfs"), HasSubstr("size=1024k"), HasSubstr("nosuid")));
  EXPECT_FALSE(std::filesystem::exists(spec_.rootfs + "/scratch"));
}

TEST_P(SandboxTest, NetworkNoneHasOnlyLoopback) {
  spec_.network = Network::kNone;
  std::string links = Output("ip -o link");
  EXPECT_THAT(links, HasSubstr("lo:"));
  EXPECT_EQ(std::ranges::count(links, '\n'), 1) << links;
}

TEST_P(SandboxTest, HasTheDefaultCapabilitiesAndNoMore) {
  std::string status = Output("grep -E 'CapEff|CapBnd' /proc/self/status");
  EXPECT_THAT(status, HasSubstr("CapEff:\t00000000a80425fb"));
  EXPECT_THAT(status, HasSubstr("CapBnd:\t00000000a80425fb"));
}

TEST_P(SandboxTest, UnprivilegedUserHasNoEffectiveCapabilities) {
  spec_.user = {1000, 1000, {}};
  EXPECT_THAT(Output("grep CapEff /proc/self/status"), HasSubstr("CapEff:\t0000000000000000"));
}

TEST_P(SandboxTest, SeccompFilterIsOn) {
  EXPECT_THAT(Output("grep Seccomp: /proc/self/status"), HasSubstr("Seccomp:\t2"));
  EXPECT_THAT(Output("grep NoNewPrivs /proc/self/status"), HasSubstr("NoNewPrivs:\t0"));
}

TEST_P(SandboxTest, FilterRefusesWithTheRightErrors) {
  // unshare of a user namespace needs no capability: only the filter can refuse it.
  spec_.user = {1000, 1000, {}};
  auto outcome = Shell("busybox unshare -U true");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_NE(outcome->exit_code, 0);
  EXPECT_THAT(err_, HasSubstr("Operation not permitted"));
}

TEST_P(SandboxTest, InsecureLiftsTheRestrictions) {
  spec_.security = Security::kInsecure;
  EXPECT_THAT(Output("grep Seccomp: /proc/self/status"), HasSubstr("Seccomp:\t0"));
  EXPECT_EQ(Output("mkdir /m && mount -t tmpfs none /m && echo mounted"), "mounted\n");
  EXPECT_THAT(Output("grep ' /sys ' /proc/mounts"), HasSubstr("rw,"));
}

TEST_P(SandboxTest, KernelInterfacesAreReadOnlyOrMasked) {
  std::string mounts = Output("cat /proc/mounts");
  EXPECT_THAT(mounts, HasSubstr("sysfs /sys sysfs ro,"));
  EXPECT_THAT(mounts, HasSubstr("/proc/sys proc ro,"));
  EXPECT_THAT(mounts, HasSubstr("/dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k"));
  EXPECT_THAT(mounts, HasSubstr("/dev/mqueue mqueue"));
  EXPECT_THAT(mounts, HasSubstr("/dev/pts devpts"));
  EXPECT_EQ(Output("cat /proc/interrupts"), "");
}

TEST_P(SandboxTest, DeviceNodesCanBeMadeButNotOpened) {
  // 1:11 is /dev/kmsg: it exists everywhere, and no container may read it. 1:3 is /dev/null.
  EXPECT_EQ(Output("mknod /k c 1 11 && mknod /n c 1 3 && echo made; "
                   "dd if=/k of=/dev/null bs=1 count=0 2>/dev/null && echo opened; "
                   "echo x > /n && echo null"),
            "made\nnull\n");
  EXPECT_EQ(Output("echo x > /dev/null; dd if=/dev/zero bs=4 count=1 2>/dev/null | dd of=/dev/null "
                   "2>/dev/null; dd if=/dev/urandom bs=1 count=1 of=/dev/null 2>/dev/null && echo ok"),
            "ok\n");
}

TEST_P(SandboxTest, UlimitsOnlyOnRequest) {
  spec_.ulimits = {{"nofile", 77, 88}};
  EXPECT_EQ(Output("ulimit -Sn; ulimit -Hn"), "77\n88\n");
}

TEST_P(SandboxTest, ImagesWithoutThemGetTheKernelsMountPoints) {
  Output("true");
  EXPECT_EQ(Names(spec_.rootfs), (std::vector<std::string>{"bin", "dev", "proc", "sys"}));
  EXPECT_THAT(Names(spec_.rootfs + "/dev"), IsEmpty());
}

TEST_P(SandboxTest, MountPointsLeaveNoTrace) {
  for (const char* name : {"/dev", "/proc", "/sys"}) ASSERT_TRUE(sys::MkdirAll(spec_.rootfs + name));
  struct stat before, after;
  ASSERT_EQ(stat(spec_.rootfs.c_str(), &before), 0);
  spec_.mounts = {{.kind = MountKind::kTmpfs, .target = "/run/secrets/deep"}};
  auto outcome = Shell("true");
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(Names(spec_.rootfs), (std::vector<std::string>{"bin", "dev", "proc", "sys"}));
  ASSERT_EQ(stat(spec_.rootfs.c_str(), &after), 0);
  EXPECT_EQ(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
  EXPECT_EQ(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  EXPECT_THAT(outcome->mount_point_parents, Contains(RelPath()));
}

TEST_P(SandboxTest, FilesMadeBesideMountPointsStay) {
  Output("echo mine > /etc/mine; mkdir /opt");
  EXPECT_EQ(Names(spec_.rootfs), (std::vector<std::string>{"bin", "dev", "etc", "opt", "proc", "sys"}));
  EXPECT_EQ(Names(spec_.rootfs + "/etc"), std::vector<std::string>{"mine"});
}

TEST_P(SandboxTest, DanglingResolvConfLinkIsKeptAndItsTargetRemoved) {
  ASSERT_TRUE(sys::MkdirAll(spec_.rootfs + "/etc"));
  std::filesystem::create_symlink("../run/systemd/resolve/stub-resolv.conf", spec_.rootfs + "/etc/resolv.conf");
  EXPECT_THAT(Output("cat /etc/resolv.conf"), HasSubstr("nameserver"));
  EXPECT_TRUE(std::filesystem::is_symlink(spec_.rootfs + "/etc/resolv.conf"));
  EXPECT_FALSE(std::filesystem::exists(spec_.rootfs + "/run"));
}

TEST_P(SandboxTest, LeavesNothingInTheStateDirectory) {
  Output("true");
  EXPECT_THAT(Leftovers(), IsEmpty());
  EXPECT_FALSE(RunWith(runtime_,
                       [&] {
                         Spec s = spec_;
                         s.args = {"/no/such"};
                         return s;
                       }(),
                       state_, {}, {}));
  EXPECT_THAT(Leftovers(), IsEmpty());
}

TEST_P(SandboxTest, MissingProgramIsAnErrorWithHint) {
  spec_.args = {"no-such-program"};
  auto outcome = RunWith(runtime_, spec_, state_, {}, {});
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kExec);
  EXPECT_THAT(outcome.error().message, HasSubstr("no-such-program"));
  EXPECT_THAT(outcome.error().hint, Not(IsEmpty()));
}

TEST_P(SandboxTest, BackgroundProcessesDieWithTheStep) {
  auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Output("sleep 600 & echo started"), "started\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

// The processes of the host whose command line is exactly `sleep <marker>`.
std::vector<pid_t> Sleepers(const std::string& marker) {
  std::vector<pid_t> found;
  std::string wanted = std::string("sleep") + '\0' + marker + '\0';
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    auto pid = ParseInt(entry.path().filename().string());
    if (!pid) continue;
    auto text = ReadFile(entry.path() / "cmdline");  // an error when it ends while it is read
    if (text && *text == wanted) found.push_back(static_cast<pid_t>(*pid));
  }
  return found;
}

std::string Marker() { return fmt::format("9{}{}", getpid(), rand() % 1000); }

template <class Condition>
bool WaitFor(Condition condition, std::chrono::milliseconds limit) {
  auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

TEST_P(SandboxTest, StopKillsEverythingWithinASecond) {
  std::stop_source source;
  std::string marker = Marker();
  std::chrono::steady_clock::time_point asked;
  std::jthread stopper([&] {
    WaitFor([&] { return Sleepers(marker).size() == 2; }, std::chrono::seconds(20));
    asked = std::chrono::steady_clock::now();
    source.request_stop();
  });
  auto outcome = Shell(fmt::format("trap '' TERM INT; sleep {0} & sleep {0}; true", marker), source.get_token());
  auto ended = std::chrono::steady_clock::now();
  stopper.join();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kCancelled);
  EXPECT_LT(ended - asked, std::chrono::seconds(1));
  EXPECT_THAT(Sleepers(marker), IsEmpty());
  EXPECT_THAT(Leftovers(), IsEmpty());
  EXPECT_EQ(Names(spec_.rootfs), (std::vector<std::string>{"bin", "dev", "proc", "sys"}));
}

TEST_P(SandboxTest, KilledParentTakesTheStepAlong) {
  std::string marker = Marker();
  pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    (void)Shell(fmt::format("sleep {0} & sleep {0}; true", marker));
    _exit(0);
  }
  bool started = WaitFor([&] { return Sleepers(marker).size() == 2; }, std::chrono::seconds(20));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  EXPECT_TRUE(started);
  EXPECT_TRUE(WaitFor([&] { return Sleepers(marker).empty(); }, std::chrono::seconds(2)));
  if (runtime_.kind == RuntimeKind::kRunc) {
    EXPECT_THAT(CgroupsOf(parent), Not(IsEmpty()));
  }

  // The mount namespace of a build takes its bundles along; control groups stay, until the next step.
  EXPECT_TRUE(WaitFor([&] { return Output("true").empty() && CgroupsOf(parent).empty(); }, std::chrono::seconds(10)))
      << testing::PrintToString(CgroupsOf(parent));
}

TEST_P(SandboxTest, StreamsOutputWhileRunning) {
  spec_.args = {"/bin/sh", "-c", "echo first; while ! [ -e /go ]; do sleep 0.01; done; echo second"};
  std::string seen;
  auto outcome = RunWith(runtime_, spec_, state_,
                         [&](sys::Stream, std::string_view chunk) {
                           seen += chunk;
                           // The step goes on only because its first line has arrived.
                           if (seen == "first\n") std::ofstream(spec_.rootfs + "/go") << "x";
                         },
                         {});
  ASSERT_TRUE(outcome) << outcome.error().ToString();
  EXPECT_EQ(seen, "first\nsecond\n");
}

TEST_P(SandboxTest, LargeOutputArrivesComplete) {
  std::string text = Output("dd if=/dev/zero bs=65536 count=64 2>/dev/null");
  EXPECT_EQ(text.size(), 64u * 65536);
}

TEST_P(SandboxTest, MountNamespaceOfTheCallerIsUntouched) {
  // Others mount and unmount while this runs: only what lies in this test's directory is its own.
  const auto mounted = [&] {
    std::vector<std::string> lines = Split(*ReadFile("/proc/self/mountinfo"), '\n');
    std::erase_if(lines, [&](const std::string& line) { return !line.contains(dir_.path()); });
    return lines;
  };
  const std::vector<std::string> before = mounted();
  Output("true");
  EXPECT_EQ(mounted(), before);
}

TEST_P(SandboxTest, MountOnRootIsRefused) {
  spec_.mounts = {{.kind = MountKind::kTmpfs, .target = "/x/.."}};
  auto outcome = Shell("true");
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::kInvalid);
}

TEST_P(SandboxTest, RunsWithoutRootInAUserNamespace) {
  spec_.args = {"/bin/sh", "-c", "id -u; cat /etc/hosts >/dev/null && touch /made && echo x >/dev/null"};
  std::filesystem::create_directory(state_);
  for (const std::string& path : {dir_.path(), spec_.rootfs, state_}) {
    ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  }
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  pid_t pid = fork();
  if (pid == 0) {
    bool dropped = setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 &&
                   prctl(PR_SET_DUMPABLE, 1) == 0;  // else /proc/self belongs to root
    std::string text = dropped ? "" : "cannot drop privileges";
    auto outcome = RunOn(ProbeHost(), runtime_, spec_, state_,
                         [&](sys::Stream, std::string_view chunk) { text += chunk; }, {}, {});
    text += outcome ? fmt::format("exit {}", outcome->exit_code) : outcome.error().ToString();
    spec_.user.uid = 1000;
    auto refused = RunOn(ProbeHost(), runtime_, spec_, state_, {}, {}, {});
    text += !refused && !refused.error().hint.empty() ? ", other user refused" : "";
    (void)FdWriter(fds[1]).Write(text);
    _exit(0);
  }
  close(fds[1]);
  FdReader reader(fds[0]);
  std::string text = *ReadAll(reader, 10000);
  close(fds[0]);
  waitpid(pid, nullptr, 0);
  if (text.find("enter a user namespace") != std::string::npos) GTEST_SKIP() << text;
  EXPECT_EQ(text, "0\nexit 0, other user refused");
  EXPECT_EQ(Names(spec_.rootfs), (std::vector<std::string>{"bin", "dev", "made", "proc", "sys"}));
}

TEST_P(SandboxTest, LimitsAreEnforcedByRunc) {
  if (!sys::FindProgram("runc")) GTEST_SKIP() << "needs runc";
  spec_.limits.memory = 64 << 20;
  auto outcome = Shell(
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes "
      "/sys/fs/cgroup/memory.max 2>/dev/null; true");
  if (!outcome) GTEST_SKIP() << "no memory controller: " << outcome.error().ToString();
  EXPECT_EQ(out_, "67108864\n");
}

INSTANTIATE_TEST_SUITE_P(Runtimes, SandboxTest, testing::Values(RuntimeKind::kCrun, RuntimeKind::kRunc),
                         [](const testing::TestParamInfo<RuntimeKind>& kind) {
                           return kind.param == RuntimeKind::kCrun ? "crun" : "runc";
                         });

TEST_P(SandboxTest, UpperDirectoryOfAnOverlayHoldsOnlyWhatTheStepMade) {
  ASSERT_TRUE(sys::MkdirAll(spec_.rootfs + "/etc"));
  for (const char* name : {"upper", "work", "merged"}) {
    ASSERT_TRUE(sys::MkdirAll(dir_.path() + "/" + name));
  }
  pid_t pid = fork();
  if (pid == 0) {
    Status entered = sys::EnterPrivateMountNamespace();
    EXPECT_TRUE(entered);
    sys::OverlaySpec overlay;
    overlay.lowers = {spec_.rootfs};
    overlay.upper = dir_.path() + "/upper";
    overlay.work = dir_.path() + "/work";
    auto mounted = sys::MountOverlay(overlay, dir_.path() + "/merged");
    EXPECT_TRUE(mounted) << mounted.error().ToString();
    spec_.rootfs = dir_.path() + "/merged";
    auto outcome = Shell("echo x > /made; cat /etc/hosts > /dev/null");
    EXPECT_TRUE(outcome) << outcome.error().ToString();
    if (outcome) {
      EXPECT_THAT(outcome->mount_point_parents, Contains(RelPath("etc")));
    }
    _exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << "see the failures above";
  // /etc is copied up, empty and with its old times; mount_point_parents names it.
  EXPECT_EQ(Names(dir_.path() + "/upper"), (std::vector<std::string>{"dev", "etc", "made", "proc", "sys"}));
  EXPECT_THAT(Names(dir_.path() + "/upper/etc"), IsEmpty());
  EXPECT_EQ(sys::Statx(dir_.path() + "/upper/etc")->mtime, sys::Statx(dir_.path() + "/rootfs/etc")->mtime);
}

TEST_P(SandboxTest, StepsRunConcurrently) {
  std::atomic<int> good = 0;
  for (int t = 0; t < 4; ++t) {
    std::filesystem::copy(spec_.rootfs, fmt::format("{}/rootfs{}", dir_.path(), t),
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  }
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5; ++i) {
          Spec spec = spec_;
          spec.rootfs = fmt::format("{}/rootfs{}", dir_.path(), t);
          spec.args = {"/bin/sh", "-c", "exit 5"};
          auto outcome = RunWith(runtime_, spec, state_, {}, {});
          if (outcome && outcome->exit_code == 5) ++good;
          if (!outcome) ADD_FAILURE() << outcome.error().ToString();
        }
      });
    }
  }
  EXPECT_EQ(good, 20);
  EXPECT_THAT(Leftovers(), IsEmpty());
}

// Not an assertion on time: prints the numbers that the header and the report cite.
TEST_P(SandboxTest, DISABLED_TimePerRun) {
  spec_.args = {"/bin/true"};
  std::vector<double> millis;
  for (int i = 0; i < 60; ++i) {
    auto begin = std::chrono::steady_clock::now();
    auto outcome = RunWith(runtime_, spec_, state_, {}, {});
    ASSERT_TRUE(outcome) << outcome.error().ToString();
    millis.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(millis);
  std::printf("%s: min %.1f median %.1f p90 %.1f ms\n", runtime_.path.c_str(), millis.front(),
              millis[millis.size() / 2], millis[millis.size() * 9 / 10]);
}

}  // namespace
}  // namespace varve::sandbox
