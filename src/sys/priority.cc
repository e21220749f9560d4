#include "sys/priority.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

namespace varve::sys {

namespace {

// The weight of 10 is a ninth of that of 0, so that the work does not starve beside a compiler on every CPU.
constexpr int kNice = 10;

// A thread's own on Linux, although POSIX has it be the process's.
int NiceOf(id_t thread) { return getpriority(PRIO_PROCESS, thread); }
void SetNice(id_t thread, int nice) { (void)setpriority(PRIO_PROCESS, thread, nice); }

}  // namespace

void LowerThreadPriority() {
  const auto thread = static_cast<id_t>(gettid());
  if (NiceOf(thread) < kNice) SetNice(thread, kNice);
}

void RaiseLoweredThreads() {
  DIR* threads = opendir("/proc/self/task");
  if (threads == nullptr) return;
  const int own = NiceOf(static_cast<id_t>(getpid()));  // the first thread is never lowered
  while (const dirent* entry = readdir(threads)) {
    const auto thread = static_cast<id_t>(std::strtoul(entry->d_name, nullptr, 10));
    if (thread != 0 && NiceOf(thread) == kNice) SetNice(thread, own);
  }
  closedir(threads);
}

}  // namespace varve::sys
