// How each OCI runtime is called, and what it says when it fails.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sandbox/sandbox.h"
#include "sys/process.h"

namespace varve::sandbox {

// What the machine and this process's privileges ask for; probed once.
struct Host {
  std::string machine;               // uname -m
  bool user_namespace = false;       // already in one, or about to make one
  bool single_id = false;            // no other user and group than 0 exist in it
  bool make_user_namespace = false;  // not root: the runtime gets a user namespace of its own
  uint64_t capabilities = 0;         // to hand on to steps
  bool cgroup2_mount = false;        // /sys/fs/cgroup is not a plain cgroup2
};
const Host& ThisHost();
Host ProbeHost();

struct Ahead;

// RunWith on a machine as described.
Result<Outcome> RunOn(const Host& host, const Runtime& runtime, const Spec& spec, const std::string& state_dir,
                      const OutputSink& sink, std::stop_token stop, Ahead ahead);

// The process that runs `bundle` to its end: the runtime as pid 1 of a new pid namespace. /proc is
// mounted anew for it, since the runtime finds its own child there; crun refuses hybrid and v1
// cgroup layouts, so those are covered by a plain cgroup2 in its private mount namespace.
// `root` is the runtime's state directory, the same one for all runs; `options` are of its command run.
sys::SpawnSpec RuntimeCommand(const Runtime& runtime, const Host& host, const std::string& root,
                              const std::string& bundle, const std::string& id,
                              const std::vector<std::string>& options = {});

// The process that runs one more process in a running container, `pidfd` being the RuntimeCommand that runs
// it: the runtime knows the container's processes by their ids there. `name`.json in the bundle says what to
// run; `name`.log and `name`.pid are written.
sys::SpawnSpec ExecCommand(const Runtime& runtime, const std::string& root, const std::string& bundle,
                           const std::string& id, const std::string& name, int pidfd);

// The last error in a runtime's JSON log; empty if there is none.
std::string LastLogError(std::string_view log);

// How a process of the runtime's ended; an error, if the log says that there never was one.
Result<Outcome> OutcomeOf(const Runtime& runtime, const std::string& log_file, const sys::ExitStatus& status);

// That error for the user.
Error RuntimeError(const Runtime& runtime, std::string_view message);

}  // namespace varve::sandbox
