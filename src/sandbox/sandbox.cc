#include "sandbox/sandbox.h"

#include "sandbox/bundle.h"
#include "sandbox/early_runtime.h"

namespace varve::sandbox {

Result<Outcome> Run(const Spec& spec, const std::string& state_dir, const OutputSink& sink, std::stop_token stop) {
  return Run(spec, state_dir, sink, std::move(stop), {});
}

Result<Outcome> Run(const Spec& spec, const std::string& state_dir, const OutputSink& sink, std::stop_token stop,
                    Ahead ahead) {
  if (ahead.runtime) {
    const Runtime runtime = ahead.runtime->runtime();
    return RunOn(ThisHost(), runtime, spec, state_dir, sink, std::move(stop), std::move(ahead));
  }
  TRY_ASSIGN(Runtime runtime, FindRuntime());
  return RunOn(ThisHost(), runtime, spec, state_dir, sink, std::move(stop), std::move(ahead));
}

Result<Outcome> RunWith(const Runtime& runtime, const Spec& spec, const std::string& state_dir, const OutputSink& sink,
                        std::stop_token stop) {
  return RunOn(ThisHost(), runtime, spec, state_dir, sink, std::move(stop), {});
}

Result<Outcome> RunOn(const Host& host, const Runtime& wanted, const Spec& spec, const std::string& state_dir,
                      const OutputSink& sink, std::stop_token stop, Ahead ahead) {
  if (stop.stop_requested()) return Cancelled("cancelled before {} started", wanted.path);
  std::unique_ptr<EarlyRuntime> early = std::move(ahead.runtime);
  if (early && !early->Fits(spec)) early.reset();
  TRY_ASSIGN(auto container, PreparedContainer::Create(host, wanted, spec, state_dir,
                                                       early ? std::optional(early->TakeBundle()) : std::nullopt));
  const Bundle& bundle = container.bundle();
  Nanos begin = SystemClock().Monotonic();
  auto run = [&]() -> Result<sys::ExitStatus> {
    if (early && early->Configure(container.config())) {
      if (ahead.on_running) ahead.on_running();
      return early->Follow(sink, stop);
    }
    TRY(container.WriteConfig());
    sys::SpawnSpec command =
        RuntimeCommand(container.runtime(), host, bundle.runtime_root(), bundle.path(), bundle.id());
    command.cgroup_fd = container.cgroup_fd();
    TRY_ASSIGN(sys::PipedChild process, sys::PipedChild::Start(std::move(command)));
    if (ahead.on_running) ahead.on_running();
    return process.Follow(sink, stop);
  };
  auto status = run();
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
