#include "snapshot/upper_tar.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/thread_pool.h"
#include "sys/open.h"

namespace varve::snapshot {

namespace {

constexpr size_t kChunk = 256 << 10;
constexpr size_t kBudget = 4 << 20;  // bytes that wait for the tar
constexpr size_t kChunksAhead = 8;   // of the file that the tar is at, and then of any
const char kZeros[kChunk] = {};

struct Chunk {
  std::unique_ptr<char[]> data;  // null: zeros, of a hole
  size_t size = 0;
  std::string_view view() const { return {data ? data.get() : kZeros, size}; }
};

// Files are taken in order by several threads, and their chunks handed over in order. A thread that
// is ahead waits while the budget is used up; the one whose file is being written never does, so
// the queue cannot lock itself up.
class ContentQueue {
 public:
  ContentQueue(const LayerFiles& files, std::vector<UpperEntry>& entries, HashFiles hash,
               const std::map<std::string, Digest>& known, std::stop_token stop)
      : layer_(files), entries_(entries), hash_(hash), known_(known), outer_(std::move(stop)) {
    for (size_t i = 0; i < entries.size(); ++i) {
      const UpperEntry& entry = entries[i];
      bool is_file = !entry.index.whiteout && entry.index.node.type == tree::NodeType::kFile;
      if (is_file && entry.hard_link_to.empty()) files_.push_back(i);
    }
    if (files_.empty()) return;  // a step that only ran a test, say
    size_t threads = std::min(CpuCount() + 1, files_.size() / 4 + 1);
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
  }

  ~ContentQueue() {
    {
      std::scoped_lock lock(mutex_);
      abandoned_ = true;
    }
    space_.notify_all();
  }

  // Waits until the attributes of the next file are known. Then Take() its chunks until its size.
  Status OpenNext() {
    std::unique_lock lock(mutex_);
    while (!ready_.wait_for(lock, std::chrono::milliseconds(100),
                            [&] { return !slots_.empty() && (slots_.front().opened || slots_.front().error); })) {
      if (outer_.stop_requested()) return Cancelled("writing the layer was cancelled");
    }
    if (slots_.front().error) return *slots_.front().error;
    return Ok();
  }

  Result<Chunk> Take() {
    std::unique_lock lock(mutex_);
    Slot& slot = slots_.front();
    ready_.wait(lock, [&] { return !slot.chunks.empty() || slot.error; });
    if (slot.chunks.empty()) return *slot.error;
    Chunk chunk = std::move(slot.chunks.front());
    slot.chunks.pop_front();
    waiting_ -= chunk.data ? chunk.size : 0;
    if (blocked_ > 0) space_.notify_all();
    return chunk;
  }

  // The digest is complete when the last chunk has been handed over and this returns.
  Status CloseNext() {
    std::unique_lock lock(mutex_);
    Slot& slot = slots_.front();
    ready_.wait(lock, [&] { return slot.finished || slot.error; });
    if (slot.error) return *slot.error;
    slots_.pop_front();
    ++current_;
    if (blocked_ > 0) space_.notify_all();
    return Ok();
  }

 private:
  struct Slot {
    std::deque<Chunk> chunks;
    bool opened = false, finished = false;
    std::optional<Error> error;
  };

  // Of a file that was taken and not closed yet. mutex_ is held.
  Slot& SlotOf(size_t number) { return slots_[number - current_]; }

  void Work() {
    while (true) {
      size_t number;
      {
        std::scoped_lock lock(mutex_);
        if (abandoned_ || next_ == files_.size()) return;
        number = next_++;
        slots_.emplace_back();
      }
      Status status = ReadFile(number, entries_[files_[number]]);
      std::scoped_lock lock(mutex_);
      Slot& slot = SlotOf(number);
      if (status) {
        slot.finished = true;
      } else {
        slot.error = std::move(status).error();
      }
      if (number == current_) ready_.notify_one();
      if (slot.error) return;
    }
  }

  // False when nobody wants it any more.
  bool Push(size_t number, Chunk chunk) {
    std::unique_lock lock(mutex_);
    size_t cost = chunk.data ? chunk.size : 0;
    ++blocked_;
    space_.wait(lock, [&] { return abandoned_ || number == current_ || waiting_ + cost <= kBudget; });
    // Even the file at hand may not run away from the tar.
    space_.wait(lock, [&] { return abandoned_ || SlotOf(number).chunks.size() < kChunksAhead; });
    --blocked_;
    if (abandoned_) return false;
    waiting_ += cost;
    SlotOf(number).chunks.push_back(std::move(chunk));
    if (number == current_) ready_.notify_one();
    return true;
  }

