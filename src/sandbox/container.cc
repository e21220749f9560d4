#include "sandbox/container.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/strings.h"
#include "sandbox/bundle.h"
#include "sys/open.h"
#include "sys/pty.h"
#include "sys/stop_event.h"

namespace varve::sandbox {

namespace {

// What no process can pass on, the runtime neither.
bool CannotBeCaught(int signal) { return signal == SIGKILL || signal == SIGSTOP; }

// The children of all threads of `pid`, a child of ours that is not reaped: for the runtime, the container's
// process.
std::vector<pid_t> ChildrenOf(pid_t pid) {
  std::vector<pid_t> children;
  const std::string tasks = fmt::format("/proc/{}/task", pid);
  auto directory = sys::OpenDir(tasks);
  auto threads = directory ? sys::ListDirectory(directory->get()) : Result<std::vector<sys::DirEntry>>();
  if (!threads) return children;
  for (const sys::DirEntry& thread : *threads) {
    auto list = ReadFile(fmt::format("{}/{}/children", tasks, thread.name));
    if (!list) continue;
    for (const std::string& word : Split(*list, ' ')) {
      if (auto child = ParseInt(word)) children.push_back(static_cast<pid_t>(*child));
    }
  }
  return children;
}

void KillChildren(pid_t pid, int signal) {
  for (pid_t child : ChildrenOf(pid)) kill(child, signal);
}

// Where crun hands over the terminal that it has made: runc refuses to while it waits for the process, and
// of another terminal that it runs on itself crun 1.8 does not pass changes of the size on.
class ConsoleSocket {
 public:
  static constexpr const char* kName = "console";

  static Result<ConsoleSocket> Create(const std::string& directory) {
    ConsoleSocket made;
    TRY_ASSIGN(Fd at, sys::OpenDir(directory));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = sys::FdPath(at.get()) + "/" + kName;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    made.listener_.Reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!made.listener_ || bind(made.listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(made.listener_.get(), 1) != 0) {
      return ErrnoError(errno, "make a console socket");
    }
    return made;
  }
  int fd() const { return listener_.get(); }

  // When fd() is readable.
  Result<Fd> Receive() {
    Fd peer(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    char byte[256], control[CMSG_SPACE(sizeof(int))];
    iovec part{byte, sizeof(byte)};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (!peer || recvmsg(peer.get(), &message, MSG_CMSG_CLOEXEC) < 0) return ErrnoError(errno, "receive a terminal");
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Internal("the runtime sent no terminal");
    int fd;
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return Fd(fd);
  }

 private:
  Fd listener_;
};

}  // namespace

// A process of the runtime's from its start to its end.
class RunningProcess {
 public:
  // `name`.pid in the bundle is written by the runtime when the container's process has begun.
  RunningProcess(ProcessHandle& handle, const Runtime& runtime, const Bundle& bundle, const std::string& name)
      : handle_(handle), runtime_(runtime), directory_(bundle.path()), pid_file_(bundle.File(name + ".pid")),
        watch_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {}

