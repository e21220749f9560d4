// From a chunk list back to the stream: which bytes of which packs are needed, and how they are joined.
//
//   TRY_ASSIGN(auto assembly, Assembly::Start(list, scratch_directory));
//   … assembly->TakeFrom() is a Writer for tars that may have some of the chunks …
//   for (const Range& range : assembly->Missing()) { … fetch … assembly->Unpack(range, bytes) … }
//   assembly->Join(out);
//
// Chunks wait in an unlinked file of the scratch directory, so that they may come in any order, from
// several threads, and memory stays small. Every chunk is checked against its digest when it comes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/io.h"
#include "chunk/chunk_list.h"
#include "chunk/encoder.h"

namespace varve::chunk {

// Bytes of a pack: one frame or several with their neighbours.
struct Range {
  uint32_t pack = 0;  // number in the list
  uint64_t offset = 0, size = 0;
  std::vector<uint32_t> frames;  // that are wanted
};

class Assembly {
 public:
  // `list` must outlive it. An error is about the scratch directory.
  static Result<std::unique_ptr<Assembly>> Start(const ChunkList& list, const std::string& scratch);

  // Bytes of chunks that are not here yet.
  uint64_t missing() const { return missing_; }

  // A writer that takes the chunks that are still missing out of a tar. Not to be called while
  // Unpack runs.
  std::unique_ptr<Splitter> TakeFrom();

  // What is to be fetched, at most some megabytes each.
  std::vector<Range> Missing() const;
  // Safe from several threads. kCorrupt when a chunk is not what its digest says.
  Status Unpack(const Range& range, std::string_view bytes);

  // kCorrupt when something is missing.
  Status Join(Writer& out) const;

 private:
  explicit Assembly(const ChunkList& list);
  Status Store(uint32_t chunk, std::string_view bytes);

  const ChunkList& list_;
  Fd file_;
  std::vector<uint64_t> offsets_;  // of each chunk, in the file
  std::vector<char> here_;
  std::unordered_map<Digest, uint32_t> numbers_;
  std::vector<std::pair<size_t, size_t>> chunks_of_;  // of each frame: first, and one past the last
  std::atomic<uint64_t> missing_ = 0;
};

}  // namespace varve::chunk
