// How the work of a build comes back to its coordinator: one message for each piece, taken in order.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <stop_token>
#include <utility>

#include "base/guarded.h"
#include "base/thread_pool.h"

namespace varve::engine {

class Mailbox {
 public:
  using Message = std::move_only_function<void()>;

  // `io`: the pool of short work. It must end before the mailbox does.
  explicit Mailbox(ThreadPool& io) : io_(io) {}

  // From any thread.
  void Post(Message message) {
    mail_.Lock()->push_back(std::move(message));
    came_.notify_one();
  }

  // The rest from the coordinator's thread alone.
  size_t in_flight() const { return in_flight_; }

  // Runs `work` on a pool; then the message is `receive` with its value. Work for `io` that is all there is to wait
  // for is done by Next(): nobody else has to wait meanwhile, and no thread is woken for it.
  template <class Work, class Receive>
  void Start(ThreadPool& pool, std::stop_token stop, Work work, Receive receive) {
    auto task = [this, stop = std::move(stop), work = std::move(work), receive = std::move(receive)]() mutable {
      auto value = work(std::move(stop));
      Post([this, value = std::move(value), receive = std::move(receive)]() mutable {
        --in_flight_;
        receive(std::move(value));
      });
    };
    if (held_) io_.Submit(std::exchange(held_, nullptr));
    if (++in_flight_ == 1 && &pool == &io_) {
      held_ = std::move(task);
    } else {
      pool.Submit(std::move(task));
    }
  }

  // Waits for a message; something must be in flight.
  Message Next() {
    if (held_) std::exchange(held_, nullptr)();
    auto mail = mail_.Lock();
    mail.Wait(came_, [&] { return !mail->empty(); });
    Message message = std::move(mail->front());
    mail->pop_front();
    return message;
  }

 private:
  ThreadPool& io_;
  size_t in_flight_ = 0;
  Message held_;  // the only one in flight, not begun
  Guarded<std::deque<Message>> mail_;
  std::condition_variable came_;
};

}  // namespace varve::engine
