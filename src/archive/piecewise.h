// Compression of a stream in pieces of one size: each is compressed on its own, on all cores, and what
// comes of them is written in order. The bytes depend on the size of the pieces, not on the number of
// threads.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "archive/codec.h"
#include "base/guarded.h"
#include "base/thread_pool.h"

namespace varve::archive {

// A piece on its way. Its buffers are used again by a later piece: allocated each time, they cost a
// page fault for each of their pages, a fifth of the time of the whole.
struct Piece {
  std::string chunk;
  std::string out;  // larger than `used`
  size_t used = 0;
  std::vector<uint8_t> work;  // of the codec
  uint32_t crc = 0;
  std::optional<Error> error;
};

// Used by one thread.
class PiecewiseWriter final {
 public:
  using Pack = std::function<Status(Piece&)>;        // chunk to out and used; any thread
  using Pass = std::function<Status(const Piece&)>;  // in order, on the thread that writes

  // Holds one piece for each thread, one that is ready for the next of them, and one that is being filled.
  PiecewiseWriter(size_t size, size_t threads, Pack pack, Pass pass);

  Status Write(std::string_view data);
  Status Finish();  // after it all pieces have been passed on

 private:
  std::unique_ptr<Piece> TakePiece();
  Status Submit();
  Status Drain(size_t left);

  const size_t size_;
  const size_t window_;  // pieces that are submitted and not passed on
  const Pack pack_;
  const Pass pass_;
  std::unique_ptr<Piece> filling_;
  std::vector<std::unique_ptr<Piece>> free_;
  size_t submitted_ = 0, written_ = 0;
  Guarded<std::map<size_t, std::unique_ptr<Piece>>> done_;
  std::condition_variable finished_;
  ThreadPool pool_;  // last: its threads end before what they use
};

}  // namespace varve::archive
