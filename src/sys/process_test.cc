#include "sys/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/strings.h"
#include "sys/namespace.h"
#include "sys/probe.h"

namespace varve::sys {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

SpawnSpec Sh(const std::string& script) { return {.argv = {"sh", "-c", script}}; }

TEST(Process, ReadsOutputAndExitCode) {
  std::string out, err;
  auto status = RunProcess(Sh("echo out; echo err >&2; exit 3"),
                           [&](Stream s, std::string_view t) { (s == Stream::kStdout ? out : err) += t; });
  ASSERT_TRUE(status) << status.error().ToString();
  EXPECT_EQ(status->code, 3);
  EXPECT_EQ(out, "out\n");
  EXPECT_EQ(err, "err\n");
}

TEST(Process, SignalIsReported) {
  auto status = RunProcess(Sh("kill -TERM $$"), {});
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGTERM);
  EXPECT_EQ(status->code, 128 + SIGTERM);
}

TEST(Process, MissingProgramIsNotFound) {
  EXPECT_EQ(Spawn({.argv = {"no-such-program-anywhere"}}).error().code, Code::kNotFound);
  EXPECT_EQ(Spawn({.argv = {"/no/such/program"}}).error().code, Code::kNotFound);
}

TEST(Process, FailureBeforeExecNamesTheCall) {
  auto child = Spawn({.argv = {"true"}, .cwd = "/no/such/directory"});
  ASSERT_FALSE(child);
  EXPECT_THAT(child.error().message, HasSubstr("change directory"));
}

TEST(Process, EnvironmentAndDirectory) {
  SpawnSpec spec = Sh("echo \"$A $PWD $HOME\"");
  spec.env = {"A=1", "PATH=/usr/bin:/bin"};
  spec.cwd = "/";
  EXPECT_EQ(*RunAndRead(spec), "1 / \n");
}

TEST(Process, OnlyGivenDescriptorsArePassed) {
  int leaky = open("/dev/null", O_RDONLY);  // without O_CLOEXEC on purpose
  int pipe_fds[2];
  ASSERT_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
  SpawnSpec spec = Sh("ls /proc/self/fd; echo through >&7");
  spec.extra_fds = {{pipe_fds[1], 7}};
  std::string listing = *RunAndRead(spec);
  EXPECT_EQ(listing, "0\n1\n2\n3\n7\n");  // 3: ls's own
  char buffer[32];
  EXPECT_EQ(read(pipe_fds[0], buffer, sizeof(buffer)), 8);
  close(leaky);
  close(pipe_fds[0]);
  close(pipe_fds[1]);
}

TEST(Process, DescriptorsMaySwapNumbers) {
  int a[2], b[2];
  ASSERT_EQ(pipe2(a, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(b, O_CLOEXEC), 0);
  SpawnSpec spec = Sh(fmt::format("echo a >&{}; echo b >&{}", b[1], a[1]));
  spec.extra_fds = {{a[1], b[1]}, {b[1], a[1]}};
  ASSERT_TRUE(RunAndRead(spec));
  char buffer[8];
  EXPECT_EQ(std::string(buffer, read(a[0], buffer, 8)), "a\n");
  EXPECT_EQ(std::string(buffer, read(b[0], buffer, 8)), "b\n");
  for (int fd : {a[0], a[1], b[0], b[1]}) close(fd);
}

TEST(Process, TheProgramMayBeADescriptor) {
  Fd shell = *OpenFile("/bin/sh", O_RDONLY);
  // Its number is one that the child's own descriptors want.
  Fd pipe_like = *OpenFile("/dev/null", O_RDONLY);
  SpawnSpec spec{.argv = {"/bin/true", "-c", "echo $0", "name"}, .program_fd = shell.get()};
  spec.extra_fds = {{pipe_like.get(), shell.get()}};
  EXPECT_EQ(*RunAndRead(spec), "name\n");
}

TEST(Process, AProgramThatCannotBeExecutedFromADescriptorIsExecutedByName) {
  Fd directory = *OpenFile("/", O_RDONLY | O_DIRECTORY);
  EXPECT_EQ(*RunAndRead({.argv = {"echo", "by name"}, .program_fd = directory.get()}), "by name\n");
}

TEST(Process, StdinIsEmptyUnlessGiven) { EXPECT_EQ(*RunAndRead({.argv = {"cat"}}), ""); }

TEST(Process, StopKills) {
  std::stop_source source;
  auto begin = steady_clock::now();
  auto status = RunProcess(
      Sh("echo ready; exec sleep 600"), [&](Stream, std::string_view) { source.request_stop(); }, source.get_token());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kCancelled);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Process, GrandchildHoldingThePipeDoesNotHang) {
  auto begin = steady_clock::now();
  std::string out;
  auto status = RunProcess(Sh("sleep 20 & echo done $!"), [&](Stream, std::string_view t) { out += t; });
  ASSERT_TRUE(status);
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(10));
  ASSERT_TRUE(out.starts_with("done "));
  kill(std::stoi(out.substr(5)), SIGKILL);
}

