// Exit codes, documented in doc/build.md. 1 is what docker and buildx give for every failure; the
// others let a script tell a broken build from a broken machine.
#pragma once

#include "base/error.h"

namespace varve::job {

enum ExitCode {
  kSuccess = 0,
  kBuildFailed = 1,     // bad input, a step failed, something was not found
  kUsage = 2,           // the command line is wrong
  kServiceDown = 3,     // a registry or git host did not answer
  kOutOfResources = 4,  // disk, memory, descriptors
  kDamaged = 5,         // stored or received data is damaged
  kCacheMiss = 6,       // --fail-on-cache-miss, and a step was not cached
  kBug = 70,
  kInterrupted = 130,
};

ExitCode ExitCodeOf(const Error& error);

}  // namespace varve::job
