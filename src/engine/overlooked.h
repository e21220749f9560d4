// Changes of traced layers that other layers keep from a step.
//
// A directory of the file system is merged of those of all layers that have it, as far down as layers have
// directories there. Of a lower one the step sees names and nothing else: its mode and owner are those of
// the uppermost. And where a layer has the directory, it is asked for every name that is looked up in it
// before the layers below it are. So its notes tell whether anything was looked up that another layer's
// directory brings, even one that was not there when the step ran.
#pragma once

#include "engine/interfaces.h"
#include "engine/replay.h"
#include "tree/read_set.h"

namespace varve::engine {

// Of one comparison of a run's notes with the layers of now. Keeps references.
class Overlooked {
 public:
  // `notes` of each of `weak.stacks`.
  Overlooked(const WeakStep& weak, const std::vector<tree::ReadSet>& notes, tree::TreeStore& trees, StepRunner& runner)
      : stacks_(weak.stacks), notes_(notes), trees_(trees), runner_(runner) {}

  // Whether the step cannot have seen that the stack answers `entry` in another way, with `now` at its path.
  Result<bool> IsOne(size_t stack, const tree::Entry& entry, const std::optional<tree::Node>& now);

 private:
  Result<const tree::Entry*> WatchOver(size_t stack, const std::string& path);
  Result<bool> IsUnasked(size_t stack, const tree::Entry& watched, size_t watch, const tree::Node& now);
  Result<bool> LooksAsBefore(size_t stack, const std::string& path, const tree::Node& now);

  const std::vector<TracedStack>& stacks_;
  const std::vector<tree::ReadSet>& notes_;
  tree::TreeStore& trees_;
  StepRunner& runner_;
};

}  // namespace varve::engine
