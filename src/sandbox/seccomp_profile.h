// The system-call filter of build steps, as OCI runtime-spec JSON (config-linux.md, "Seccomp").
//
// The decisions are those of the profile that BuildKit and Docker apply by default (moby/profiles,
// seccomp/default.json, compared name by name in November 2026) to a container with the default
// capabilities: an allow list, everything else fails with EPERM. clone may not make namespaces;
// clone3, whose flags a filter cannot see, fails with ENOSYS so that libc falls back to clone.
// ptrace is allowed: its way around the filter was closed in Linux 4.8, and varve needs 5.6.
#pragma once

#include <string_view>

#include "base/json.h"

namespace varve::sandbox {

// `machine` as uname -m says it: x86_64 (with x86 and x32), aarch64 (with 32-bit arm), riscv64,
// s390x, ppc64le. Others get no "architectures": the runtime filters its own alone.
Json DefaultSeccompProfile(std::string_view machine);

}  // namespace varve::sandbox
