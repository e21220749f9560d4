#include "daemon/exec_stream.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "base/log.h"
#include "base/strings.h"
#include "daemon/failure.h"

namespace varve::daemon {

namespace {

constexpr size_t kMaxQueuedInput = 1 << 20;
constexpr uint32_t kUnknownExit = 255;
// How long what a process has left running may go on writing.
constexpr std::chrono::milliseconds kLinger{200};

// gRPC takes messages of one stream from one thread at a time.
class Sender {
 public:
  explicit Sender(ExecMessages& stream) : stream_(stream) {}
  void Send(const gateway::ExecMessage& message) {
    std::lock_guard lock(mutex_);
    stream_.Write(message);
  }

 private:
  std::mutex mutex_;
  ExecMessages& stream_;
};

// "HUP", "RTMIN+1"; 0: no such signal.
int SignalNumber(std::string_view name) {
  for (int number = 1; number < SIGRTMIN; ++number) {
    const char* known = sigabbrev_np(number);
    if (known != nullptr && name == known) return number;
  }
  if (name == "RTMIN") return SIGRTMIN;
  if (name == "RTMAX") return SIGRTMAX;
  if (!name.starts_with("RTMIN+") && !name.starts_with("RTMAX-")) return 0;
  auto offset = ParseInt(std::string(name.substr(6)));
  if (!offset || *offset < 0 || *offset > SIGRTMAX - SIGRTMIN) return 0;
  return name[5] == '+' ? SIGRTMIN + static_cast<int>(*offset) : SIGRTMAX - static_cast<int>(*offset);
}

google::rpc::Status StatusOf(const Error& error) { return ToProto({.error = error}); }

// One process: a thread waits for its end, and one moves what it reads and writes.
class Process {
 public:
  Process(std::string id, gateway::InitMessage init, Sender& sender, FrontendContainers& containers)
      : id_(std::move(id)), init_(std::move(init)), sender_(sender), containers_(containers),
        handle_([this] { Begin(true); }), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    thread_ = std::jthread([this](std::stop_token stop) { Run(stop); });
  }
  ~Process() {
    thread_.request_stop();
    thread_.join();
  }

  // Waits while more is to be written than the process takes. What it has no place for is dropped.
  void Write(const gateway::FdMessage& message) {
    if (!init_.tty() && !Wants(0)) return;
    auto state = state_.Lock();
    state.Wait(changed_, [&] { return state->ended || state->input.size() < kMaxQueuedInput; });
    if (state->ended || state->input_ended) return;
    state->input += message.data();
    state->input_ended = message.eof();
    Wake();
  }
  void Resize(const gateway::ResizeMessage& size) {
    Status resized = handle_.Resize(size.rows(), size.cols());
    if (!resized) LOG_DEBUG("{}", resized.error().message);
  }
  void Signal(int number) { handle_.Signal(number); }

 private:
  struct State {
    std::string input;
    bool input_ended = false;
    bool told = false;  // the client that it has begun: no output comes before that
    bool runs = false;  // or has run: it has its terminal
    bool ended = false;
  };

  struct Now {
    bool has_input, input_ended, told, runs, ended;
  };
  Now Look() {
    auto state = state_.Lock();
    return {!state->input.empty(), state->input_ended, state->told, state->runs, state->ended};
  }

  bool Wants(uint32_t fd) const { return std::ranges::find(init_.fds(), fd) != init_.fds().end(); }
  void Wake() { (void)!eventfd_write(wake_.get(), 1); }

  gateway::ExecMessage Message() const {
    gateway::ExecMessage message;
    message.set_process_id(id_);
    return message;
  }

  // Its first message, also that of a process that could not be started.
  void Begin(bool runs) {
    if (!told_) {
      auto message = Message();
      message.mutable_started();
      sender_.Send(message);
    }
    told_ = true;
    {
      auto state = state_.Lock();
      state->told = true;
      state->runs = runs;
    }
    Wake();
  }

  void End() {
    state_.Lock()->ended = true;
    changed_.notify_all();
    Wake();
  }

  Status MakePipes(sandbox::Streams& streams) {
    if (init_.tty()) return Ok();
    auto make = [](Fd& read_end, Fd& write_end) -> Status {
      int ends[2];
      if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "make a pipe");
      read_end.Reset(ends[0]);
      write_end.Reset(ends[1]);
      return Ok();
    };
    if (Wants(0)) TRY(make(streams.in, in_));
    if (Wants(1)) TRY(make(out_, streams.out));
    if (Wants(2)) TRY(make(err_, streams.err));
    return Ok();
  }

  void Run(std::stop_token stop) {
    auto run = [&]() -> Result<sandbox::Outcome> {
      TRY_ASSIGN(auto container, containers_.Find(init_.container_id()));
      sandbox::Streams streams;
      TRY(MakePipes(streams));
      // Of those that join, clients have to hear at once: they take no message of another process until they
      // have taken the last one, and that may be output which this one is to read.
      if (container->has_begun()) Begin(false);
      std::jthread mover([this] { MoveBytes(); });
      auto outcome = container->Run(init_, std::move(streams), handle_, stop);
      End();
      return outcome;
    };
    auto outcome = run();
    End();  // also of what could not begin
    for (Fd* fd : {&in_, &out_, &err_}) fd->Reset();
    if (!told_) Begin(false);
    for (uint32_t fd : {1U, 2U}) {
      if (Wants(fd)) SendOutput(fd, {}, true);
    }
    SendEnd(outcome);
  }

