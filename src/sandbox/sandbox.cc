#include "sandbox/sandbox.h"

#include "sandbox/bundle.h"

namespace varve::sandbox {

Result<Outcome> Run(const Spec& spec, const std::string& state_dir, const OutputSink& sink, std::stop_token stop) {
  TRY_ASSIGN(Runtime runtime, FindRuntime());
  return RunWith(runtime, spec, state_dir, sink, stop);
}

Result<Outcome> RunWith(const Runtime& runtime, const Spec& spec, const std::string& state_dir, const OutputSink& sink,
                        std::stop_token stop) {
  return RunOn(ThisHost(), runtime, spec, state_dir, sink, stop);
}

Result<Outcome> RunOn(const Host& host, const Runtime& wanted, const Spec& spec, const std::string& state_dir,
                      const OutputSink& sink, std::stop_token stop) {
  TRY_ASSIGN(auto container, PreparedContainer::Create(host, wanted, spec, state_dir));
  const Bundle& bundle = container.bundle();
  sys::SpawnSpec command = RuntimeCommand(container.runtime(), host, bundle.runtime_root(), bundle.path(), bundle.id());
  command.cgroup_fd = container.cgroup_fd();
  Nanos begin = SystemClock().Monotonic();
  auto status = sys::RunProcess(std::move(command), sink, stop);
  Nanos wall = SystemClock().Monotonic() - begin;
  auto outcome =
      status ? OutcomeOf(container.runtime(), bundle.File("log"), *status) : Result<Outcome>(Error(status.error()));
  auto parents = container.Finish(!outcome);
  if (!outcome) return outcome;
  TRY_ASSIGN(outcome->mount_point_parents, std::move(parents));
  outcome->wall = wall;
  return outcome;
}

}  // namespace varve::sandbox
