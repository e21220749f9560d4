#include "sandbox/capabilities.h"

#include <algorithm>
#include <cstdlib>

#include "base/fd.h"
#include "base/strings.h"

namespace varve::sandbox {

const std::vector<std::string>& DefaultCapabilities() {
  static const std::vector<std::string> names = {
      "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",           "CAP_FOWNER",
      "CAP_MKNOD",   "CAP_NET_RAW",      "CAP_SETGID",           "CAP_SETUID",
      "CAP_SETFCAP", "CAP_SETPCAP",      "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
      "CAP_KILL",    "CAP_AUDIT_WRITE"};
  return names;
}

const std::vector<std::string>& AllCapabilities() {
  // In the order of <linux/capability.h>.
  static const std::vector<std::string> names = {"CAP_CHOWN",
                                                 "CAP_DAC_OVERRIDE",
                                                 "CAP_DAC_READ_SEARCH",
                                                 "CAP_FOWNER",
                                                 "CAP_FSETID",
                                                 "CAP_KILL",
                                                 "CAP_SETGID",
                                                 "CAP_SETUID",
                                                 "CAP_SETPCAP",
                                                 "CAP_LINUX_IMMUTABLE",
                                                 "CAP_NET_BIND_SERVICE",
                                                 "CAP_NET_BROADCAST",
                                                 "CAP_NET_ADMIN",
                                                 "CAP_NET_RAW",
                                                 "CAP_IPC_LOCK",
                                                 "CAP_IPC_OWNER",
                                                 "CAP_SYS_MODULE",
                                                 "CAP_SYS_RAWIO",
                                                 "CAP_SYS_CHROOT",
                                                 "CAP_SYS_PTRACE",
                                                 "CAP_SYS_PACCT",
                                                 "CAP_SYS_ADMIN",
                                                 "CAP_SYS_BOOT",
                                                 "CAP_SYS_NICE",
                                                 "CAP_SYS_RESOURCE",
                                                 "CAP_SYS_TIME",
                                                 "CAP_SYS_TTY_CONFIG",
                                                 "CAP_MKNOD",
                                                 "CAP_LEASE",
                                                 "CAP_AUDIT_WRITE",
                                                 "CAP_AUDIT_CONTROL",
                                                 "CAP_SETFCAP",
                                                 "CAP_MAC_OVERRIDE",
                                                 "CAP_MAC_ADMIN",
                                                 "CAP_SYSLOG",
                                                 "CAP_WAKE_ALARM",
                                                 "CAP_BLOCK_SUSPEND",
                                                 "CAP_AUDIT_READ",
                                                 "CAP_PERFMON",
                                                 "CAP_BPF",
                                                 "CAP_CHECKPOINT_RESTORE"};
  return names;
}

std::vector<std::string> Intersect(const std::vector<std::string>& names, uint64_t mask) {
  const std::vector<std::string>& all = AllCapabilities();
  std::vector<std::string> kept;
  for (const std::string& name : names) {
    auto number = std::ranges::find(all, name) - all.begin();
    if (number < 64 && (mask >> number & 1) != 0) kept.push_back(name);
  }
  return kept;
}

uint64_t AvailableCapabilities() {
  uint64_t mask = ~uint64_t{0};
  auto status = ReadFile("/proc/self/status");
  if (!status) return mask;
  for (const std::string& line : Split(*status, '\n')) {
    if (!line.starts_with("CapPrm:") && !line.starts_with("CapBnd:")) continue;
    mask &= std::strtoull(line.c_str() + 7, nullptr, 16);
  }
  return mask;
}

}  // namespace varve::sandbox