  void SendEnd(const Result<sandbox::Outcome>& outcome) {
    auto message = Message();
    gateway::ExitMessage& exit = *message.mutable_exit();
    if (!outcome) {
      exit.set_code(kUnknownExit);
      *exit.mutable_error() = StatusOf(outcome.error());
    } else if (outcome->exit_code != 0) {
      exit.set_code(static_cast<uint32_t>(outcome->exit_code));
      *exit.mutable_error() = ToProto(
          {.error = MakeError(Code::kExec, "exit code: {}", outcome->exit_code), .exit_code = outcome->exit_code});
    }
    sender_.Send(message);
    message = Message();
    message.mutable_done();
    sender_.Send(message);
  }

  void SendOutput(uint32_t fd, std::string_view data, bool eof) {
    auto message = Message();
    gateway::FdMessage& file = *message.mutable_file();
    file.set_fd(fd);
    file.set_data(data.data(), data.size());
    file.set_eof(eof);
    sender_.Send(message);
  }

  // False: at its end.
  bool SendOnce(int from, uint32_t fd) {
    char buffer[32 << 10];
    ssize_t n = read(from, buffer, sizeof(buffer));
    if (n > 0) SendOutput(fd, {buffer, static_cast<size_t>(n)}, false);
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
  }

  // False: nobody reads it any more.
  bool WriteOnce(int to) {
    auto state = state_.Lock();
    ssize_t n = write(to, state->input.data(), state->input.size());
    if (n > 0) state->input.erase(0, static_cast<size_t>(n));
    changed_.notify_all();
    return n >= 0 || errno == EINTR || errno == EAGAIN;
  }

  void MoveBytes() {
    if (in_) fcntl(in_.get(), F_SETFL, O_NONBLOCK);
    int in = in_.get(), out = out_.get(), err = err_.get();
    bool has_terminal = false;
    std::optional<std::chrono::steady_clock::time_point> deadline;
    for (;;) {
      const Now now = Look();
      if (init_.tty() && now.runs && !has_terminal && handle_.terminal() >= 0) {
        has_terminal = true;
        in = out = handle_.terminal();
        fcntl(in, F_SETFL, O_NONBLOCK);
      }
      // A terminal has no end of input: who types there sends ^D.
      if (in_ && now.input_ended && !now.has_input) {
        in_.Reset();
        in = -1;
      }
      if (now.ended) {
        if (out < 0 && err < 0) return;
        if (!deadline) deadline = std::chrono::steady_clock::now() + kLinger;
      }
      int timeout = -1;
      if (deadline) {
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return;
        timeout = static_cast<int>(left.count());
      }
      pollfd fds[] = {{now.has_input && !now.ended ? in : -1, POLLOUT, 0},
                      {now.told ? out : -1, POLLIN, 0},
                      {now.told ? err : -1, POLLIN, 0},
                      {wake_.get(), POLLIN, 0}};
      if (poll(fds, 4, timeout) < 0 && errno != EINTR) return;
      if (fds[3].revents != 0) {
        eventfd_t ignored;
        eventfd_read(wake_.get(), &ignored);
      }
      if (fds[0].revents != 0 && !WriteOnce(in)) {
        auto state = state_.Lock();
        state->input_ended = true;
        state->input.clear();
      }
      if (fds[1].revents != 0 && !SendOnce(out, 1)) out = -1;
      if (fds[2].revents != 0 && !SendOnce(err, 2)) err = -1;
    }
  }

  const std::string id_;
  const gateway::InitMessage init_;
  Sender& sender_;
  FrontendContainers& containers_;
  sandbox::ProcessHandle handle_;
  Fd in_, out_, err_;  // this side
  Fd wake_;            // something of state_ has changed
  bool told_ = false;  // the client; by the thread that waits for the end alone
  Guarded<State> state_;
  std::condition_variable changed_;
  std::jthread thread_;
};

}  // namespace

grpc::Status ServeExecProcess(ExecMessages& stream, FrontendContainers& containers) {
  Sender sender(stream);
  std::map<std::string, std::unique_ptr<Process>> processes;
  gateway::ExecMessage message;
  while (stream.Read(&message)) {
    const std::string& id = message.process_id();
    if (id.empty()) return {grpc::StatusCode::INVALID_ARGUMENT, "ProcessID required"};
    auto known = processes.find(id);
    if (message.has_init()) {
      if (known != processes.end()) {
        return {grpc::StatusCode::ALREADY_EXISTS, fmt::format("Process {} already exists", id)};
      }
      processes[id] = std::make_unique<Process>(id, message.init(), sender, containers);
      continue;
    }
    if (known == processes.end()) {
      return {grpc::StatusCode::NOT_FOUND, fmt::format("IO for process \"{}\" not found", id)};
    }
    if (message.has_file()) {
      known->second->Write(message.file());
    } else if (message.has_resize()) {
      known->second->Resize(message.resize());
    } else if (message.has_signal()) {
      int number = SignalNumber(message.signal().name());
      if (number == 0) {
        return {grpc::StatusCode::INVALID_ARGUMENT, "Unknown signal " + message.signal().name()};
      }
      known->second->Signal(number);
    }
  }
  return grpc::Status::OK;
}

}  // namespace varve::daemon
