// SolveJob's failures as front ends may look into them: the operation that failed, with references to what it was given
// and to what it has left, which LLBBridge.NewContainer takes as it takes results.
#include "daemon/solve_job_opened.h"

namespace varve::daemon {

std::optional<Failure> SolveJob::Evaluate(ClientBuild& build, bool want_data) {
  std::optional<Failure> failure;
  {
    std::lock_guard lock(running_);
    build.KeepFailures();
    failure = build.Run(want_data, nullptr);
  }
  if (failure && failure->op && !stop_.stop_requested()) Explain(*failure);
  return failure;
}

void SolveJob::Explain(Failure& failure) {
  const FailedOp& failed = *failure.op;
  errdefs::Solve& solve = failure.solve.emplace();
  *solve.mutable_op() = failed.op;
  solve.mutable_description()->insert(failed.description.begin(), failed.description.end());
  if (auto input = MissingInput(failed, failure.error.message)) {
    solve.add_inputids(RefOf(InputOf(failed, *input)));
    solve.mutable_cache()->set_index(*input);
  } else if (failed.op.has_exec()) {
    ExplainExec(failed, solve);
  } else if (failed.op.has_file()) {
    ExplainFiles(failed, solve);
  }
}

// A result that is built when somebody looks into it; empty: it cannot be.
std::string SolveJob::RefOf(const pb::Definition& definition) {
  gateway::Result result;
  if (SolveDefinition(definition, {}, false, result)) return "";
  return result.ref().id();
}

// One of each for every mount; empty for those that show no result.
void SolveJob::ExplainExec(const FailedOp& failed, errdefs::Solve& solve) {
  for (const pb::Mount& mount : failed.op.exec().mounts()) {
    std::string before, after;
    if (failed.kept) {
      const auto& [step, mounted, written] = *failed.kept;
      if (auto it = mounted.find(mount.dest()); it != mounted.end())
        before = NewRef({.build = nullptr, .left = it->second});
      if (auto it = written.find(mount.dest()); it != written.end())
        after = NewRef({.build = nullptr, .left = it->second});
    } else if (mount.mount_type() == pb::BIND && mount.input() >= 0) {
      before = RefOf(InputOf(failed, static_cast<int>(mount.input())));
    }
    solve.add_inputids(before);
    solve.add_mountids(after.empty() ? before : after);
  }
}

// The results of the actions before the one that failed, and for that one what it was to act on. Which one it was shows
// when they are tried one after the other.
void SolveJob::ExplainFiles(const FailedOp& failed, errdefs::Solve& solve) {
  for (int i = 0; i < failed.op.inputs_size(); ++i) solve.add_inputids(RefOf(InputOf(failed, i)));
  const auto& actions = failed.op.file().actions();
  for (int i = 0; i < actions.size(); ++i) solve.add_mountids();
  for (int i = 0; i < actions.size(); ++i) {
    const std::string made = RefOf(ResultOfAction(failed, i));
    auto tried = FindMade(made);
    std::lock_guard lock(running_);
    if (tried && !tried->build->Run(false, nullptr)) {
      solve.set_mountids(i, made);
      continue;
    }
    const int64_t on = actions[i].input();
    if (on >= solve.inputids_size()) {
      solve.set_mountids(i, solve.mountids(static_cast<int>(on) - solve.inputids_size()));
    } else {
      solve.set_mountids(i, on < 0 ? NewRef({.build = nullptr, .left = cache::Rootfs{{}, tree::EmptyTree()}})
                                   : solve.inputids(static_cast<int>(on)));
    }
    solve.mutable_file()->set_index(i);
    return;
  }
}

}  // namespace varve::daemon
