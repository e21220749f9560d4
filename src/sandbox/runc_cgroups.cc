#include "sandbox/runc_cgroups.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <vector>

#include "base/strings.h"
#include "sys/open.h"

namespace varve::sandbox {
namespace {

constexpr std::string_view kTop = "/sys/fs/cgroup";

// Pids of other namespaces say nothing here.
std::string Prefix() {
  struct stat st = {};
  stat("/proc/self/ns/pid", &st);
  return fmt::format("varve-{}-", st.st_ino);
}

std::vector<sys::DirEntry> EntriesOf(const std::string& directory) {
  auto fd = sys::OpenDir(directory);
  if (!fd) return {};
  return sys::ListDirectory(fd->get()).value_or(std::vector<sys::DirEntry>());
}

// Of version 2 the top itself, of version 1 the directories in it.
std::vector<std::string> Hierarchies() {
  std::vector<std::string> out = {std::string(kTop)};
  for (const sys::DirEntry& entry : EntriesOf(out[0])) {
    if (entry.type == DT_DIR) out.push_back(out[0] + "/" + entry.name);
  }
  return out;
}

bool IsOfTheDead(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  auto pid = ParseInt(Split(name.substr(prefix.size()), '-')[0]);
  return pid && *pid > 0 && kill(static_cast<pid_t>(*pid), 0) != 0 && errno == ESRCH;
}

}  // namespace

std::string NewContainerName() {
  static std::atomic<unsigned> counter{0};
  return fmt::format("{}{}-{}", Prefix(), getpid(), counter++);
}

bool RemoveRuncCgroups(const std::string& path) {
  bool gone = true;
  for (const std::string& hierarchy : Hierarchies()) {
    if (rmdir((hierarchy + path).c_str()) != 0 && errno == EBUSY) gone = false;
  }
  return gone;
}

void RemoveCgroupsOfTheDead(const std::string& parent) {
  const std::string prefix = Prefix();
  for (const std::string& hierarchy : Hierarchies()) {
    std::string directory = parent == "/" ? hierarchy : hierarchy + parent;
    for (const sys::DirEntry& entry : EntriesOf(directory)) {
      if (IsOfTheDead(entry.name, prefix)) rmdir((directory + "/" + entry.name).c_str());
    }
  }
}

}  // namespace varve::sandbox
