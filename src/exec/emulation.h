// Steps for other machines: whether this one runs them, and through what.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "oci/platform.h"
#include "sys/binfmt.h"

namespace varve::exec {

// An image of this machine's architecture runs, whatever its variant: what the processor lacks
// shows in the program that needs it. So do the 32-bit programs that its kernel takes.
bool RunsNatively(const oci::Platform& platform);

// How programs of another platform run here.
struct Emulation {
  // Static interpreters that the kernel looks up in the step's own root: to be shown there,
  // read-only, under the same path. Empty for handlers with flag F.
  std::vector<std::string> interpreters;
};

// kInvalid where the platform does not run here: what this machine runs, and what to do about it.
Result<Emulation> EmulationFor(const oci::Platform& platform, const sys::BinfmtMisc& binfmt);

// "linux/amd64, linux/386, linux/arm64": natively first, then by interpreter.
std::vector<std::string> RunnablePlatforms(const sys::BinfmtMisc& binfmt);

// The first bytes of a program of that architecture; empty: not known.
std::string ProgramHeader(const std::string& architecture);

}  // namespace varve::exec
