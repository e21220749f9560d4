// Makes the regular files of a layer on several threads.
#pragma once

#include <sys/types.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fd.h"
#include "base/thread_pool.h"
#include "tree/tree.h"

namespace varve::snapshot {

struct NewFile {
  std::shared_ptr<const Fd> parent;
  std::string name;
  std::string path;  // for messages
  std::string content;
  Timestamp mtime;
  tree::Node* node;  // owner, mode and xattrs to set; gets the digest
};

// Sets owner, mode, xattrs and time of an open file or directory. Attributes that the file system
// does not support are taken out of the node.
Status SetAttributes(int fd, tree::Node& node, Timestamp mtime, const std::string& path);

class FileWriter {
 public:
  FileWriter();
  ~FileWriter();

  // Takes the file, which must not exist, to write it at some time. The node may not be touched
  // before Wait(). Returns an earlier file's error. Blocks while too much is under way.
  Status Add(NewFile file);
  // Returns when all files are there.
  Status Wait();

 private:
  static constexpr size_t kBatchFiles = 24;
  static constexpr size_t kBatchBytes = 1 << 20;
  static constexpr size_t kMaxBytes = 24 << 20;
  static constexpr size_t kMaxBatches = 64;

  void Submit();

  std::vector<NewFile> batch_;
  size_t batch_bytes_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable done_;
  size_t batches_ = 0, bytes_ = 0;  // under way
  std::optional<Error> error_;

  ThreadPool pool_;  // last: its threads end before what they use
};

}  // namespace varve::snapshot
