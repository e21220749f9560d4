// The builds of this daemon by their refs: those that run, and the feeds of those that ended just now, for
// clients whose Status call is late.
//
// Safe from any thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "daemon/solve_job.h"

namespace varve::daemon {

struct JobLimits {
  size_t running = 1000;                                     // more are refused
  std::chrono::milliseconds wait = std::chrono::seconds(3);  // of a call that comes before its Solve
  size_t remembered = 100;                                   // feeds of builds that have ended
  std::chrono::seconds remembered_for = std::chrono::seconds(15);
};

class Jobs {
 public:
  explicit Jobs(JobLimits limits = {}, Clock& clock = SystemClock()) : limits_(limits), clock_(clock) {}

  // kInvalid for a ref that is in use, kResource beyond the limit, kUnavailable while draining.
  Status Add(std::shared_ptr<SolveJob> job);
  // The job is over; its feed stays for a while.
  void Remove(const std::shared_ptr<SolveJob>& job);

  // Waits a while for a job that has not come yet. Null: it did not come.
  std::shared_ptr<SolveJob> Find(const std::string& ref);
  std::shared_ptr<StatusFeed> FindFeed(const std::string& ref);
  std::shared_ptr<StatusFeed> FindFeedNow(const std::string& ref);

  size_t running();
  bool draining();
  std::vector<std::string> refs();  // of those that run
  // No more jobs are taken.
  void Drain();
  // Until no job runs, or the time is over. Then the rest is cancelled.
  bool AwaitIdle(std::chrono::milliseconds time);
  void CancelAll();

 private:
  struct Ended {
    std::string ref;
    std::shared_ptr<StatusFeed> feed;
    Timestamp at;
  };
  struct State {
    std::map<std::string, std::shared_ptr<SolveJob>> jobs;
    std::deque<Ended> ended;
    bool draining = false;
  };
  void Forget(State& state);
  static std::shared_ptr<StatusFeed> FeedIn(State& state, const std::string& ref);

  const JobLimits limits_;
  Clock& clock_;
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace varve::daemon
