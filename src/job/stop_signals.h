// Ctrl-C and SIGTERM as a stop token. A second signal ends the process at once: what it leaves behind
// is found by the next build.
#pragma once

#include <stop_token>
#include <thread>

#include "base/fd.h"

namespace varve::job {

// One at a time.
class StopSignals {
 public:
  StopSignals();   // from now on; starts a thread
  ~StopSignals();  // the signals do again what they did before
  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::stop_source stop_;
  Fd read_, write_;
  std::jthread thread_;
};

}  // namespace varve::job
