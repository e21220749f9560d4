// A daemon as a process of its own, and what it holds of the machine.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sys/process.h"

namespace varve::soak {

struct Usage {
  uint64_t resident = 0;  // bytes, after free memory was given back
  size_t files = 0;       // open descriptors
  size_t threads = 0;
  size_t mounts = 0;     // in its mount namespace
  size_t processes = 0;  // its descendants
  size_t leftovers = 0;  // entries of <root>/staging and <root>/jobs

  std::string ToString() const;
};

class DaemonProcess {
 public:
  // Starts `varved` and waits until it answers. Its log goes to <directory>/log.
  static Result<DaemonProcess> Start(const std::string& varved, const std::string& directory);
  std::string address() const { return "unix://" + directory_ + "/d.sock"; }
  std::string root() const { return directory_ + "/root"; }
  bool running() const;
  Usage Measure() const;
  // SIGTERM; its exit code, 128 and more when a signal ended it.
  int Stop();

 private:
  DaemonProcess(sys::Child child, std::string directory) : child_(std::move(child)), directory_(std::move(directory)) {}

  sys::Child child_;  // killed with this object
  std::string directory_;
  std::string debug_address_;
};

}  // namespace varve::soak
