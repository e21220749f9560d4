// A build on its way into history: a journal while it runs, the whole when it ends.
//
// Losing history fails no build: what cannot be written is logged.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/interfaces.h"
#include "history/store.h"
#include "job/build_display.h"
#include "job/build_job.h"
#include "job/step_rules.h"

namespace varve::job {

class BuildHistory {
 public:
  // After the job has read its context. `command` is the subcommand.
  BuildHistory(const Workspace& workspace, const BuildJob& job, const BuildFlags& flags, const std::string& command);
  // Of something else than one Dockerfile: `header` says what, without the command line's words.
  BuildHistory(const Workspace& workspace, history::Build header);
  ~BuildHistory();

  // An observer to give to the engine: notes what happens, and passes it on to the display.
  engine::Observer& Watch(BoardObserver& display, const graph::Graph& graph);

  struct End {
    const graph::Graph* graph = nullptr;  // null: it did not come so far
    const engine::Outcome* outcome = nullptr;
    std::optional<Error> error;
    int exit_code = 0;
    std::string image;
    std::vector<history::Image> images;
    std::vector<history::TierUse> tiers;
    std::vector<history::Warning> hints;
  };
  // What was written, or would have been. What the board warned of is in it.
  history::Build Finish(const End& end, progress::Board& board, const BuildConfig& config);

  const std::string& id() const { return id_; }  // empty: it is not written

 private:
  class Watcher;
  const std::string root_;
  history::Build header_;
  std::string id_;
  std::unique_ptr<history::Recorder> recorder_;
  std::unique_ptr<Watcher> watcher_;
};

// The words of this process' command line, without what looks secret.
std::vector<std::string> ShownArguments();
std::vector<std::string> ShownArguments(const std::vector<std::string>& arguments);

}  // namespace varve::job
