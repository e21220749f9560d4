// A runtime that was started before it is known what it will run: crun in its namespaces, with its libraries loaded,
// reading its configuration from a pipe on which nothing has come yet.
//
// A third of the time that crun takes for `true` passes before it knows what to run: exec, the CPUID instructions of
// libc's start, which a virtual machine answers slowly, and eleven libraries. So a step's runtime is started while the
// step's root file system is being made, or while the step before runs. What is mounted later below the state
// directory shows in its mount namespace: that directory is to be a shared mount (sys::ShareMount).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "sandbox/bundle.h"
#include "sandbox/runtime.h"
#include "sys/process.h"

namespace varve::sandbox {

class EarlyRuntime {
 public:
  // The process ends at the latest with the thread that calls this. kInvalid for runc.
  static Result<std::unique_ptr<EarlyRuntime>> Start(const Host& host, const Runtime& runtime,
                                                     const std::string& state_dir);

  const Runtime& runtime() const { return runtime_; }
  pid_t pid() const { return process_.child().pid(); }
  // Whether it still waits, and a step of this spec would be started as it was.
  bool Fits(const Spec& spec) const;

  // The container's directory, once; what is in it when Configure is called counts.
  Bundle TakeBundle() { return std::move(bundle_); }

  // Tells it what to run; then the process is like that of RuntimeCommand. kUnavailable, if it is gone.
  Status Configure(std::string_view config);
  Result<sys::ExitStatus> Follow(const OutputSink& sink, std::stop_token stop) { return process_.Follow(sink, stop); }

 private:
  EarlyRuntime(Runtime runtime, Bundle bundle) : runtime_(std::move(runtime)), bundle_(std::move(bundle)) {}

  Runtime runtime_;
  Bundle bundle_;
  Fd config_;                // the end to write to
  sys::PipedChild process_;  // before its directory goes
};

// What a caller of Run may do so that processes start sooner.
struct Ahead {
  std::unique_ptr<EarlyRuntime> runtime = nullptr;  // used if it fits
  std::function<void()> on_running = nullptr;       // called when the process is on its way: time to start the next
};

// As the Run of sandbox.h.
Result<Outcome> Run(const Spec& spec, const std::string& state_dir, const OutputSink& sink, std::stop_token stop,
                    Ahead ahead);

}  // namespace varve::sandbox
