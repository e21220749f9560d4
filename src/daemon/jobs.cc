#include "daemon/jobs.h"

#include <algorithm>

namespace varve::daemon {

Status Jobs::Add(std::shared_ptr<SolveJob> job) {
  auto state = state_.Lock();
  if (state->draining) return Unavailable("the daemon is going down and takes no more builds");
  if (state->jobs.size() >= limits_.running) {
    return Resource("this daemon runs {} builds already, and takes no more", limits_.running);
  }
  const std::string ref = job->ref();
  if (ref.empty()) return Invalid("a build needs a ref");
  if (!state->jobs.try_emplace(ref, std::move(job)).second) return Invalid("job ID {} exists", ref);
  changed_.notify_all();
  return Ok();
}

void Jobs::Remove(const std::shared_ptr<SolveJob>& job) {
  auto state = state_.Lock();
  auto it = state->jobs.find(job->ref());
  if (it == state->jobs.end() || it->second != job) return;
  state->ended.push_back({job->ref(), job->shared_feed(), clock_.Now()});
  state->jobs.erase(it);
  Forget(*state);
  changed_.notify_all();
}

void Jobs::Forget(State& state) {
  const int64_t oldest = clock_.Now().nanos - Nanos(limits_.remembered_for).count();
  while (!state.ended.empty() && (state.ended.size() > limits_.remembered || state.ended.front().at.nanos < oldest)) {
    state.ended.pop_front();
  }
}

std::shared_ptr<SolveJob> Jobs::Find(const std::string& ref) {
  auto state = state_.Lock();
  std::shared_ptr<SolveJob> found;
  state.WaitFor(changed_, limits_.wait, [&] {
    auto it = state->jobs.find(ref);
    if (it == state->jobs.end()) return false;
    found = it->second;
    return true;
  });
  return found;
}

std::shared_ptr<StatusFeed> Jobs::FeedIn(State& state, const std::string& ref) {
  if (auto it = state.jobs.find(ref); it != state.jobs.end()) return it->second->shared_feed();
  auto ended = std::ranges::find(state.ended, ref, &Ended::ref);
  return ended == state.ended.end() ? nullptr : ended->feed;
}

std::shared_ptr<StatusFeed> Jobs::FindFeed(const std::string& ref) {
  auto state = state_.Lock();
  std::shared_ptr<StatusFeed> found;
  state.WaitFor(changed_, limits_.wait, [&] { return (found = FeedIn(*state, ref)) != nullptr; });
  return found;
}

std::shared_ptr<StatusFeed> Jobs::FindFeedNow(const std::string& ref) {
  auto state = state_.Lock();
  return FeedIn(*state, ref);
}

size_t Jobs::running() { return state_.Lock()->jobs.size(); }

bool Jobs::draining() { return state_.Lock()->draining; }

std::vector<std::string> Jobs::refs() {
  std::vector<std::string> refs;
  for (const auto& [ref, job] : state_.Lock()->jobs) refs.push_back(ref);
  return refs;
}

void Jobs::Drain() { state_.Lock()->draining = true; }

bool Jobs::AwaitIdle(std::chrono::milliseconds time) {
  auto state = state_.Lock();
  return state.WaitFor(changed_, time, [&] { return state->jobs.empty(); });
}

void Jobs::CancelAll() {
  std::vector<std::shared_ptr<SolveJob>> jobs;
  for (const auto& [ref, job] : state_.Lock()->jobs) jobs.push_back(job);
  for (const auto& job : jobs) job->Cancel();
}

}  // namespace varve::daemon
