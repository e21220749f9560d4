// Puts chunks into frames and packs, each once, and tells where they are (chunk_list.h).
//
// One packer serves one export: what several streams have in common is packed once, and small streams
// share packs. Frames are compressed, and packs put, several at a time; which bytes come out does not
// depend on that. Not safe for use from several threads at once.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chunk/chunk_list.h"

namespace varve::chunk {

struct PackOptions {
  std::optional<int> level;  // of zstd; none: 3
  size_t frame = 512 << 10;  // a frame is closed when it has that many raw bytes
  size_t pack = 8 << 20;     // and a pack, when it has that many packed ones
};

// A stream as numbers of chunks of a packer.
struct Stream {
  Digest digest;
  uint64_t size = 0;
  std::vector<uint32_t> headers, contents;
};

class Packer {
 public:
  // Called from several threads.
  using PutPack = std::function<Status(const Pack& pack, std::string bytes)>;

  Packer(PackOptions options, PutPack put) : options_(options), put_(std::move(put)) {}

  // The chunks of the list that lie in packs for which `usable` need not be packed again.
  void Know(const ChunkList& list, const std::function<bool(const Pack&)>& usable);

  // Whether the chunk is known, or was added.
  bool Has(const Digest& digest) const { return numbers_.contains(digest); }
  // The number of the chunk, which is packed unless it is known.
  Result<uint32_t> Add(const Digest& digest, std::string_view bytes);
  // What is added after that belongs to another stream: it shares a frame with this one only if that is
  // small, since whoever needs one stream fetches whole frames.
  Status EndOfStream();
  // What is added after that lies in other packs. (Whatever was added is put by and by, or by Finish.)
  Status EndOfPack();
  // All packs are put after that; nothing may be added. Fails when one could not be put, also before: what was
  // added is nowhere then.
  Status Finish();
  // After Finish.
  ChunkList ListOf(const Stream& stream) const;

 private:
  Status CloseFrame();
  Status CompressFrames();
  Status ClosePack();
  Status PutPacks();

  const PackOptions options_;
  const PutPack put_;
  // Everything known and new. Numbers are indexes into these.
  std::vector<Pack> packs_;
  std::vector<Frame> frames_;
  std::vector<Chunk> chunks_;
  std::unordered_map<Digest, uint32_t> numbers_;
  std::map<Digest, uint32_t> known_packs_;
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> known_frames_;  // by pack and offset

  std::string frame_;  // raw, being filled
  struct Waiting {
    uint32_t number;
    std::string raw;
  };
  std::vector<Waiting> waiting_;  // closed, to be compressed
  std::string pack_;              // being filled
  std::optional<uint32_t> pack_number_;
  std::vector<std::pair<uint32_t, std::string>> closed_;  // packs to be put
  std::optional<Error> failure_;                          // of the first that was not
};

}  // namespace varve::chunk
