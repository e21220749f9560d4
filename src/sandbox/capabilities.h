// The capability sets of build steps.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace varve::sandbox {

// containerd's default for unprivileged containers: what `RUN` has had since Docker 1.
const std::vector<std::string>& DefaultCapabilities();

// All that Linux has had so far, for --security=insecure; the index is the capability's number.
const std::vector<std::string>& AllCapabilities();

// Those of `names` that are in `mask`. A runtime can hand on only what it has, and fails on others:
// inside of a container varve itself may lack some.
std::vector<std::string> Intersect(const std::vector<std::string>& names, uint64_t mask);

// What this process may hand on: its bounding and permitted sets, which leave out what the kernel
// does not know.
uint64_t AvailableCapabilities();

}  // namespace varve::sandbox
