// The system-call filter of build steps, as OCI runtime-spec JSON (config-linux.md, "Seccomp").
//
// The rules are those that containerd and Docker apply by default to a container with the default
// capabilities: an allow list, everything else fails with EPERM. clone may not make namespaces;
// clone3, whose flags a filter cannot see, fails with ENOSYS so that libc falls back to clone.
#pragma once

#include <string_view>

#include "base/json.h"

namespace varve::sandbox {

// `machine` as uname -m says it. x86_64 covers x86 and x32 too, aarch64 covers 32-bit arm.
Json DefaultSeccompProfile(std::string_view machine);

}  // namespace varve::sandbox
