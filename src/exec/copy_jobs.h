// The part of a COPY that several threads do: new directories, files and symlinks, a batch at a time.
//
// Each batch is one segment of the layer's stream, so that the layer's tar and index are complete when
// the last file is. What is in an earlier layer of the same step already is hard-linked to it, or, in a
// layer that is to be lazy (snapshot/lazy_layers.h), left there: then only what is new is made, and the
// directories that it lies in.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/thread_pool.h"
#include "exec/layer_writer.h"
#include "snapshot/layer_stream.h"

namespace varve::exec {

// A directory being filled. One with a parent is new in this layer, and made by the first thread that
// needs it: both descriptors are empty until then. In a lazy layer `target` comes with the first file in it.
struct OpenDirectory {
  RelPath below;  // in the source, relative to the match
  RelPath dest;
  Fd source;
  Fd target;
  LayerWriter::DirectoryState state = LayerWriter::DirectoryState::kMade;
  std::shared_ptr<const tree::Directory> base;  // what shows through, for kCopiedUp

  std::mutex making;
  std::shared_ptr<OpenDirectory> parent;  // until it is made
  std::optional<Attributes> attributes;   // only of one with a parent
};

struct CopyItem {
  std::shared_ptr<OpenDirectory> directory;  // that it is in, or which it is
  std::string name;                          // at the destination; empty: it is `directory`
  tree::Node node;                           // attributes as they are to be, the name in the source
  bool immutable = false;                    // the content is what the tree says. A context may change under us.
  bool in_similar = false;                   // the earlier layer has an equal file at this path
  size_t match = 0;                          // hard links are kept within one match
  std::optional<Timestamp> mtime = {};       // nothing: the source's
};

class CopyJobs {
 public:
  // `stream`: may be null. `similar`: files of the earlier layer, or null. `lazy`: with both of them;
  // once the stream is broken, nothing is made any more.
  CopyJobs(snapshot::LayerStream* stream, const snapshot::LayerFiles* similar, bool lazy, std::stop_token stop);

  // The following are called by one thread. Items of one match come in walk order.
  Status Add(CopyItem item);
  // An entry that this thread has made itself.
  Status Announce(const snapshot::UpperEntry& entry, bool fresh);
  Status Drain();   // waits until everything is there
  Status Failed();  // the first error so far

  // After Drain():
  // Times of the directories that were made since the last call: a time is set when all is written.
  std::vector<std::pair<RelPath, Timestamp>> TakeTimes() { return std::exchange(*times_.Lock(), {}); }
  // Hard links that are to be made: new, existing.
  std::vector<std::pair<RelPath, RelPath>> TakeLinks() { return std::exchange(*links_.Lock(), {}); }
  // Digests of the files that the stream does not have.
  snapshot::LayerStore::KnownDigests TakeKnown() { return std::exchange(*known_.Lock(), {}); }
  // Call once, last. Breaks the stream when two names of this layer have become one file.
  uint64_t CountLinked();

 private:
  struct Batch {
    std::vector<CopyItem> items;
    size_t directories = 0;
    uint64_t bytes = 0;
    std::optional<size_t> segment;
  };

  Status Submit();
  bool InOrder(const std::string& path);
  void Run(Batch batch);
  Status Make(const CopyItem& item, snapshot::TarPart* part);
  Status Open(OpenDirectory& directory);
  Status MakeTarget(OpenDirectory& directory);
  Status NeedTarget(OpenDirectory& directory);
  Status PutSymlink(const CopyItem& item, const struct stat& source);
  Owned OwnerIn(const OpenDirectory& parent, uint32_t uid, uint32_t gid) const;
  Status MakeSymlink(const CopyItem& item, snapshot::TarPart* part);
  Status MakeFile(const CopyItem& item, snapshot::TarPart* part);
  Result<bool> IsFurtherLink(const CopyItem& item, const struct stat& source);
  Fd FindSimilar(const CopyItem& item, const struct stat& source);
  Status Fill(const CopyItem& item, const struct stat& source, int in, int out, int linked, snapshot::TarPart* part);

  snapshot::LayerStream* const stream_;
  const snapshot::LayerFiles* const similar_;
  const bool lazy_;
  const std::stop_token stop_;
  const uint32_t uid_, gid_;  // of this process

  Batch batch_;            // being filled
  std::string last_path_;  // of the entries so far

  Guarded<size_t> in_flight_;
  std::condition_variable batch_done_;
  std::atomic<bool> failed_{false};
  Guarded<std::optional<Error>> error_;
  Guarded<std::map<std::tuple<size_t, dev_t, ino_t>, RelPath>> inodes_;
  Guarded<std::vector<std::pair<RelPath, RelPath>>> links_;
  Guarded<std::vector<ino_t>> linked_;  // files of the earlier layer
  Guarded<std::vector<std::pair<RelPath, Timestamp>>> times_;
  Guarded<snapshot::LayerStore::KnownDigests> known_;
  ThreadPool pool_;  // last: its threads end before what they use
};

}  // namespace varve::exec
