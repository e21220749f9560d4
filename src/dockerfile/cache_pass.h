// One run of the caching rules over a file: what they share. Internal to cache_rules*.cc.
#pragma once

#include <string>
#include <vector>

#include "dockerfile/cache_rules.h"
#include "dockerfile/package_managers.h"

namespace varve::dockerfile {

// A RUN with what its text says.
struct RunFacts {
  std::vector<ShellCommand> commands;
  std::vector<Install> installs;
};

// A stage as the rules see it.
struct StageFacts {
  const Stage* stage = nullptr;
  const StageFacts* base = nullptr;  // the stage of the file that it is built FROM
  std::vector<RunFacts> runs;        // one for each instruction; empty for those that are no RUN
  bool ships = false;                // its layers are part of an image: nobody only copies from it
};

class CachePass {
 public:
  CachePass(const Dockerfile& file, const CacheCheckInput& input);

  // Unless the file or `origin` skips the rule. The place is that of `origin`.
  void Report(const Origin& origin, CacheHint hint);
  // About the whole build.
  void Report(CacheHint hint);

  bool Skipped(CacheRule rule, const Origin* origin) const;
  // What an instruction takes when it has to run: from history, else typical.
  HintCost CostOf(const Origin& origin, const Run& run) const;

  const Dockerfile& file;
  const CacheCheckInput& input;
  std::vector<StageFacts> stages;
  std::vector<CacheHint> hints;
};

// COPY or ADD of the whole context: every change of any file is a change of it.
bool CopiesWholeContext(const Instruction& instruction);

void CheckInstalls(CachePass& pass);
void CheckSources(CachePass& pass);
void CheckContext(CachePass& pass);

}  // namespace varve::dockerfile
