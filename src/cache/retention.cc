#include "cache/retention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <queue>
#include <unordered_map>

namespace varve::cache {

namespace {

constexpr double kDayNanos = 24.0 * 3600 * 1e9;
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

double Days(Timestamp from, Timestamp to) {
  return std::max(0.0, static_cast<double>(to.nanos - from.nanos) / kDayNanos);
}

// A stack of layers, named by its topmost one and the stack below. Parents come before children.
struct Stack {
  uint32_t parent = kNone;
  uint32_t layer = 0;
  uint32_t slot = kNone;  // none: no step made it
  double seconds = 0;
  double value = 0;  // seconds a day
  double bytes = 0;
};

class Stacks {
 public:
  explicit Stacks(const RetentionInput& input) : input_(input), sharers_(input.layers.size()) {
    for (const RetentionResult& result : input.results) {
      uint32_t at = kNone;
      for (uint32_t layer : result.layers) at = Child(at, layer);
      if (at == kNone) continue;
      stacks_[at].slot = result.slot;
      stacks_[at].seconds += result.seconds;
    }
    for (uint32_t layer = 0; layer < input.layers.size(); ++layer) {
      if (sharers_[layer] == 0) Child(kNone, layer);  // in no result's stack
    }
  }

  const std::vector<Stack>& Weigh() {
    std::vector<UseHistory> slots = Slots();
    for (Stack& stack : stacks_) {
      const RetentionLayer& layer = input_.layers[stack.layer];
      UseHistory history;
      double seconds = stack.seconds;
      if (stack.slot != kNone) {
        history = slots[stack.slot];
        history.missed = Missed(stack);
      } else {
        seconds = static_cast<double>(layer.bytes) / input_.pull_bytes_per_second;
      }
      history.age_days = Days(layer.created, input_.now);
      history.idle_days = std::min(history.age_days, Days(layer.last_used, input_.now));
      history.uses = static_cast<double>(layer.uses);
      stack.value = layer.held ? std::numeric_limits<double>::infinity() : seconds * ExpectedUsesPerDay(history);
      // Bytes that several stacks share go when the last of them goes: each bears its part. One
      // more for the directory itself, so that no price is zero.
      stack.bytes = static_cast<double>(layer.bytes + 4096) / sharers_[stack.layer];
    }
    return stacks_;
  }

  uint32_t sharers(uint32_t layer) const { return sharers_[layer]; }

 private:
  uint32_t Child(uint32_t parent, uint32_t layer) {
    auto number = static_cast<uint32_t>(stacks_.size());
    auto [it, is_new] = children_.try_emplace(uint64_t{parent} << 32 | layer, number);
    if (is_new) {
      stacks_.push_back({.parent = parent, .layer = layer});
      ++sharers_[layer];
    }
    return it->second;
  }

  std::vector<UseHistory> Slots() {
    uint32_t count = 0;
    for (const Stack& stack : stacks_) {
      if (stack.slot != kNone) count = std::max(count, stack.slot + 1);
    }
    std::vector<UseHistory> slots(count);
    last_uses_.resize(count);
    for (const Stack& stack : stacks_) {
      if (stack.slot == kNone) continue;
      const RetentionLayer& layer = input_.layers[stack.layer];
      slots[stack.slot].slot_uses += static_cast<double>(layer.uses);
      slots[stack.slot].slot_deaths += 1;
      last_uses_[stack.slot].push_back(layer.last_used);
    }
    for (uint32_t slot = 0; slot < count; ++slot) {
      slots[slot].slot_deaths = std::max(0.0, slots[slot].slot_deaths - 1);  // one is current
      std::ranges::sort(last_uses_[slot]);
    }
    return slots;
  }

  double Missed(const Stack& stack) const {
    const auto& uses = last_uses_[stack.slot];
    Timestamp mine = input_.layers[stack.layer].last_used;
    return static_cast<double>(uses.end() - std::ranges::upper_bound(uses, mine));
  }

