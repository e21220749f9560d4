#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <optional>

namespace varve {

ThreadPool::ThreadPool(size_t max_threads) : max_threads_(std::max<size_t>(1, max_threads)) {}

ThreadPool::~ThreadPool() {
  std::vector<std::jthread> threads;
  {
    auto state = state_.Lock();
    state->stop = true;
    threads = std::move(state->threads);
  }
  wake_.notify_all();
}

void ThreadPool::Submit(Task task) {
  auto state = state_.Lock();
  state->queue.push_back(std::move(task));
  if (state->idle < state->queue.size() && state->threads.size() < max_threads_) {
    state->threads.emplace_back([this] { Loop(); });
  } else {
    wake_.notify_one();
  }
}

void ThreadPool::Loop() {
  while (true) {
    Task task;
    {
      auto state = state_.Lock();
      ++state->idle;
      state.Wait(wake_, [&] { return state->stop || !state->queue.empty(); });
      --state->idle;
      if (state->queue.empty()) return;
      task = std::move(state->queue.front());
      state->queue.pop_front();
    }
    task();
  }
}

Status ParallelFor(size_t n, size_t threads, const std::function<Status(size_t)>& f) {
  std::atomic<size_t> next{0};
  std::atomic<bool> failed{false};
  Guarded<std::optional<Error>> first_error;
  auto work = [&] {
    for (size_t i = next++; i < n && !failed; i = next++) {
      if (Status status = f(i); !status) {
        failed = true;
        auto error = first_error.Lock();
        if (!error->has_value()) *error = std::move(status).error();
      }
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t t = 1; t < std::min(threads, n); ++t) helpers.emplace_back(work);
    work();
  }
  auto error = first_error.Lock();
  if (error->has_value()) return Error(std::move(**error));
  return Ok();
}

size_t CpuCount() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace varve
