#include "job/stop_signals.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>

namespace varve::job {

namespace {

std::atomic<int> signal_fd{-1};
std::atomic<int> signals{0};

void OnSignal(int) {
  if (signals++ > 0) _exit(130);
  char byte = 1;
  [[maybe_unused]] ssize_t n = write(signal_fd, &byte, 1);
}

void Handle(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  for (int number : {SIGINT, SIGTERM, SIGHUP}) sigaction(number, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  int fds[2];
  CHECK(pipe2(fds, O_CLOEXEC) == 0);
  read_.Reset(fds[0]);
  write_.Reset(fds[1]);
  signal_fd = fds[1];
  signals = 0;
  thread_ = std::jthread([this] {
    char byte = 0;
    if (read(read_.get(), &byte, 1) == 1 && byte == 1) stop_.request_stop();
  });
  Handle(OnSignal);
}

StopSignals::~StopSignals() {
  Handle(SIG_DFL);
  char byte = 0;
  [[maybe_unused]] ssize_t n = write(write_.get(), &byte, 1);
}

}  // namespace varve::job
