#include "sys/priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <semaphore>
#include <thread>

namespace varve::sys {
namespace {

int Nice() { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); }

TEST(Priority, IsLoweredForOneThreadAndThoseThatItStarts) {
  const int before = Nice();
  int lowered = 0, started = 0;
  std::jthread([&] {
    LowerThreadPriority();
    lowered = Nice();
    std::jthread([&] { started = Nice(); }).join();
  }).join();
  EXPECT_GE(lowered, 10);
  EXPECT_EQ(started, lowered);
  EXPECT_EQ(Nice(), before);
}

TEST(Priority, IsRaisedAgainWhereThatIsAllowed) {
  std::binary_semaphore lowered(0), raised(0);
  int before = 0, after = 0, started = 0;
  std::jthread([&] {
    before = Nice();
    std::jthread worker([&] {
      LowerThreadPriority();
      std::jthread([&] {
        lowered.release();
        raised.acquire();
        started = Nice();
      }).join();
      after = Nice();
    });
    lowered.acquire();
    RaiseLoweredThreads();
    raised.release();
  }).join();
  rlimit limit{};
  const bool allowed = geteuid() == 0 || (getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= 20);
  EXPECT_EQ(after, allowed ? before : 10);
  EXPECT_EQ(started, after);
}

}  // namespace
}  // namespace varve::sys
