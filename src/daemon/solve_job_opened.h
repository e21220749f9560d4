// For the files of SolveJob only.
#pragma once

#include "daemon/solve_job.h"

namespace varve::daemon {

// What a build needs once it begins: a job that only asks for capabilities opens nothing.
struct SolveJob::Opened {
  std::shared_ptr<Client> client;
  job::Workspace workspace;
  std::unique_ptr<progress::Board> board;
  job::BuildConfig config;
  std::optional<job::BuildHistory> history;
  job::BuildHistory::End end;
  bool watched = false;
};

}  // namespace varve::daemon
