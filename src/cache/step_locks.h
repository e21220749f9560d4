// One of several processes on a state root works on a key at a time.
//
// <root>/locks/<hex of the key>, held by flock(2): a holder that dies lets go. The holder removes
// the file when it is done, so that the directory does not grow with every step ever built
// (lock_file.h says why that is safe).
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "base/digest.h"
#include "base/result.h"

namespace varve::cache {

class KeyLock {
 public:
  virtual ~KeyLock() = default;  // unlocks
};

// Blocks until the lock is free or `stop` (kCancelled). `waited` tells whether somebody else held
// it; `on_wait` is called once, when the wait begins: "waiting for another varve".
Result<std::unique_ptr<KeyLock>> LockKey(const std::string& root, const StepKey& key, bool* waited,
                                         std::stop_token stop, const std::function<void()>& on_wait = {});

}  // namespace varve::cache
