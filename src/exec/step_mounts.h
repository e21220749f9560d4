// The mounts of one RUN, made ready on the host: what a sandbox is then told to show where.
//
// Lives as long as the step runs; the destructor releases locks, mounts and temporary files. Secrets
// are written to a tmpfs that exists only for the step.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cache/cache_mounts.h"
#include "exec/job.h"
#include "sandbox/sandbox.h"
#include "trace/traced_layers.h"

namespace varve::exec {

class StepMounts {
 public:
  StepMounts(const Job& job, const engine::RunRequest& request, const graph::Exec& exec, std::string scratch);
  ~StepMounts();

  // In order of the op; blocks while a locked cache mount is in use elsewhere.
  Status Prepare(engine::StepSink& sink, std::stop_token stop);

  const std::vector<sandbox::MountSpec>& specs() const { return specs_; }
  const std::vector<std::string>& env() const { return env_; }          // SSH_AUTH_SOCK, secrets
  const std::vector<std::string>& secrets() const { return secrets_; }  // values, to be masked

  // Of each of RunRequest::traced_mounts, once the step has ended; fewer where they could not be shown.
  Result<trace::Asked> FinishTraced();

  // Commits mounts other than the root, once: those that are outputs, or all that the step may have written to. For
  // what stays of neither the writable layer goes.
  enum class Which { kOutputs, kAllWritten };
  Result<std::vector<std::pair<const graph::Mount*, cache::Rootfs>>> Commit(Which which, std::stop_token stop);

 private:
  struct Written;
  struct Held;
  Status PrepareBind(const graph::Mount& mount, std::stop_token stop);
  void ShowContexts();
  std::string CacheKeyOf(const graph::Mount& mount) const;
  Status AcquireCaches(engine::StepSink& sink, std::stop_token stop);
  Status AcquireCache(const std::string& key, const graph::Mount& mount, cache::MountSharing sharing,
                      engine::StepSink& sink, std::stop_token stop);
  Status PrepareSecret(const graph::Mount& mount);
  Status PrepareSsh(const graph::Mount& mount);
  Result<std::string> Scratch(const char* kind);
  // The host path of `path` inside `root`, its symlinks resolved there; never outside of it.
  Result<std::string> PathInside(int root, const std::string& root_path, const std::string& path);

  const Job& job_;
  const engine::RunRequest& request_;
  const graph::Exec& exec_;
  const std::string scratch_;
  int counter_ = 0;
  int ssh_sockets_ = 0;
  std::vector<sandbox::MountSpec> specs_;
  std::vector<std::string> env_;
  std::vector<std::string> secrets_;
  std::unique_ptr<Held> held_;
};

}  // namespace varve::exec
