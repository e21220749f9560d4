// A value that can only be reached while its mutex is held.
//
//   Guarded<std::map<Key, Job>> jobs;
//   jobs.Lock()->erase(key);
//   auto locked = jobs.Lock();
//   locked.Wait(changed, [&] { return !locked->empty(); });
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

namespace varve {

template <class T>
class Guarded {
 public:
  class Locked {
   public:
    explicit Locked(Guarded& owner) : lock_(owner.mutex_), value_(owner.value_) {}
    T* operator->() { return &value_; }
    T& operator*() { return value_; }
    template <class Predicate>
    void Wait(std::condition_variable& condition, Predicate predicate) {
      condition.wait(lock_, predicate);
    }
    template <class Duration, class Predicate>
    bool WaitFor(std::condition_variable& condition, Duration time, Predicate predicate) {
      return condition.wait_for(lock_, time, predicate);
    }

   private:
    std::unique_lock<std::mutex> lock_;
    T& value_;
  };

  Guarded() = default;
  explicit Guarded(T value) : value_(std::move(value)) {}
  Locked Lock() { return Locked(*this); }

 private:
  friend class Locked;
  std::mutex mutex_;
  T value_{};
};

}  // namespace varve
