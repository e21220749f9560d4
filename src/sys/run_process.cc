#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "sys/process.h"
#include "sys/stop_event.h"

namespace varve::sys {
namespace {

struct Pipe {
  Fd read_end, write_end;
};

Result<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "make a pipe");
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// One read of what is there; closes the descriptor at the end of the stream.
void ReadOnce(Fd& fd, Stream stream, const OutputCallback& output) {
  char buffer[64 << 10];
  ssize_t n = read(fd.get(), buffer, sizeof(buffer));
  if (n > 0) {
    if (output) output(stream, std::string_view(buffer, static_cast<size_t>(n)));
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    fd.Reset();
  }
}

}  // namespace

Result<PipedChild> PipedChild::Start(SpawnSpec spec) {
  CHECK(spec.stdout_fd < 0 && spec.stderr_fd < 0);
  TRY_ASSIGN(Pipe out, MakePipe());
  TRY_ASSIGN(Pipe err, MakePipe());
  spec.stdout_fd = out.write_end.get();
  spec.stderr_fd = err.write_end.get();
  PipedChild started;
  TRY_ASSIGN(started.child_, Spawn(spec));
  started.name_ = spec.argv[0];
  started.out_ = std::move(out.read_end);
  started.err_ = std::move(err.read_end);
  return started;
}

Result<ExitStatus> PipedChild::Follow(const OutputCallback& output, std::stop_token stop,
                                      std::chrono::milliseconds linger) {
  StopEvent stop_event(stop);
  bool ended = false, stopped = false;
  auto deadline = std::chrono::steady_clock::time_point::max();
  while (out_ || err_ || !ended) {
    // poll ignores negative descriptors: finished sources drop out by being -1.
    pollfd fds[] = {{out_.get(), POLLIN, 0},
                    {err_.get(), POLLIN, 0},
                    {ended ? -1 : child_.pidfd(), POLLIN, 0},
                    {stopped ? -1 : stop_event.fd(), POLLIN, 0}};
    int timeout = -1;
    if (ended) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      timeout = static_cast<int>(std::max<int64_t>(left.count(), 0));
    }
    int ready = poll(fds, 4, timeout);
    if (ready < 0) {
      if (errno == EINTR) continue;
      return ErrnoError(errno, "poll");
    }
    if (ready == 0) break;  // only reached while lingering
    if (fds[0].revents != 0) ReadOnce(out_, Stream::kStdout, output);
    if (fds[1].revents != 0) ReadOnce(err_, Stream::kStderr, output);
    if (fds[2].revents != 0) {
      ended = true;
      deadline = std::chrono::steady_clock::now() + linger;
    }
    if (fds[3].revents != 0) {
      stopped = true;
      TRY(child_.Kill(SIGKILL));
    }
  }
  TRY_ASSIGN(ExitStatus status, child_.Wait());
  if (stopped) return Cancelled("cancelled while {} was running", name_);
  return status;
}

Result<ExitStatus> RunProcess(SpawnSpec spec, const OutputCallback& output, std::stop_token stop,
                              std::chrono::milliseconds linger) {
  if (stop.stop_requested()) return Cancelled("cancelled before {} started", spec.argv.at(0));
  TRY_ASSIGN(PipedChild child, PipedChild::Start(std::move(spec)));
  return child.Follow(output, std::move(stop), linger);
}

Result<std::string> RunAndRead(SpawnSpec spec, std::stop_token stop) {
  std::string name = spec.argv.at(0);
  std::string text, errors;
  TRY_ASSIGN(
      ExitStatus status,
      RunProcess(
          std::move(spec),
          [&](Stream stream, std::string_view chunk) { (stream == Stream::kStdout ? text : errors) += chunk; }, stop));
  if (!status.ok()) {
    constexpr size_t kTail = 2000;
    if (errors.size() > kTail) errors.erase(0, errors.size() - kTail);
    return MakeError(Code::kExec, "{} failed with status {}: {}", name, status.code, TrimSpace(errors));
  }
  return text;
}

}  // namespace varve::sys
