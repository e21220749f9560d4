#include "chunk/assemble.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "archive/codec.h"

namespace varve::chunk {

namespace {

constexpr uint64_t kMostAtOnce = 8 << 20;
// What is fetched in vain rather than in a request of its own.
constexpr uint64_t kLeastGap = 128 << 10;

// One part of the stream, chunk by chunk, out of the scratch file.
class PartReader {
 public:
  PartReader(const ChunkList& list, const std::vector<uint32_t>& numbers, const std::vector<uint64_t>& offsets, int fd)
      : list_(list), numbers_(numbers), offsets_(offsets), fd_(fd) {}

  // What is left of the current chunk; empty at the end.
  Result<std::string_view> Rest() {
    while (rest_.empty() && next_ < numbers_.size()) {
      uint32_t number = numbers_[next_++];
      buffer_.resize(list_.chunks[number].size);
      for (size_t done = 0; done < buffer_.size();) {
        ssize_t n =
            pread(fd_, buffer_.data() + done, buffer_.size() - done, static_cast<off_t>(offsets_[number] + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return ErrnoError(n < 0 ? errno : EIO, "read of chunks");
        done += static_cast<size_t>(n);
      }
      rest_ = buffer_;
    }
    return rest_;
  }
  void Skip(size_t size) { rest_.remove_prefix(size); }

 private:
  const ChunkList& list_;
  const std::vector<uint32_t>& numbers_;
  const std::vector<uint64_t>& offsets_;
  const int fd_;
  size_t next_ = 0;
  std::string buffer_;
  std::string_view rest_;
};

}  // namespace

Assembly::Assembly(const ChunkList& list) : list_(list), here_(list.chunks.size()), chunks_of_(list.frames.size()) {
  uint64_t offset = 0;
  for (size_t i = 0; i < list.chunks.size(); ++i) {
    const Chunk& chunk = list.chunks[i];
    offsets_.push_back(offset);
    offset += chunk.size;
    numbers_.emplace(chunk.digest, static_cast<uint32_t>(i));
    auto& [first, end] = chunks_of_[chunk.frame];
    if (end == 0) first = i;
    end = i + 1;
  }
  missing_ = offset;
}

Result<std::unique_ptr<Assembly>> Assembly::Start(const ChunkList& list, const std::string& scratch) {
  std::unique_ptr<Assembly> assembly(new Assembly(list));
  TRY_ASSIGN(assembly->file_, OpenFile(scratch, O_TMPFILE | O_RDWR, 0600));
  return assembly;
}

Status Assembly::Store(uint32_t chunk, std::string_view bytes) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t n =
        pwrite(file_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offsets_[chunk] + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "write of chunks");
    done += static_cast<size_t>(n);
  }
  here_[chunk] = 1;
  missing_ -= bytes.size();
  return Ok();
}

std::unique_ptr<Splitter> Assembly::TakeFrom() {
  return std::make_unique<Splitter>([this](Part, const Digest& digest, std::string_view bytes) -> Status {
    auto it = numbers_.find(digest);
    if (it == numbers_.end() || here_[it->second]) return Ok();
    return Store(it->second, bytes);
  });
}

std::vector<Range> Assembly::Missing() const {
  std::vector<Range> ranges;
  for (uint32_t i = 0; i < list_.frames.size(); ++i) {
    const Frame& frame = list_.frames[i];
    auto [first, end] = chunks_of_[i];
    bool wanted = std::any_of(here_.begin() + static_cast<ptrdiff_t>(first),
                              here_.begin() + static_cast<ptrdiff_t>(end), [](char here) { return here == 0; });
    if (!wanted) continue;
    Range* last = ranges.empty() ? nullptr : &ranges.back();
    bool joins = last != nullptr && last->pack == frame.pack &&
                 frame.offset - (last->offset + last->size) <= kLeastGap &&
                 frame.offset + frame.packed - last->offset <= kMostAtOnce;
    if (!joins) last = &ranges.emplace_back(Range{.pack = frame.pack, .offset = frame.offset});
    last->size = frame.offset + frame.packed - last->offset;
    last->frames.push_back(i);
  }
  return ranges;
}

Status Assembly::Unpack(const Range& range, std::string_view bytes) {
  if (bytes.size() != range.size) return Corrupt("a part of a chunk pack arrived cut off");
  for (uint32_t number : range.frames) {
    const Frame& frame = list_.frames[number];
    StringReader in(bytes.substr(frame.offset - range.offset, frame.packed));
    TRY_ASSIGN(auto zstd, archive::MakeDecompressor(in, {.bytes = kMaxFrame}));
    auto raw = ReadAll(*zstd, kMaxFrame);
    if (!raw || raw->size() != frame.raw) return Corrupt("a chunk pack is damaged");
    auto [first, end] = chunks_of_[number];
    for (size_t i = first; i < end; ++i) {
      if (here_[i]) continue;
      const Chunk& chunk = list_.chunks[i];
      std::string_view content = std::string_view(*raw).substr(chunk.offset, chunk.size);
      if (Digest::Of(content) != chunk.digest) return Corrupt("a chunk is damaged");
      TRY(Store(static_cast<uint32_t>(i), content));
    }
  }
  return Ok();
}

Status Assembly::Join(Writer& out) const {
  if (missing_ > 0) return Corrupt("chunks are missing");
  PartReader headers(list_, list_.headers, offsets_, file_.get());
  PartReader contents(list_, list_.contents, offsets_, file_.get());
  TarSeam seam;
  while (true) {
    bool inside = seam.contents() > 0;
    TRY_ASSIGN(std::string_view rest, (inside ? contents : headers).Rest());
    if (rest.empty()) break;
    size_t n = 0;
    if (inside) {
      n = std::min<uint64_t>(seam.contents(), rest.size());
      seam.TakeContents(n);
    } else {
      n = seam.TakeHeaders(rest);
    }
    TRY(out.Write(rest.substr(0, n)));
    (inside ? contents : headers).Skip(n);
  }
  // The stream may end within a file's contents, but nothing of either part is left over.
  TRY_ASSIGN(std::string_view headers_left, headers.Rest());
  TRY_ASSIGN(std::string_view contents_left, contents.Rest());
  if (!headers_left.empty() || !contents_left.empty()) {
    return Corrupt("a chunk list does not fit together");
  }
  return Ok();
}

}  // namespace varve::chunk
