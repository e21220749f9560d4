#include "sys/priority.h"

#include <sys/resource.h>
#include <unistd.h>

namespace varve::sys {

void LowerThreadPriority() {
  // A thread's own on Linux, although POSIX has it be the process's. The weight of 10 is a ninth of that of
  // 0, so that the work does not starve beside a compiler on every CPU. It fails only where the value is
  // higher already.
  constexpr int kNice = 10;
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

}  // namespace varve::sys
