// Where history lies, and who writes and reads it.
//
//   <root>/history/<id>.json      a build that ended, whole
//   <root>/history/<id>.log       what its steps printed, as it came:
//                                 (step " " time-nanos " " stream " " size "\n" bytes "\n")*
//   <root>/history/<id>.running   journal of a build that has not ended: its header, then a line for
//                                 each step that began or ended
//   <root>/history/index          a line for each build that ended, so that a list of 10,000 builds
//                                 reads one file; made again from the builds where it lacks some
//
// A build writes an index line with one write(2) and takes no lock. (A table in SQLite would cost
// every build the opening of a database, 0.5 ms of the 8 ms that a build of cached steps may take.)
// A journal whose job is dead belongs to a build that was killed: whoever sees it first writes the
// build with that status and what the journal tells of its steps.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/guarded.h"
#include "history/build.h"

namespace varve::history {

// Output of one step kept at most; BuildKit's default for max-log-size.
inline constexpr uint64_t kMaxStepLog = 2 << 20;

// Writes one build's history. Safe from any thread; losing history fails no build, so what cannot be
// written is logged once and left out.
class Recorder {
 public:
  // Gives the build an id and its journal. `header` has what is known at the beginning; header.job
  // is the lease of this process.
  static Result<std::unique_ptr<Recorder>> Begin(const std::string& root, Build header, Clock& clock);

  const std::string& id() const { return header_.id; }
  const Build& header() const { return header_; }
  // A step began or ended. The last call for an index counts.
  void Note(const Step& step);
  // What a step printed, as it comes. Values of secrets are masked already.
  void Log(uint32_t step, int stream, std::string_view text);
  bool HasLog(uint32_t step);
  // The end. `build` is header() with all the rest; times and id are filled in if they are not.
  // Before the lease goes.
  Status Finish(Build build);

 private:
  Recorder(std::string root, Build header, Clock& clock)
      : root_(std::move(root)), header_(std::move(header)), clock_(clock) {}
  static void Lose(const Error& error);

  struct Files {
    Fd journal;
    Fd log;
    std::vector<uint64_t> logged;  // by step
    bool lossy = false;
  };
  const std::string root_;
  Build header_;
  Clock& clock_;
  Guarded<Files> files_;
};

// A build in a list.
struct Summary {
  std::string id;
  std::string name;
  std::string project;
  std::string command;
  std::string target;
  BuildStatus status = BuildStatus::kRunning;
  Timestamp started;
  Nanos duration{0};  // of a running one: so far
  Ratios ratios;
  std::string error;  // its first line
};

struct LogLine {
  uint32_t step = 0;
  Timestamp time;
  int stream = 1;
  std::string text;  // as it came: not always whole lines
};

// Which builds are kept.
struct Limits {
  size_t builds = 2000;
  Nanos age = std::chrono::hours(24 * 90);
  uint64_t bytes = 256 << 20;
};

class History {
 public:
  History(std::string root, Clock& clock) : root_(std::move(root)), clock_(clock) {}

  // Newest first; builds that run, and those that were killed, are in it.
  Result<std::vector<Summary>> List();
  // kNotFound where there is no such build. Of a running build: what its journal tells.
  Result<Build> Read(const std::string& id);
  // What a user wrote: nothing for the newest build, ^N for the Nth before it, an id or enough of
  // its beginning. kNotFound, kInvalid when it could be several.
  Result<std::string> Find(const std::string& ref);
  Result<std::vector<LogLine>> Log(const std::string& id);
  // kInvalid for a build that runs; absent is fine.
  Status Remove(const std::vector<std::string>& ids);
  // Removes what the limits give up, oldest first; says how many.
  Result<size_t> Prune(const Limits& limits);

 private:
  Status AdoptKilled();
  Result<std::vector<Summary>> Ended();

  const std::string root_;
  Clock& clock_;
};

}  // namespace varve::history