  const RetentionInput& input_;
  std::vector<Stack> stacks_;
  std::unordered_map<uint64_t, uint32_t> children_;
  std::vector<uint32_t> sharers_;
  std::vector<std::vector<Timestamp>> last_uses_;  // by slot, sorted
};

}  // namespace

// The estimate of the MBG/NBD model of repeat purchases (Fader, Hardie, Lee, "Counting your
// customers the easy way", 2005; Batislam et al., 2007): a layer is used at random with a rate of
// its own and after each use dies with a probability of its own; how often, how long ago, and since
// when, say together what to expect. It knows nothing of bursts, and pushes come in bursts: hence
// the term that falls with the time since the last use, as LRU would have it. The constants are
// those for which bench/retention rebuilt least on two of its histories; a factor of two in any of
// them changes the outcome by a few per cent.
double ExpectedUsesPerDay(const UseHistory& h) {
  constexpr double kShape = 1.5, kScaleDays = 1.0;    // the rate before anything is known
  constexpr double kPriorDeaths = 2, kPriorUses = 2;  // of a slot
  constexpr double kSlotWeight = 4;                   // uses that the slot's experience counts for
  constexpr double kBurst = 2, kBurstDays = 0.1;
  double dies = (h.slot_deaths + kPriorDeaths) / (h.slot_deaths + h.slot_uses + kPriorDeaths + kPriorUses);
  double until_last_use = h.age_days - h.idle_days;
  double odds_dead = kSlotWeight * dies / (kSlotWeight * (1 - dies) + h.uses) *
                     std::pow((kScaleDays + h.age_days) / (kScaleDays + until_last_use), kShape + h.uses);
  // Others of its slot were used instead.
  odds_dead *= (1 + h.missed) * (1 + h.missed);
  double alive = 1 / (1 + odds_dead);
  return alive * ((kShape + h.uses) / (kScaleDays + h.age_days) + kBurst / (kBurstDays + h.idle_days));
}

std::vector<Eviction> EvictionOrder(const RetentionInput& input) {
  Stacks all(input);
  const std::vector<Stack>& stacks = all.Weigh();

  // Horn's algorithm (W. A. Horn, "Single-machine job sequencing with treelike precedence
  // ordering", 1972), seen as an order of keeping: a stack may be kept only after the one below
  // it. Take the block of the highest seconds per byte; where the block below it is kept already,
  // or there is none, keep it; else it becomes one block with that. The order that results has, at
  // every prefix, the most value that those bytes can hold. What is given up is its reverse.
  struct Block {
    uint32_t parent;  // a stack; its block is found through `leader`
    double value, bytes;
    std::vector<uint32_t> members;
    uint32_t version = 0;
    bool kept = false;
  };
  std::vector<Block> blocks;
  std::vector<uint32_t> leader(stacks.size());
  std::iota(leader.begin(), leader.end(), 0);
  auto find = [&](uint32_t i) {
    while (leader[i] != i) i = leader[i] = leader[leader[i]];
    return i;
  };
  struct Entry {
    double density;
    int64_t last_used;
    uint32_t block, version;
    bool operator<(const Entry& other) const {
      if (density != other.density) return density < other.density;
      if (last_used != other.last_used) return last_used < other.last_used;
      return block > other.block;
    }
  };
  std::priority_queue<Entry> queue;
  auto push = [&](uint32_t i) {
    const Block& block = blocks[i];
    queue.push({block.value / block.bytes, input.layers[stacks[i].layer].last_used.nanos, i, block.version});
  };
  for (uint32_t i = 0; i < stacks.size(); ++i) {
    blocks.push_back({stacks[i].parent, stacks[i].value, stacks[i].bytes, {i}});
    push(i);
  }
  std::vector<uint32_t> kept;  // blocks, the most valuable first
  while (!queue.empty()) {
    Entry entry = queue.top();
    queue.pop();
    Block& block = blocks[entry.block];
    if (block.kept || entry.version != block.version || find(entry.block) != entry.block) continue;
    uint32_t below = block.parent == kNone ? kNone : find(block.parent);
    if (below == kNone || blocks[below].kept) {
      block.kept = true;
      kept.push_back(entry.block);
      continue;
    }
    Block& into = blocks[below];
    into.value += block.value;
    into.bytes += block.bytes;
    into.members.insert(into.members.end(), block.members.begin(), block.members.end());
    block.members = {};
    ++into.version;
    leader[entry.block] = below;
    push(below);
  }

  std::vector<Eviction> order;
  std::vector<uint32_t> gone(input.layers.size());
  for (auto it = kept.rbegin(); it != kept.rend(); ++it) {
    const Block& block = blocks[*it];
    if (std::isinf(block.value)) continue;
    Eviction eviction{.layers = {}, .bytes = 0, .seconds_per_day = block.value};
    for (auto member = block.members.rbegin(); member != block.members.rend(); ++member) {
      uint32_t layer = stacks[*member].layer;
      // In other stacks too: with the last of them.
      if (++gone[layer] < all.sharers(layer)) continue;
      eviction.layers.push_back(layer);
      eviction.bytes += input.layers[layer].bytes;
    }
    if (!eviction.layers.empty()) order.push_back(std::move(eviction));
  }
  return order;
}

}  // namespace varve::cache
