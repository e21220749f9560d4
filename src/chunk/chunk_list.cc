#include "chunk/chunk_list.h"

#include "archive/codec.h"
#include "base/wire.h"

namespace varve::chunk {

namespace {

constexpr std::string_view kMagic = "vcl1\n";

uint64_t ZigZag(int64_t value) { return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63); }
int64_t UnZigZag(uint64_t value) { return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1); }

// Where the item before ended.
struct Place {
  uint32_t container = 0;
  uint64_t end = 0;
};

void PutSequence(std::string& out, const std::vector<uint32_t>& numbers) {
  PutVarint(out, numbers.size());
  int64_t expected = 0;
  for (uint32_t number : numbers) {
    PutVarint(out, ZigZag(int64_t{number} - expected));
    expected = int64_t{number} + 1;
  }
}

// Reads one list; false when the text does not hold it.
class ListReader {
 public:
  explicit ListReader(std::string_view text) : in_(text) {}

  bool Read(ChunkList* list) {
    return ReadDigest(&list->digest) && in_.Varint(&list->size) && ReadPacks(list) && ReadFrames(list) &&
           ReadChunks(list) && ReadSequence(list, &list->headers) && ReadSequence(list, &list->contents) &&
           in_.AtEnd() && SizesAgree(*list);
  }

 private:
  bool ReadDigest(Digest* digest) {
    std::string_view raw;
    if (!in_.Raw(Digest::kSize, &raw)) return false;
    *digest = Digest::FromBytes(raw);
    return true;
  }

  // `least`: bytes that each of them takes at least, so that no count makes us allocate more than
  // the text is long.
  bool ReadCount(size_t least, uint64_t* count) { return in_.Varint(count) && *count <= in_.remaining() / least; }

  bool ReadPacks(ChunkList* list) {
    uint64_t count;
    if (!ReadCount(Digest::kSize + 1, &count)) return false;
    list->packs.resize(count);
    for (Pack& pack : list->packs) {
      if (!ReadDigest(&pack.digest) || !in_.Varint(&pack.size)) return false;
    }
    return true;
  }

  bool ReadColumn(std::vector<uint64_t>* column, uint64_t count) {
    column->resize(count);
    for (uint64_t& value : *column) {
      if (!in_.Varint(&value)) return false;
    }
    return true;
  }

  bool ReadFrames(ChunkList* list) {
    uint64_t count;
    std::vector<uint64_t> steps, gaps;
    if (!ReadCount(4, &count) || (count > 0 && list->packs.empty())) return false;
    if (!ReadColumn(&steps, count) || !ReadColumn(&gaps, count)) return false;
    list->frames.resize(count);
    for (Frame& frame : list->frames) {
      if (!in_.Varint32(&frame.packed)) return false;
    }
    for (Frame& frame : list->frames) {
      if (!in_.Varint32(&frame.raw) || frame.raw > kMaxFrame) return false;
    }
    Place place;
    for (size_t i = 0; i < count; ++i) {
      if (!Advance(
              steps[i], gaps[i], list->frames[i].packed, list->packs.size(),
              [&](uint32_t pack) { return list->packs[pack].size; }, &place)) {
        return false;
      }
      list->frames[i].pack = place.container;
      list->frames[i].offset = place.end - list->frames[i].packed;
    }
    return true;
  }

  bool ReadChunks(ChunkList* list) {
    uint64_t count;
    std::vector<uint64_t> steps, gaps;
    if (!ReadCount(Digest::kSize + 3, &count) || (count > 0 && list->frames.empty())) return false;
    list->chunks.resize(count);
    for (Chunk& chunk : list->chunks) {
      if (!ReadDigest(&chunk.digest)) return false;
    }
    for (Chunk& chunk : list->chunks) {
      if (!in_.Varint32(&chunk.size) || chunk.size == 0) return false;
    }
    if (!ReadColumn(&steps, count) || !ReadColumn(&gaps, count)) return false;
    Place place;
    for (size_t i = 0; i < count; ++i) {
      if (!Advance(
              steps[i], gaps[i], list->chunks[i].size, list->frames.size(),
              [&](uint32_t frame) { return uint64_t{list->frames[frame].raw}; }, &place)) {
        return false;
      }
      list->chunks[i].frame = place.container;
      list->chunks[i].offset = static_cast<uint32_t>(place.end - list->chunks[i].size);
    }
    return true;
  }

