#include "sys/priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

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

}  // namespace
}  // namespace varve::sys
