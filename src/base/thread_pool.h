// A bounded pool of threads for one kind of work (CPU, network, disk).
//
// Threads start when work arrives, so that a build that hits everything starts none. The destructor
// runs what is queued, then joins.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "base/result.h"

namespace varve {

class ThreadPool {
 public:
  using Task = std::move_only_function<void()>;

  explicit ThreadPool(size_t max_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  void Submit(Task task);  // from any thread
  size_t max_threads() const { return max_threads_; }

 private:
  struct State {
    std::deque<Task> queue;
    size_t idle = 0;
    bool stop = false;
    std::vector<std::jthread> threads;
  };
  void Loop();

  const size_t max_threads_;
  Guarded<State> state_;
  std::condition_variable wake_;
};

// Calls f(i) for i in [0, n) on up to `threads` threads including this one; returns the first error
// by index order of discovery, after all running calls have ended. f must be safe to call from
// several threads.
Status ParallelFor(size_t n, size_t threads, const std::function<Status(size_t)>& f);

// Number of CPUs this process may use (sched_getaffinity), at least 1.
size_t CpuCount();

}  // namespace varve