  // To the end of the next item, which takes `size` bytes of its container.
  template <class Room>
  static bool Advance(uint64_t step, uint64_t gap, uint64_t size, size_t containers, Room room, Place* place) {
    if (step > 0) {
      if (step >= containers - place->container) return false;
      *place = {.container = place->container + static_cast<uint32_t>(step), .end = 0};
    }
    uint64_t left = room(place->container) - place->end;
    if (gap > left || size > left - gap) return false;
    place->end += gap + size;
    return true;
  }

  bool ReadSequence(const ChunkList* list, std::vector<uint32_t>* numbers) {
    uint64_t count;
    if (!ReadCount(1, &count)) return false;
    numbers->resize(count);
    int64_t expected = 0;
    for (uint32_t& number : *numbers) {
      uint64_t delta;
      if (!in_.Varint(&delta) || delta > uint64_t{1} << 40) return false;
      int64_t value = expected + UnZigZag(delta);
      if (value < 0 || value >= static_cast<int64_t>(list->chunks.size())) return false;
      number = static_cast<uint32_t>(value);
      expected = value + 1;
    }
    return true;
  }

  static bool SizesAgree(const ChunkList& list) {
    uint64_t total = 0;
    for (const auto* sequence : {&list.headers, &list.contents}) {
      for (uint32_t number : *sequence) total += list.chunks[number].size;
    }
    return total == list.size;
  }

  Cursor in_;
};

}  // namespace

std::string EncodePlain(const ChunkList& list) {
  std::string out(kMagic);
  out += list.digest.raw();
  PutVarint(out, list.size);
  PutVarint(out, list.packs.size());
  for (const Pack& pack : list.packs) {
    out += pack.digest.raw();
    PutVarint(out, pack.size);
  }
  // How far each item's container is from the one before, and the gap before it.
  std::string steps, gaps;
  Place place;
  auto put = [&](uint32_t container, uint64_t offset, uint64_t size) {
    if (container != place.container) {
      PutVarint(steps, container - place.container);
      place = {.container = container, .end = 0};
    } else {
      PutVarint(steps, 0);
    }
    PutVarint(gaps, offset - place.end);
    place.end = offset + size;
  };
  PutVarint(out, list.frames.size());
  for (const Frame& frame : list.frames) put(frame.pack, frame.offset, frame.packed);
  out += steps + gaps;
  for (const Frame& frame : list.frames) PutVarint(out, frame.packed);
  for (const Frame& frame : list.frames) PutVarint(out, frame.raw);

  steps.clear(), gaps.clear();
  place = Place();
  PutVarint(out, list.chunks.size());
  for (const Chunk& chunk : list.chunks) out += chunk.digest.raw();
  for (const Chunk& chunk : list.chunks) PutVarint(out, chunk.size);
  for (const Chunk& chunk : list.chunks) put(chunk.frame, chunk.offset, chunk.size);
  out += steps + gaps;
  PutSequence(out, list.headers);
  PutSequence(out, list.contents);
  return out;
}

Result<ChunkList> DecodePlain(std::string_view text) {
  ChunkList list;
  if (!text.starts_with(kMagic)) return Corrupt("not a chunk list");
  if (!ListReader(text.substr(kMagic.size())).Read(&list)) return Corrupt("a chunk list is damaged");
  return list;
}

Result<std::string> Encode(const ChunkList& list) {
  StringWriter out;
  TRY_ASSIGN(auto zstd, archive::MakeCompressor(out, archive::Compression::kZstd, {}, 1));
  TRY(zstd->Write(EncodePlain(list)));
  TRY(zstd->Finish());
  return std::move(out.text);
}

Result<ChunkList> Decode(std::string_view packed) {
  StringReader in(packed);
  TRY_ASSIGN(auto zstd, archive::MakeDecompressor(in, {.bytes = kMaxList}));
  auto text = ReadAll(*zstd, kMaxList);
  if (!text) return Corrupt("a chunk list is damaged: {}", text.error().message);
  return DecodePlain(*text);
}

}  // namespace varve::chunk
