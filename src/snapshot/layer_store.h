// Layers on the local disk, unpacked in overlayfs form, and the passes between them and tars.
//
// A layer lives in <root>/layers/<diff id hex>/:
//   fs/      its files; whiteouts are 0:0 character devices, opaque directories carry
//            trusted.overlay.opaque=y (user.overlay.* when not root)
//   index    its tree::LayerIndex, encoded
//   size     the length of its uncompressed tar, decimal
// and is immutable from the rename that makes it visible. Nothing here compresses: a tar is made from
// fs/ when something leaves the machine, and is checked against the diff id while it is made.
//
// Safe from any thread and from several processes on one root.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/io.h"
#include "base/result.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

struct Layer {
  DiffId diff_id;
  uint64_t tar_size = 0;     // bytes of the uncompressed tar
  uint64_t entries = 0;
};

// A layer being written. The destructor removes it unless it was committed.
class LayerDraft {
 public:
  virtual ~LayerDraft() = default;
  virtual const std::string& upper() const = 0;  // directory to write into: overlay's upperdir
  virtual const std::string& work() const = 0;   // on the same file system: overlay's workdir
};

class LayerStore {
 public:
  virtual ~LayerStore() = default;

  virtual Result<bool> Has(const DiffId& layer) = 0;
  virtual Result<Layer> Stat(const DiffId& layer) = 0;                    // kNotFound
  virtual Result<tree::LayerIndex> Index(const DiffId& layer) = 0;        // kNotFound, kCorrupt
  virtual std::string Directory(const DiffId& layer) const = 0;           // …/fs

  virtual Result<std::unique_ptr<LayerDraft>> NewDraft() = 0;

  // Digests of file contents that the writer of a draft already knows, by path in the draft: they
  // are not hashed a second time.
  using KnownDigests = std::map<std::string, Digest>;

  // Reads the draft once: tar stream into the diff id, files into the index; then makes it visible.
  // An equal layer that is already there wins and the draft is dropped.
  virtual Result<Layer> Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known,
                               std::stop_token stop) = 0;

  // Unpacks an uncompressed tar; kCorrupt if its digest is not `expected`. `below` are the layers
  // under it (implicit parent directories take their attributes from them). Names that leave the
  // root, and entries through symlinks, are kept inside or refused (kInvalid), never followed out.
  virtual Result<Layer> Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                               std::stop_token stop) = 0;

  // The layer's tar, byte for byte what the diff id names; kCorrupt when the files changed.
  virtual Status WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) = 0;

  virtual Status Remove(const DiffId& layer) = 0;
  virtual Status ForEach(const std::function<Status(const Layer&)>& visit) = 0;
};

// Opens, creating what is missing, the layers below `root`. Leftovers of killed processes in the
// staging directory are removed.
Result<std::unique_ptr<LayerStore>> OpenLayerStore(const std::string& root);

}  // namespace varve::snapshot
