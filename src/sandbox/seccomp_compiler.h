// Compiling the system-call filter once instead of once per step.
//
// Runtimes compile the JSON profile with libseccomp for every container; for three architectures
// that takes 10 of crun's 17 ms. crun also takes a finished program (annotation
// run.oci.seccomp_bpf_data), so varve compiles it, keeps it in memory and in a file, and a step
// costs 8 ms.
#pragma once

#include <string>

#include "base/json.h"
#include "base/result.h"

namespace varve::sandbox {

// The classic BPF program (an array of struct sock_filter) of an OCI "linux.seccomp" object that
// has the shape of DefaultSeccompProfile's. Names that libseccomp does not know are left out, as
// the runtimes do. kInvalid in a build without libseccomp.
Result<std::string> CompileSeccomp(const Json& profile);

// The compiled default profile in base64, from memory, else from `directory`, else compiled and put
// there. Safe from any thread and for several processes on one directory. Empty where it cannot be
// compiled: the runtime then does it.
std::string CompiledDefaultProfile(const std::string& machine, const std::string& directory);

}  // namespace varve::sandbox
