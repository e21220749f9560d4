// The tar and the index of a layer, computed while its files are being written.
//
// LayerStore::Commit reads a finished draft back: it lists it, opens each file, and hashes what it
// reads. Whoever writes the files in the order of a walk (a directory's entries by name, each
// directory's content right behind it) has all of that in hand already, and hands it over here:
//
//   TarPart part(stream, stream.Begin());   // Begin: on one thread, in walk order
//   part.Add(entry, fresh);                 // the rest: on any thread
//   part.Space(entry.index.node.size);      // to be filled with the file's content
//   part.End();
//
// Segments are made on several threads and hashed in their order by one. A thread that is ahead waits
// while too much is held back; the one whose segment is next never does. So segments must be worked on
// in the order of Begin(): a pool that starts its tasks first in, first out.
//
// Nothing here looks at the files. The claim that the entries are exactly what the draft holds is the
// writer's; a tar that is made of the files later is compared with the diff id as always.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "base/result.h"
#include "snapshot/layer_store.h"
#include "snapshot/upper_walk.h"

namespace varve::snapshot {

struct StreamedEntry {
  tree::LayerEntry index;
  bool fresh = false;  // see tree::LayerTree
};

class LayerStream {
 public:
  // Called with each entry, in order, by the stream's own thread.
  using OnEntry = std::function<Status(StreamedEntry entry)>;

  // Where encoded entries of the index go when there are more than `from` bytes of them: 100,000 take 11 MB.
  struct IndexFile {
    std::string path;  // empty: nowhere; must not exist
    size_t from = 1 << 20;
  };

  explicit LayerStream(OnEntry on_entry) : LayerStream(std::move(on_entry), IndexFile()) {}
  LayerStream(OnEntry on_entry, IndexFile index_file);
  ~LayerStream();

  // The number of the next segment. One thread.
  size_t Begin();

  // The layer must be read back after all: the next entry would be out of order, or something was
  // written that can be no entry here. What is still handed over is dropped. Any thread.
  void Break();
  bool broken() const { return broken_; }

  // Waits for the end. Every segment must have ended. Not for a broken stream.
  Result<WrittenLayer> Finish();

 private:
  friend class TarPart;
  struct Piece {
    std::string tar;
    std::string index;
    std::string times;
    std::vector<StreamedEntry> entries;
  };
  struct Segment {
    std::deque<Piece> pieces;
    bool ended = false;
  };

  void Write(size_t segment, Piece piece, bool last);
  void Work();
  Status Consume(Piece piece);
  Status MoveIndexToFile();

  const OnEntry on_entry_;
  const IndexFile index_file_;
  size_t begun_ = 0;
  std::atomic<bool> broken_{false};

  // The stream's thread's.
  HashingWriter tar_{nullptr};
  WrittenLayer layer_;
  size_t index_bytes_ = 0;  // in memory
  Fd index_fd_;             // once it is needed
  std::optional<Error> error_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_, space_;
  std::deque<Segment> segments_;  // from current_ to begun_
  size_t current_ = 0;
  size_t waiting_ = 0;     // bytes of tar in all pieces
  size_t blocked_ = 0;     // threads that wait for space
  bool finished_ = false;  // no segment will begin any more

  std::jthread thread_;  // last: it ends before what it uses
};

// One segment. Used by one thread at a time. Drops everything once the stream is broken.
class TarPart {
 public:
  // `expected`: about how many bytes of tar it will be.
  TarPart(LayerStream& stream, size_t segment, size_t expected = 0)
      : stream_(stream), segment_(segment), expected_(expected) {}
  ~TarPart();  // what was not ended breaks the stream

  // No device: a tar cannot say the numbers of all of them. A file's size and digest are known; its
  // content follows.
  void Add(const UpperEntry& entry, bool fresh);
  // Room for the next bytes of the content, to be filled before the next call. In all exactly the
  // file's size.
  std::span<char> Space(size_t bytes);
  void End();

 private:
  void FinishEntry();
  void Send(bool last);

  LayerStream& stream_;
  const size_t segment_;
  const size_t expected_;
  LayerStream::Piece piece_;
  size_t padding_ = 0;  // behind the file at hand
  bool ended_ = false;
};

}  // namespace varve::snapshot
