// How many steps of all builds of a process run at once, where somebody limits it. Safe from any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <stop_token>
#include <string>

#include "base/guarded.h"
#include "base/result.h"

namespace varve::exec {

class StepSlots {
 public:
  explicit StepSlots(size_t count) : free_(count) {}

  class Slot {
   public:
    explicit Slot(StepSlots* slots) : slots_(slots) {}
    ~Slot() {
      ++*slots_->free_.Lock();
      slots_->changed_.notify_one();
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    StepSlots* slots_;
  };

  // Waits for one of them. kCancelled after a stop.
  Result<std::unique_ptr<Slot>> Take(std::stop_token stop) {
    std::stop_callback wake(stop, [this] {
      { auto free = free_.Lock(); }
      changed_.notify_all();
    });
    auto free = free_.Lock();
    free.Wait(changed_, [&] { return *free > 0 || stop.stop_requested(); });
    if (stop.stop_requested()) {
      // Whoever was to have what this one was woken for.
      changed_.notify_one();
      return Cancelled("the build was stopped");
    }
    --*free;
    return std::make_unique<Slot>(this);
  }

 private:
  Guarded<size_t> free_;
  std::condition_variable changed_;
};

// What somebody has configured for the steps of all builds of this process.
struct StepSettings {
  std::shared_ptr<StepSlots> slots = {};  // null: as many run at once as each build likes
  std::string resolv_conf = {};           // of steps, instead of this machine's; empty: this machine's
};

}  // namespace varve::exec
