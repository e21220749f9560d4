// Starting and watching processes from a threaded program.
//
//   TRY_ASSIGN(sys::ExitStatus status, sys::RunProcess({.argv = {"git", "init"}}, on_output,
//   stop));
//
// The child is made by clone3(CLONE_VM | CLONE_VFORK), as posix_spawn does it: no page tables are
// copied (a fork of a process with a large heap costs milliseconds), and between clone and exec
// only system calls happen. posix_spawn itself knows neither namespaces nor a parent-death signal.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace varve::sys {

struct SpawnMount {  // mount(2), performed in the child's new mount namespace
  std::string source = {}, target = {}, type = {};
  unsigned long flags = 0;
  std::string data = {};
  bool optional = false;  // a failure does not matter
};

struct SpawnSpec {
  std::vector<std::string> argv = {};                // argv[0] is looked up in PATH unless it has a slash
  std::optional<std::vector<std::string>> env = {};  // "K=V"; nothing: this process's environment
  std::string cwd = {};                              // empty: this process's

  int stdin_fd = -1;  // -1: /dev/null. Borrowed until Spawn returns.
  int stdout_fd = -1;
  int stderr_fd = -1;
  std::vector<std::pair<int, int>> extra_fds = {};  // ours → the child's number, 3 or more
  // All other descriptors are closed on exec, also those that lack the flag.

  bool new_session = false;  // setsid: no terminal, no ^C from it
  bool new_process_group = false;

  // Sent when the *thread* that called Spawn ends, not the process: that thread must wait for the
  // child.
  int parent_death_signal = 0;

  // Namespaces (CLONE_NEWNS, CLONE_NEWPID, …) of the child alone. With CLONE_NEWUSER this process's
  // user and group become 0 in it, and no other ids exist. With CLONE_NEWNS all mounts are made
  // private, then `mounts` happen in order.
  int new_namespaces = 0;
  std::vector<SpawnMount> mounts = {};
  // Instead of private, mounts become slaves: what is mounted later below a shared mount (sys::ShareMount) shows in
  // the child too, and goes from it.
  bool follow_mounts = false;

  // The pidfd of a process whose pid and mount namespaces the child is born into; -1: the parent's.
  // Not together with new_namespaces.
  int join_pidfd = -1;

  // A directory of a cgroup2 hierarchy to be born in; -1: the parent's. (Moving a process later
  // takes a lock that waits for an RCU grace period: 8 to 15 ms.)
  int cgroup_fd = -1;

  // A file with the program's content to execute instead of argv[0], which remains its name. Where the
  // kernel refuses (a script; a security module that executes no memfd), argv[0] is executed after all.
  int program_fd = -1;
};

struct ExitStatus {
  int code = 0;    // 0 … 255; 128 + signal when killed
  int signal = 0;  // 0: exited
  rusage usage{};
  bool ok() const { return code == 0 && signal == 0; }
};

// Owner of a child process. The destructor kills it with SIGKILL and reaps it.
class Child {
 public:
  Child() = default;
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }  // readable once it has ended

  // Waits for the end and reaps. kCancelled when `stop` came first; the child then still runs.
  Result<ExitStatus> Wait(std::stop_token stop = {});

  Status Kill(int signal);  // a child that has ended is fine

 private:
  friend Result<Child> Spawn(const SpawnSpec&);
  void KillAndReap();
  pid_t pid_ = -1;
  Fd pidfd_;
};

// Returns after a successful exec. kNotFound when the program is not there.
Result<Child> Spawn(const SpawnSpec& spec);

// The absolute path of a program on PATH; nothing if there is none.
std::optional<std::string> FindProgram(const std::string& name);

enum class Stream { kStdout, kStderr };

// Called on the thread that reads the output, in order per stream.
using OutputCallback = std::function<void(Stream, std::string_view)>;

// A child with both outputs piped. The destructor is Child's.
class PipedChild {
 public:
  // `stdout_fd` and `stderr_fd` of the spec must be unset.
  static Result<PipedChild> Start(SpawnSpec spec);

  // Passes its output on, waits for the end and reaps; once. Output is read until the end of both pipes; when the
  // process is gone but a grandchild keeps a pipe open, for at most `linger` more. A stop kills the child with
  // SIGKILL, reads what is left, and gives kCancelled.
  Result<ExitStatus> Follow(const OutputCallback& output, std::stop_token stop = {},
                            std::chrono::milliseconds linger = std::chrono::milliseconds(200));

  const Child& child() const { return child_; }

 private:
  std::string name_;
  Fd out_, err_;
  Child child_;
};

// Both in one: spawns, and follows until the end.
Result<ExitStatus> RunProcess(SpawnSpec spec, const OutputCallback& output, std::stop_token stop = {},
                              std::chrono::milliseconds linger = std::chrono::milliseconds(200));

// RunProcess for short tools: stdout as the value; kExec with the end of stderr when it fails.
Result<std::string> RunAndRead(SpawnSpec spec, std::stop_token stop = {});

}  // namespace varve::sys
