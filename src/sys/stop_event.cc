#include "sys/stop_event.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "base/result.h"

namespace varve::sys {

StopEvent::StopEvent(std::stop_token stop) {
  if (!stop.stop_possible()) return;
  event_.Reset(eventfd(0, EFD_CLOEXEC));
  CHECK(event_);
  callback_.emplace(std::move(stop), [fd = event_.get()] {
    uint64_t one = 1;
    // Cannot fail: the counter has room and the descriptor lives as long as the callback.
    [[maybe_unused]] ssize_t n = write(fd, &one, sizeof(one));
  });
}

}  // namespace varve::sys
