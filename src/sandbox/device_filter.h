// Which device nodes a build step may open.
//
// A step has CAP_MKNOD, so without a filter it could make a node for the host's disk and read it.
// crun runs without a cgroup manager here (its own would cost milliseconds, and it refuses hybrid
// layouts), so the filter is ours: a BPF program on a cgroup2 directory that steps are born in.
// That directory is shared by all steps with the same rules and stays; being born in it costs
// nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace varve::sandbox {

struct DeviceAccess {  // one device that may be read and written
  bool block = false;
  uint32_t major = 0;
  int64_t minor = -1;  // -1: all of this major
  auto operator<=>(const DeviceAccess&) const = default;
};

// null, zero, full, random, urandom, tty, console, ptmx, pts: what every container gets. Making any
// node is always allowed; opening it is what counts.
const std::vector<DeviceAccess>& DefaultDevices();

// A cgroup2 directory with the filter for DefaultDevices and `extra`; the descriptor lives as long
// as the process. kInvalid where the kernel or the privileges do not allow it. Safe from any
// thread.
Result<int> DeviceCgroup(const std::vector<DeviceAccess>& extra);

}  // namespace varve::sandbox
