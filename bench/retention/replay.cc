#include "bench/retention/replay.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "cache/retention.h"

namespace varve::bench {

namespace {

constexpr int64_t kHour = 3600;

// One step's result and the layer that it added.
struct Made {
  int below = -1;  // index of the result it was made on
  std::string slot;
  double seconds = 0;
  uint64_t bytes = 0;
  bool present = false, is_base = false;
  int64_t created = 0, last_used = 0;
  uint64_t builds = 0;  // that used it, as BuildKit counts
  uint64_t uses = 0;    // at least an hour apart, as varve counts
  int64_t last_counted = 0;
  int children = 0;  // present ones on top of it
};

class Replayer {
 public:
  Replayer(Policy policy, uint64_t budget) : policy_(policy), budget_(budget) {}

  void Run(const HistoryBuild& build) {
    now_ = build.time;
    used_.clear();
    std::vector<int> made(build.steps.size(), -1);
    for (int wanted : build.wanted) Need(build, wanted, made);
    for (int i : used_) NoteUse(made_[static_cast<size_t>(i)]);
    if (bytes_ > budget_) Evict();
  }

  Replayed result;

 private:
  // The result of a step, made again when it is not there. Everything it stands on is used.
  int Need(const HistoryBuild& build, int i, std::vector<int>& made) {
    int& known = made[static_cast<size_t>(i)];
    if (known >= 0) return known;
    const HistoryStep& step = build.steps[static_cast<size_t>(i)];
    auto [it, is_new] = by_key_.try_emplace(step.key, static_cast<int>(made_.size()));
    known = it->second;
    if (is_new) made_.push_back({.slot = step.slot, .seconds = step.seconds, .bytes = step.bytes});
    if (made_[static_cast<size_t>(known)].present) {
      // A present layer has all below it present.
      for (int at = known; at >= 0; at = made_[static_cast<size_t>(at)].below) used_.insert(at);
      return known;
    }
    int below = step.parent >= 0 ? Need(build, step.parent, made) : -1;
    for (int input : step.inputs) Need(build, input, made);
    Made& result_of = made_[static_cast<size_t>(it->second)];
    (is_new ? result.first_seconds : result.rebuilt_seconds) += step.seconds;
    result_of.below = below;
    result_of.is_base = step.parent < 0;
    result_of.present = true;
    result_of.created = result_of.last_used = result_of.last_counted = now_;
    // Its row in the index goes with the layer, and with it what was counted.
    result_of.builds = result_of.uses = 0;
    bytes_ += result_of.bytes;
    if (is_new) result.unlimited_bytes += result_of.bytes;
    if (below >= 0) ++made_[static_cast<size_t>(below)].children;
    used_.insert(it->second);
    return made[static_cast<size_t>(i)] = it->second;
  }

  void NoteUse(Made& made) {
    made.last_used = now_;
    ++made.builds;
    if (now_ - made.last_counted >= kHour) {
      made.last_counted = now_;
      ++made.uses;
    }
  }

  void Drop(size_t i) {
    made_[i].present = false;
    bytes_ -= made_[i].bytes;
    if (made_[i].below >= 0) --made_[static_cast<size_t>(made_[i].below)].children;
    ++result.evictions;
  }

  void Evict() {
    if (policy_ == Policy::kVarve) return EvictByValue();
    while (bytes_ > budget_) {
      std::vector<size_t> tops;
      for (size_t i = 0; i < made_.size(); ++i) {
        if (made_[i].present && made_[i].children == 0) tops.push_back(i);
      }
      if (tops.empty()) return;
      Drop(policy_ == Policy::kLru ? OldestOf(tops) : BuildKitsChoice(tops));
    }
  }

  size_t OldestOf(const std::vector<size_t>& tops) const {
    return *std::ranges::min_element(tops, {}, [&](size_t i) { return made_[i].last_used; });
  }

  // cache/manager.go, sortDeleteRecords: both ranks count distinct values, from 2; each is divided
  // by the highest; the lowest sum goes.
  size_t BuildKitsChoice(const std::vector<size_t>& tops) const {
    std::set<int64_t> times;
    std::set<uint64_t> counts;
    for (size_t i : tops) {
      times.insert(made_[i].last_used);
      counts.insert(made_[i].builds);
    }
    auto rank = [](const auto& values, auto value) {
      auto position = std::distance(values.begin(), values.find(value));
      return static_cast<double>(position + 2) / static_cast<double>(values.size() + 1);
    };
    std::map<int64_t, double> time_rank;
    for (int64_t time : times) {
      time_rank[time] = static_cast<double>(time_rank.size() + 2) / static_cast<double>(times.size() + 1);
    }
    return *std::ranges::min_element(
        tops, {}, [&](size_t i) { return time_rank.at(made_[i].last_used) + rank(counts, made_[i].builds); });
  }

  void EvictByValue() {
    cache::RetentionInput input;
    input.now = At(now_);
    std::map<std::string, uint32_t> slots;
    std::vector<size_t> back;
    std::vector<uint32_t> number(made_.size());
    for (size_t i = 0; i < made_.size(); ++i) {
      const Made& made = made_[i];
      if (!made.present) continue;
      number[i] = static_cast<uint32_t>(back.size());
      back.push_back(i);
      input.layers.push_back(
          {.bytes = made.bytes, .created = At(made.created), .last_used = At(made.last_used), .uses = made.uses});
    }
    for (size_t i : back) {
      if (made_[i].is_base) continue;
      cache::RetentionResult stack{.layers = {}, .slot = Slot(slots, made_[i].slot), .seconds = made_[i].seconds};
      for (int at = static_cast<int>(i); at >= 0; at = made_[static_cast<size_t>(at)].below) {
        stack.layers.push_back(number[static_cast<size_t>(at)]);
      }
      std::ranges::reverse(stack.layers);
      input.results.push_back(std::move(stack));
    }
    for (const cache::Eviction& block : cache::EvictionOrder(input)) {
      if (bytes_ <= budget_) break;
      for (uint32_t layer : block.layers) Drop(back[layer]);
    }
  }

  static Timestamp At(int64_t seconds) { return {seconds * 1'000'000'000}; }
  static uint32_t Slot(std::map<std::string, uint32_t>& slots, const std::string& name) {
    return slots.try_emplace(name, static_cast<uint32_t>(slots.size())).first->second;
  }

  const Policy policy_;
  const uint64_t budget_;
  int64_t now_ = 0;
  uint64_t bytes_ = 0;
  std::vector<Made> made_;
  std::unordered_map<std::string, int> by_key_;
  std::set<int> used_;
};

}  // namespace

std::string NameOf(Policy policy) {
  switch (policy) {
    case Policy::kVarve:
      return "varve";
    case Policy::kLru:
      return "LRU";
    case Policy::kBuildKit:
      return "BuildKit";
  }
  return "";
}

uint64_t WeeklyBytes(const History& history) {
  std::map<int64_t, std::map<std::string, uint64_t>> weeks;
  for (const HistoryBuild& build : history) {
    for (const HistoryStep& step : build.steps) {
      weeks[build.time / (7 * 24 * kHour)][step.key] = step.bytes;
    }
  }
  uint64_t sum = 0;
  for (const auto& [week, results] : weeks) {
    for (const auto& [key, bytes] : results) sum += bytes;
  }
  return weeks.empty() ? 0 : sum / weeks.size();
}

Replayed Replay(const History& history, Policy policy, uint64_t budget) {
  Replayer replayer(policy, budget);
  for (const HistoryBuild& build : history) replayer.Run(build);
  return replayer.result;
}

}  // namespace varve::bench