TEST(Process, DestructorKillsAndReaps) {
  pid_t pid;
  {
    auto child = Spawn({.argv = {"sleep", "600"}});
    ASSERT_TRUE(child);
    pid = child->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(Process, WaitWithStopLeavesTheChildRunning) {
  auto child = Spawn({.argv = {"sleep", "600"}});
  ASSERT_TRUE(child);
  std::stop_source source;
  source.request_stop();
  EXPECT_EQ(child->Wait(source.get_token()).error().code, Code::kCancelled);
  ASSERT_TRUE(child->Kill(SIGTERM));
  EXPECT_EQ(child->Wait()->signal, SIGTERM);
}

TEST(Process, SignalsAreResetInTheChild) {
  auto before = signal(SIGPIPE, SIG_IGN);
  // A parent may leave even libc's own signals ignored (job runners do); libc cannot reset those.
  const unsigned long ignore[8] = {1}, standard[8] = {};
  syscall(SYS_rt_sigaction, 32, ignore, nullptr, sizeof(unsigned long));
  std::string text = *RunAndRead({.argv = {"grep", "-E", "SigIgn|SigBlk", "/proc/self/status"}});
  syscall(SYS_rt_sigaction, 32, standard, nullptr, sizeof(unsigned long));
  signal(SIGPIPE, before);
  EXPECT_EQ(text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

TEST(Process, ManyThreadsSpawnAtOnce) {
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&good, t] {
        for (int i = 0; i < 20; ++i) {
          auto text = RunAndRead({.argv = {"echo", std::to_string(t * 100 + i)}});
          if (text && *text == std::to_string(t * 100 + i) + "\n") ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 160);
}

TEST(Process, NamespacesBelongToTheChildAlone) {
  if (!CanMount()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  // Others mount and unmount while this runs: only the child's mount points are looked at.
  const auto mounted = [] {
    std::vector<std::string> lines = Split(*ReadFile("/proc/self/mountinfo"), '\n');
    std::erase_if(lines, [](const std::string& line) {
      return !line.contains(" /mnt ") && !line.contains(" /no ") && !line.contains(" / /proc ");
    });
    return lines;
  };
  const std::vector<std::string> before = mounted();
  SpawnSpec spec = Sh("echo $$; ls -d /proc/[0-9]* | wc -l; touch /mnt/x && echo made");
  spec.new_namespaces = CLONE_NEWNS | CLONE_NEWPID;
  spec.mounts = {{"proc", "/proc", "proc"}, {"tmpfs", "/mnt", "tmpfs"}, {"x", "/no", "tmpfs", 0, "", true}};
  std::string text = *RunAndRead(spec);
  EXPECT_TRUE(text.starts_with("1\n")) << text;
  EXPECT_THAT(text, HasSubstr("made\n"));
  EXPECT_EQ(mounted(), before);
  struct stat st;
  EXPECT_NE(stat("/mnt/x", &st), 0);
}

TEST(Process, JoinsThePidAndMountNamespacesOfAnother) {
  if (!CanMount()) GTEST_SKIP() << "needs root";
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  SpawnSpec first = Sh("echo there > /run/joined; echo; exec sleep 1000");
  first.stdout_fd = ready[1];
  first.new_namespaces = CLONE_NEWNS | CLONE_NEWPID;
  first.mounts = {{"proc", "/proc", "proc"}, {"tmpfs", "/run", "tmpfs"}};
  auto child = Spawn(first);
  ASSERT_TRUE(child) << child.error().ToString();
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  SpawnSpec other = Sh("cat /run/joined; cat /proc/1/comm");
  other.join_pidfd = child->pidfd();
  EXPECT_EQ(*RunAndRead(other), "there\nsleep\n");
  // This thread's next child is where this process is.
  EXPECT_EQ(*RunAndRead(Sh("readlink /proc/self/ns/pid")),
            *RunAndRead({.argv = {"readlink", fmt::format("/proc/{}/ns/pid", getpid())}}));
  ASSERT_TRUE(child->Kill(SIGKILL));
  ASSERT_TRUE(child->Wait());
  auto late = Spawn(other);
  EXPECT_FALSE(late);
  close(ready[0]);
  close(ready[1]);
}

TEST(Process, UserNamespaceMapsToRoot) {
  if (!UserNamespacesUsable()) GTEST_SKIP() << "needs user namespaces";
  SpawnSpec spec{.argv = {"id", "-u"}};
  spec.new_namespaces = CLONE_NEWUSER;
  EXPECT_EQ(*RunAndRead(spec), "0\n");
}

TEST(Process, ParentDeathSignalReachesTheInitOfAPidNamespace) {
  if (!CanMount()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  pid_t parent = fork();
  if (parent == 0) {
    SpawnSpec spec{.argv = {"sleep", "600"}};
    spec.new_namespaces = CLONE_NEWPID;
    spec.parent_death_signal = SIGKILL;
    spec.extra_fds = {{fds[1], 9}};
    auto child = Spawn(spec);
    raise(SIGKILL);
  }
  close(fds[1]);
  waitpid(parent, nullptr, 0);
  // The write end is closed by the last holder: end of file means that the sleeper is gone.
  char byte;
  EXPECT_EQ(read(fds[0], &byte, 1), 0);
  close(fds[0]);
}

}  // namespace
}  // namespace varve::sys
