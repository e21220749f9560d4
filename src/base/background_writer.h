// A stage of a pipeline: passes what is written on to another Writer, on a thread of its own.
//
//   BackgroundWriter stored(*blob);               // hashing and storing beside compressing
//   TRY(Copy(tar, compressor_into_stored));
//   TRY(stored.Finish());
//
// Order and content are those of the calls; the pieces are joined to larger ones.
#pragma once

#include <condition_variable>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/guarded.h"
#include "base/io.h"

namespace varve {

// Write and Finish by one thread at a time.
class BackgroundWriter final : public Writer {
 public:
  // Holds up to `limit` bytes that are not passed on yet, in pieces of an eighth of that; then Write
  // waits. `out` is used by the thread alone until Finish or the destructor has returned.
  explicit BackgroundWriter(Writer& out, size_t limit = 2 << 20);
  ~BackgroundWriter() override;  // drops what was not passed on

  // Fails with what `out` failed with, some calls later.
  Status Write(std::string_view data) override;
  // Waits until `out` has everything. Nothing may be written afterwards.
  Status Finish();

 private:
  struct State {
    std::deque<std::string> full;   // to be passed on, in order
    std::vector<std::string> free;  // buffers to be filled again
    bool ended = false, abandoned = false;
    std::optional<Error> error;
  };
  Status Submit();
  void Loop();

  Writer& out_;
  const size_t piece_;
  std::string filling_;  // the caller's
  Guarded<State> state_;
  std::condition_variable changed_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace varve