  Status Start(sys::SpawnSpec command, bool terminal, Streams streams) {
    if (!watch_ || inotify_add_watch(watch_.get(), directory_.c_str(), IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
      return ErrnoError(errno, "watch " + directory_);
    }
    if (terminal && runtime_.kind == RuntimeKind::kCrun) {
      const std::string own = pid_file_ + ".tty";
      TRY(sys::MkdirAll(own, 0700));
      TRY_ASSIGN(console_, ConsoleSocket::Create(own));
      command.cwd = directory_;  // for a short path; crun goes there anyway
      auto verb =
          std::ranges::find_if(command.argv, [](const std::string& word) { return word == "run" || word == "exec"; });
      command.argv.insert(verb + 1, {"--console-socket", own.substr(own.rfind('/') + 1) + "/" + ConsoleSocket::kName});
      streams = Streams();
    } else if (terminal) {
      TRY_ASSIGN(sys::Pty pty, sys::OpenPty());
      handle_.terminal_ = std::move(pty.master);
      streams.in.Reset(fcntl(pty.slave.get(), F_DUPFD_CLOEXEC, 0));
      streams.out.Reset(fcntl(pty.slave.get(), F_DUPFD_CLOEXEC, 0));
      streams.err = std::move(pty.slave);
    }
    command.stdin_fd = streams.in.get();
    command.stdout_fd = streams.out.get();
    command.stderr_fd = streams.err.get();
    TRY_ASSIGN(child_, sys::Spawn(command));
    return Ok();
  }

  int pidfd() const { return child_.pidfd(); }

  // `on_started` is called before the handle's. After a stop everything of the process is killed: `alone`
  // says that the runtime's death does not do that.
  Result<sys::ExitStatus> Await(const std::function<void()>& on_started, bool alone, std::stop_token stop) {
    sys::StopEvent stop_event(stop);
    bool started = false, stopped = false;
    for (;;) {
      pollfd fds[] = {{child_.pidfd(), POLLIN, 0},
                      {started ? -1 : watch_.get(), POLLIN, 0},
                      {stopped ? -1 : stop_event.fd(), POLLIN, 0},
                      {console_ ? console_->fd() : -1, POLLIN, 0}};
      if (poll(fds, 4, -1) < 0) {
        if (errno == EINTR) continue;
        return ErrnoError(errno, "poll");
      }
      const bool ended = fds[0].revents != 0;
      if (fds[1].revents != 0) {
        char events[4096];
        (void)!read(watch_.get(), events, sizeof(events));  // before the look, so that none is missed
      }
      if (fds[3].revents != 0) {
        TRY_ASSIGN(handle_.terminal_, console_->Receive());
        console_.reset();
      }
      if (!started && !console_ && access(pid_file_.c_str(), F_OK) == 0) {
        started = true;
        if (on_started) on_started();
        handle_.Begin(child_.pid());
      }
      if (ended) break;
      if (fds[2].revents != 0) {
        stopped = true;
        if (alone) KillChildren(child_.pid(), SIGKILL);
        TRY(child_.Kill(SIGKILL));
      }
    }
    handle_.End();  // before it is reaped, and its number may mean another
    TRY_ASSIGN(sys::ExitStatus status, child_.Wait());
    if (stopped) return Cancelled("cancelled while a container's process was running");
    return status;
  }

 private:
  ProcessHandle& handle_;
  const Runtime& runtime_;
  const std::string directory_, pid_file_;
  Fd watch_;
  std::optional<ConsoleSocket> console_;  // until it was used
  sys::Child child_;
};

void ProcessHandle::Send(pid_t runtime, int signal) {
  if (CannotBeCaught(signal)) {
    KillChildren(runtime, signal);
  } else {
    kill(runtime, signal);
  }
}

void ProcessHandle::Begin(pid_t runtime) {
  {
    auto state = state_.Lock();
    state->has_begun = true;
    state->runtime = runtime;
    if (state->size && terminal_) (void)sys::ResizePty(terminal_.get(), state->size->first, state->size->second);
    if (state->size) Send(runtime, SIGWINCH);
    for (int signal : state->signals) Send(runtime, signal);
  }
  if (on_started_) on_started_();
}

void ProcessHandle::End() { state_.Lock()->runtime = -1; }

Status ProcessHandle::Resize(unsigned rows, unsigned columns) {
  auto state = state_.Lock();
  if (!state->has_begun) state->size = {rows, columns};
  if (state->runtime < 0 || !terminal_) return Ok();
  TRY(sys::ResizePty(terminal_.get(), rows, columns));
  Send(state->runtime, SIGWINCH);  // for runc, which then looks at the terminal's size; others ignore one more
  return Ok();
}

void ProcessHandle::Signal(int signal) {
  auto state = state_.Lock();
  if (!state->has_begun) state->signals.push_back(signal);
  if (state->runtime >= 0) Send(state->runtime, signal);
}

Result<Outcome> Container::Run(const Spec& spec, Streams streams, ProcessHandle& handle, std::stop_token stop) {
  State to;
  {
    std::stop_callback wake(stop, [this] {
      { auto state = state_.Lock(); }
      changed_.notify_all();
    });
    auto state = state_.Lock();
    if (state->phase != Phase::kNew) {
      state.Wait(changed_, [&] { return state->phase > Phase::kStarting || stop.stop_requested(); });
      if (state->phase == Phase::kEnded) return Invalid("the container has ended");
      if (stop.stop_requested()) return Cancelled("cancelled before the process started");
      ++state->joined;
      ++state->names;
      to = *state;
    } else {
      state->phase = Phase::kStarting;
    }
  }
  if (to.joined == 0) return RunFirst(spec, std::move(streams), handle, std::move(stop));
  auto outcome = Join(to, spec, std::move(streams), handle, std::move(stop));
  --state_.Lock()->joined;
  changed_.notify_all();
  return outcome;
}

Result<Outcome> Container::RunFirst(const Spec& spec, Streams streams, ProcessHandle& handle, std::stop_token stop) {
  auto run = [&]() -> Result<Outcome> {
    TRY_ASSIGN(auto prepared, PreparedContainer::Create(ThisHost(), runtime_, spec, state_dir_));
    TRY(prepared.WriteConfig());
    const Bundle& bundle = prepared.bundle();
    RunningProcess process(handle, prepared.runtime(), bundle, "first");
    sys::SpawnSpec command = RuntimeCommand(prepared.runtime(), ThisHost(), bundle.runtime_root(), bundle.path(),
                                            bundle.id(), {"--pid-file", bundle.File("first.pid")});
    command.cgroup_fd = prepared.cgroup_fd();
    Fd pidfd;  // stays for those that are joining when the process ends
    auto end = [&]() -> Result<Outcome> {
      TRY(process.Start(std::move(command), spec.terminal, std::move(streams)));
      auto on_started = [&] {
        pidfd.Reset(fcntl(process.pidfd(), F_DUPFD_CLOEXEC, 0));
        auto state = state_.Lock();
        state->phase = Phase::kRunning;
        state->prepared = &prepared;
        state->pidfd = pidfd.get();
        changed_.notify_all();
      };
      TRY_ASSIGN(sys::ExitStatus status, process.Await(on_started, false, stop));
      return OutcomeOf(prepared.runtime(), bundle.File("log"), status);
    };
    Result<Outcome> outcome = end();
    {
      auto state = state_.Lock();
      state->phase = Phase::kEnded;
      // They have died with the first one's pid namespace.
      state.Wait(changed_, [&] { return state->joined == 0; });
    }
    auto parents = prepared.Finish(!outcome || outcome->signal != 0);
    if (!outcome) return outcome;
    TRY_ASSIGN(outcome->mount_point_parents, std::move(parents));
    return outcome;
  };
  Result<Outcome> outcome = run();
  state_.Lock()->phase = Phase::kEnded;
  changed_.notify_all();
  return outcome;
}

Result<Outcome> Container::Join(const State& to, const Spec& spec, Streams streams, ProcessHandle& handle,
                                std::stop_token stop) {
  if (ThisHost().make_user_namespace) {
    Error error = Invalid("a container without root has only one process");
    error.hint = "run varve as root, or install the package uidmap";
    return error;
  }
  const Bundle& bundle = to.prepared->bundle();
  const std::string name = fmt::format("process-{}", to.names);
  TRY(bundle.Write(name + ".json", to.prepared->ProcessOf(spec).Dump()));
  RunningProcess process(handle, to.prepared->runtime(), bundle, name);
  sys::SpawnSpec command =
      ExecCommand(to.prepared->runtime(), bundle.runtime_root(), bundle.path(), bundle.id(), name, to.pidfd);
  command.cgroup_fd = to.prepared->cgroup_fd();
  TRY(process.Start(std::move(command), spec.terminal, std::move(streams)));
  TRY_ASSIGN(sys::ExitStatus status, process.Await(nullptr, true, stop));
  return OutcomeOf(to.prepared->runtime(), bundle.File(name + ".log"), status);
}

}  // namespace varve::sandbox
