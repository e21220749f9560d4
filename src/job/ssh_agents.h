// The agents behind --ssh: sockets that exist already, or ssh-agent processes of ours that hold the
// given keys and end with the build.
#pragma once

#include <memory>
#include <vector>

#include "exec/job.h"
#include "job/build_flags.h"
#include "sys/process.h"
#include "sys/tempdir.h"

namespace varve::job {

class SshAgents {
 public:
  const std::vector<exec::SshAgent>& agents() const { return agents_; }

 private:
  friend Result<std::unique_ptr<SshAgents>> StartSshAgents(const std::vector<SshFlag>&, const sys::LazyTempDir&);
  std::vector<exec::SshAgent> agents_;
  std::vector<sys::Child> children_;  // destroyed: killed
};

Result<std::unique_ptr<SshAgents>> StartSshAgents(const std::vector<SshFlag>& flags, const sys::LazyTempDir& scratch);

}  // namespace varve::job
