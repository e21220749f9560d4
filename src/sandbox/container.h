// A container that lives as long as its first process; others join it. (A build step is one process without input,
// whose output is text: sandbox.h.)
//
//   sandbox::Container container(runtime, state_dir);
//   container.Run(spec, std::move(streams), handle, stop);   // makes it, and blocks until the process has ended
//   container.Run(other, …);                                 // meanwhile, on another thread: joins it
//
// What holds of a step's processes holds here: nothing of them is left when Run of the first one has
// returned, nor when varve is killed.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/guarded.h"
#include "sandbox/sandbox.h"
#include "sys/process.h"

namespace varve::sandbox {

class PreparedContainer;

// What a process without a terminal reads and writes. None: /dev/null.
struct Streams {
  Fd in, out, err;
};

// What others can do to a process while Run waits for it. Safe from any thread.
class ProcessHandle {
 public:
  // `on_started` is called once, by Run, when the process has begun: never, if it cannot.
  explicit ProcessHandle(std::function<void()> on_started = nullptr) : on_started_(std::move(on_started)) {}
  ProcessHandle(const ProcessHandle&) = delete;
  ProcessHandle& operator=(const ProcessHandle&) = delete;

  // Before the process has begun it is kept for it; after its end nothing happens.
  void Signal(int signal);

  // Of a process with Spec::terminal, once it has begun; lives as long as this object. What is written is what
  // a user types, what is read is what the screen shows; at the end reading fails with EIO.
  int terminal() const { return terminal_.get(); }
  Status Resize(unsigned rows, unsigned columns);  // as Signal

 private:
  friend class RunningProcess;
  struct State {
    pid_t runtime = -1;  // the runtime's process, not reaped yet; -1: none
    bool has_begun = false;
    std::vector<int> signals;  // until it begins
    std::optional<std::pair<unsigned, unsigned>> size;
  };
  void Begin(pid_t runtime);
  void End();
  static void Send(pid_t runtime, int signal);

  std::function<void()> on_started_;
  Fd terminal_;  // set before on_started_ is called
  Guarded<State> state_;
};

// Safe from any thread.
class Container {
 public:
  // `state_dir` as RunWith has it.
  Container(Runtime runtime, std::string state_dir) : runtime_(std::move(runtime)), state_dir_(std::move(state_dir)) {}

  // The first call runs the container; each later one waits until its process runs and takes of its own spec
  // what is a process's: args, env, cwd, user, security, terminal. The streams are closed here once the
  // process has them. Errors as of RunWith; kInvalid where the container has ended.
  Result<Outcome> Run(const Spec& spec, Streams streams, ProcessHandle& handle, std::stop_token stop);

 private:
  enum class Phase { kNew, kStarting, kRunning, kEnded };
  struct State {
    Phase phase = Phase::kNew;
    int joined = 0;                               // processes that run besides the first, or are about to
    int names = 0;                                // of their files
    const PreparedContainer* prepared = nullptr;  // while there are processes
    int pidfd = -1;                               // of the runtime that runs the first one
  };
  Result<Outcome> RunFirst(const Spec& spec, Streams streams, ProcessHandle& handle, std::stop_token stop);
  Result<Outcome> Join(const State& to, const Spec& spec, Streams streams, ProcessHandle& handle, std::stop_token stop);

  const Runtime runtime_;
  const std::string state_dir_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace varve::sandbox
