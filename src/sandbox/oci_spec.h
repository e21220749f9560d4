// The OCI runtime-spec document (config.json, version 1.0.2) of a step.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "sandbox/sandbox.h"

namespace varve::sandbox {

// Facts of the machine and of this run, apart from the step's own wishes.
struct SpecContext {
  std::string hosts_path, resolv_path;   // host files to show at /etc/hosts and /etc/resolv.conf
  std::string machine = "x86_64";        // uname -m
  bool user_namespace = false;           // not the host's root
  bool single_id = false;                // and only uid 0 and gid 0 exist
  bool may_mknod = true;                 // false: CAP_MKNOD is withheld, no device filter protects
  uint64_t capabilities = ~uint64_t{0};  // what there is to give (sandbox/capabilities.h)
  bool cgroup_mount = false;             // show /sys/fs/cgroup (read-only)
  std::string seccomp_program;           // base64 (sandbox/seccomp_compiler.h) for crun; "": as JSON
  std::string cgroup_path;               // "" lets the runtime choose
};

Json BuildOciSpec(const Spec& spec, const SpecContext& context);
// Its member "process".
Json BuildProcess(const Spec& spec, const SpecContext& context);

}  // namespace varve::sandbox
