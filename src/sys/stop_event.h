// A stop_token as a descriptor, for poll(2).
#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "base/fd.h"

namespace varve::sys {

// fd() becomes readable when a stop is requested, and stays so. With a token that can never stop,
// fd() is -1, which poll ignores.
class StopEvent {
 public:
  explicit StopEvent(std::stop_token stop);
  StopEvent(const StopEvent&) = delete;
  StopEvent& operator=(const StopEvent&) = delete;
  int fd() const { return event_.get(); }

 private:
  Fd event_;
  std::optional<std::stop_callback<std::function<void()>>> callback_;  // after event_: it uses it
};

}  // namespace varve::sys
