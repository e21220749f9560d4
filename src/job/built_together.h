// Several builds as one, for what is made of all of them: the caches of a result whose platforms are builds of their
// own.
#pragma once

#include <string>
#include <vector>

#include "engine/engine.h"
#include "graph/graph.h"
#include "job/cache_offer.h"
#include "source/image.h"

namespace varve::job {

class BuiltTogether {
 public:
  // Its steps come after those of the builds before, each once for each build that has it. A build that has run.
  void Add(const BuiltSteps& built);
  // As long as this object is there.
  BuiltSteps steps() const { return {graph_, outcome_, images_, mount_namespace_}; }

 private:
  graph::Graph graph_;
  engine::Outcome outcome_;  // its steps and what was wanted of them; no totals
  std::vector<source::ResolvedImage> images_;
  std::string mount_namespace_;
};

}  // namespace varve::job
