// Copies what selectors match from a source into a layer being written: the heart of COPY and ADD.
//
// The source's Tree, not its directory, says what is copied: an ignored file is not in the tree, and a
// file that appears meanwhile is not looked at. The calling thread walks the tree and settles what is in
// the way; a few threads make what is new (copy_jobs.h).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "exec/file_mode.h"
#include "exec/layer_writer.h"
#include "graph/graph.h"
#include "snapshot/layer_files.h"
#include "tree/selection.h"

namespace varve::snapshot {
class LayerStream;
}

namespace varve::exec {

// Files to copy from. `root` shows exactly what `tree_root` describes, or more.
struct CopySource {
  int root = -1;
  Digest tree_root;
  bool immutable = false;  // layers: content is what the tree says. A context may change under us.
};

struct Ownership {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// An earlier layer of the same step. Files of it that are equal in every respect are hard-linked
// instead of copied: layers are immutable, so sharing an inode is safe.
struct SimilarLayer {
  snapshot::LayerFiles files;
  std::string index;  // encoded
};

class TreeCopy {
 public:
  // `stream` gets the layer's entries if nothing but copies writes to the layer; null: the layer is
  // read back. It is broken when the copies turn out not to come in the order of a walk.
  // kLazy, for one Copy() with both of them: what the earlier layer has is left there, and the draft is
  // that of a lazy layer. When the stream breaks, the draft is of no use: copy again, kWhole.
  enum class Files { kWhole, kLazy };
  TreeCopy(LayerWriter& writer, tree::TreeStore& trees, const SimilarLayer* similar, snapshot::LayerStream* stream,
           Files files, std::stop_token stop);
  ~TreeCopy();

  // One Copy action (without unpacking). `owner`: of --chown; nothing keeps the source's.
  Status Copy(const CopySource& source, const graph::Copy& action, std::optional<Ownership> owner,
              const FileMode& mode);

  // Copies one match to where it belongs under `action.dest`; also used by ADD for what is no archive.
  Status CopyMatch(const CopySource& source, const graph::Copy& action, const tree::Match& match,
                   std::optional<Ownership> owner, const FileMode& mode);

  // Waits until the files of earlier copies are there. Call before anything else writes to the layer: what it
  // writes need not be what a copy put there.
  Status Settle();

  // Waits until all files are there and makes the hard links. Call once, before LayerWriter::Finish.
  Status Finish();

  // After Finish: digests of files that the stream does not have, known without reading them again.
  snapshot::LayerStore::KnownDigests TakeKnown();
  uint64_t linked_files() const;  // those that the earlier layer has, linked or left there

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace varve::exec