  Status ReadFile(size_t number, UpperEntry& entry) {
    tree::Node& node = entry.index.node;
    int root = layer_.RootOf(entry.path);
    Fd fd(openat(root, entry.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME));
    // O_NOATIME is the owner's privilege.
    if (!fd && errno == EPERM) {
      fd = Fd(openat(root, entry.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    }
    if (!fd) return ErrnoError(errno, "open " + entry.path);
    char capability[256];
    ssize_t length = fgetxattr(fd.get(), kCapability, capability, sizeof(capability));
    if (length < 0 && errno != ENODATA && errno != ENOTSUP) {
      return ErrnoError(errno, "read the capabilities of " + entry.path);
    }
    if (length > 0) {
      node.xattrs = {{kCapability, std::string(capability, static_cast<size_t>(length))}};
    }
    {
      std::scoped_lock lock(mutex_);
      SlotOf(number).opened = true;
      if (number == current_) ready_.notify_one();
    }
    auto known = known_.find(entry.path);
    bool must_hash = hash_ == HashFiles::kYes && known == known_.end();
    if (known != known_.end()) node.digest = known->second;
    std::optional<Sha256> hash;
    if (must_hash) hash.emplace();
    for (uint64_t at = 0; at < node.size;) {
      if (outer_.stop_requested()) return Cancelled("reading the layer was cancelled");
      TRY_ASSIGN(Chunk chunk, ReadChunk(fd.get(), entry, at));
      if (hash) hash->Update(chunk.view());
      at += chunk.size;
      if (!Push(number, std::move(chunk))) return Cancelled("writing the layer was given up");
    }
    if (hash) node.digest = hash->Finish();
    return Ok();
  }

  static Result<Chunk> ReadChunk(int fd, const UpperEntry& entry, uint64_t at) {
    uint64_t want = std::min<uint64_t>(kChunk, entry.index.node.size - at);
    if (entry.sparse) {
      off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
      uint64_t hole_end = data < 0 ? entry.index.node.size : static_cast<uint64_t>(data);
      bool can_seek = data >= 0 || errno == ENXIO;
      if (can_seek && hole_end > at) return Chunk{nullptr, std::min<uint64_t>(want, hole_end - at)};
    }
    Chunk chunk{std::make_unique_for_overwrite<char[]>(want), 0};
    while (chunk.size < want) {
      ssize_t n = pread(fd, chunk.data.get() + chunk.size, want - chunk.size, static_cast<off_t>(at + chunk.size));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoError(errno, "read " + entry.path);
      if (n == 0) return Corrupt("{} became shorter while it was read", entry.path);
      chunk.size += static_cast<size_t>(n);
    }
    return chunk;
  }

  const LayerFiles& layer_;
  std::vector<UpperEntry>& entries_;
  const HashFiles hash_;
  const std::map<std::string, Digest>& known_;
  const std::stop_token outer_;
  std::vector<size_t> files_;  // indexes into entries_

  std::mutex mutex_;  // guards what follows
  std::condition_variable ready_, space_;
  // Of the files from current_ to next_: for each of 100,000 files at once they took 75 MB.
  std::deque<Slot> slots_;
  size_t next_ = 0;     // file that no thread has taken yet
  size_t current_ = 0;  // file that the tar needs
  size_t waiting_ = 0;  // bytes in all slots
  size_t blocked_ = 0;  // threads in Push
  bool abandoned_ = false;

  std::vector<std::jthread> threads_;  // last: they end before what they use
};

Status WriteFileContent(ContentQueue& queue, uint64_t size, archive::TarWriter& tar) {
  while (size > 0) {
    TRY_ASSIGN(Chunk chunk, queue.Take());
    TRY(tar.Content(chunk.view()));
    size -= chunk.size;
  }
  return queue.CloseNext();
}

Status AppendEntries(const LayerFiles& files, std::vector<UpperEntry>& entries, HashFiles hash,
                     const std::map<std::string, Digest>& known, const std::string& prefix, archive::TarWriter& tar,
                     std::stop_token stop) {
  std::unordered_map<std::string_view, const UpperEntry*> linked;  // targets of hard links, by path
  for (const UpperEntry& entry : entries) {
    if (!entry.hard_link_to.empty()) linked[entry.hard_link_to] = nullptr;
  }
  ContentQueue queue(files, entries, hash, known, stop);
  for (UpperEntry& entry : entries) {
    if (stop.stop_requested()) return Cancelled("writing the layer was cancelled");
    bool is_file = !entry.index.whiteout && entry.index.node.type == tree::NodeType::kFile;
    bool is_link = !entry.hard_link_to.empty();
    if (is_file && is_link) {
      const tree::Node& first = linked.at(entry.hard_link_to)->index.node;
      entry.index.node.digest = first.digest;
      entry.index.node.xattrs = first.xattrs;
    } else if (is_file) {
      TRY(queue.OpenNext());
      if (auto target = linked.find(entry.path); target != linked.end()) target->second = &entry;
    }
    UpperHeader header = HeaderOf(entry);
    header.entry.name.insert(0, prefix);
    if (is_link) header.entry.link.insert(0, prefix);
    TRY(tar.Add(header.entry, header.names));
    if (is_file && !is_link) TRY(WriteFileContent(queue, entry.index.node.size, tar));
    // Which names below are hidden is not known here, only that all are: the spec's opaque marker
    // says exactly that (image-spec layer.md, "Opaque Whiteout").
    if (entry.index.opaque) {
      UpperHeader opaque = OpaqueHeader(entry.path);
      opaque.entry.name.insert(0, prefix);
      TRY(tar.Add(opaque.entry, opaque.names));
    }
  }
  return Ok();
}

}  // namespace

Status AppendUpperTar(const std::string& directory, std::vector<UpperEntry>& entries, HashFiles hash,
                      const std::map<std::string, Digest>& known, const std::string& prefix, archive::TarWriter& tar,
                      std::stop_token stop) {
  LayerFiles files;
  TRY_ASSIGN(files.rest, sys::OpenDir(directory));
  return AppendEntries(files, entries, hash, known, prefix, tar, stop);
}

Status WriteLayerTar(ListedLayer& layer, Writer& out, std::stop_token stop) {
  archive::TarWriter tar(out);
  TRY(AppendEntries(layer.files, layer.entries, HashFiles::kNo, {}, "", tar, stop));
  return tar.Finish();
}

Status WriteUpperTar(const std::string& directory, std::vector<UpperEntry>& entries, HashFiles hash,
                     const std::map<std::string, Digest>& known, Writer& out, std::stop_token stop) {
  archive::TarWriter tar(out);
  TRY(AppendUpperTar(directory, entries, hash, known, "", tar, stop));
  return tar.Finish();
}

}  // namespace varve::snapshot
