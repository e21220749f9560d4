#include "cache/step_locks.h"

#include "cache/lock_file.h"

namespace varve::cache {

namespace {

class FileKeyLock final : public KeyLock {
 public:
  explicit FileKeyLock(LockFile lock) : lock_(std::move(lock)) {}
  ~FileKeyLock() override { lock_.RemoveAndUnlock(); }

 private:
  LockFile lock_;
};

}  // namespace

Result<std::unique_ptr<KeyLock>> LockKey(const std::string& root, const StepKey& key, bool* waited,
                                         std::stop_token stop, const std::function<void()>& on_wait) {
  *waited = false;
  std::string path = fmt::format("{}/locks/{}", root, key.Hex());
  TRY_ASSIGN(LockFile lock, LockFile::Wait(path, sys::LockMode::kExclusive, stop, [&] {
               *waited = true;
               if (on_wait) on_wait();
             }));
  return std::unique_ptr<KeyLock>(std::make_unique<FileKeyLock>(std::move(lock)));
}

}  // namespace varve::cache
