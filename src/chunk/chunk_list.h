// A stream as a list of chunks, and where each of them lies: the chunks in frames, the frames in packs.
//
//   pack    zstd frames, one behind the other: a .zst file of some megabytes, named by its digest
//   frame   zstd of some chunks, about half a megabyte of them: chunks alone compress badly, and a
//           frame is what is fetched to have one
//   chunk   named by the SHA-256 of its bytes
//
// The stream is the tar of a layer or of a cache mount. Its headers and its contents are two
// sequences of chunks (tar_seam.h). A list names all the packs it needs, also those that were made
// for earlier streams; nothing else has to be read to have the stream.
//
//   list     := "vcl1\n" digest size packs frames chunks headers contents
//   digest   := the 32 bytes of the SHA-256 of the stream       size := varint, its bytes
//   packs    := n:varint (digest size:varint){n}                in order of use by frames
//   frames   := n:varint pack{n} offset{n} packed{n} raw{n}     pack: number of the pack less that of
//                                                               the frame before; offset: in the pack,
//                                                               less the end of the frame before where
//                                                               that is in the same pack
//   chunks   := n:varint digest{n} size{n} frame{n} offset{n}   frame: as pack; offset: as in frames
//   headers  := n:varint delta{n}     contents := headers       delta: number of the chunk less one more
//                                                               than the one before, zigzag
//
// Columns, because that compresses: all of it is one zstd frame. Varints are base/wire.h's. Packs,
// frames and chunks are each in ascending order of place, so that one set of chunks has one encoding.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/result.h"

namespace varve::chunk {

inline constexpr std::string_view kListMediaType = "application/vnd.varve.cache.chunks.v1+zstd";
inline constexpr std::string_view kPackMediaType = "application/vnd.varve.cache.pack.v1+zstd";

struct Pack {
  Digest digest;
  uint64_t size = 0;
  bool operator==(const Pack&) const = default;
};

struct Frame {
  uint32_t pack = 0;             // number in ChunkList::packs
  uint64_t offset = 0;           // in the pack
  uint32_t packed = 0, raw = 0;  // bytes
  bool operator==(const Frame&) const = default;
};

struct Chunk {
  Digest digest;
  uint32_t size = 0;
  uint32_t frame = 0;   // number in ChunkList::frames
  uint32_t offset = 0;  // in the frame's raw bytes
  bool operator==(const Chunk&) const = default;
};

struct ChunkList {
  Digest digest;
  uint64_t size = 0;
  std::vector<Pack> packs;
  std::vector<Frame> frames;
  std::vector<Chunk> chunks;
  std::vector<uint32_t> headers, contents;  // numbers in `chunks`, in the order of the stream
  bool operator==(const ChunkList&) const = default;
};

// Larger ones are refused.
inline constexpr uint32_t kMaxFrame = 16 << 20;  // raw
inline constexpr uint64_t kMaxList = 256 << 20;  // raw, of the list itself

std::string EncodePlain(const ChunkList& list);
Result<ChunkList> DecodePlain(std::string_view text);  // kCorrupt

// With the compression around it.
Result<std::string> Encode(const ChunkList& list);
Result<ChunkList> Decode(std::string_view packed);  // kCorrupt

}  // namespace varve::chunk
