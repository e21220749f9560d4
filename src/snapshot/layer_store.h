// Layers on the local disk, unpacked in overlayfs form, and the passes between them and tars.
//
// A layer lives in <root>/layers/<diff id hex>/:
//   fs/      its files; whiteouts are 0:0 character devices, opaque directories carry
//            trusted.overlay.opaque=y (user.overlay.* in a user namespace)
//   index    its tree::LayerIndex, encoded
//   size     the length of its uncompressed tar, decimal
//   meta     what the store itself must know: see layer_meta.h
//   implicit (only if there are any) its implicit parent directories: see below
//   users    (only if there are any) layers that need files of this one: see lazy_layers.h
// and is immutable from the rename that makes it visible; but fs/ of a layer that is like an earlier one
// may come later, when somebody asks for its Directory() (lazy_layers.h). Nothing here compresses: a tar is made
// from fs/ when something leaves the machine, and is checked against the diff id while it is made.
//
// Whiteouts are devices, not the xattr form that overlayfs knows since 6.7: a user namespace may
// make 0:0 devices since 5.8, every tool knows them, and the xattr form needs a mark on each
// parent.
//
// Opaque directories: a tar made here says ".wh..wh..opq", right behind the directory's own entry.
// BuildKit spells out one whiteout for each hidden name instead, which needs the listing of the
// layers below; every reader of OCI layers must honour the marker (image-spec layer.md, "Opaque
// Whiteout"). Such layers therefore have another diff id than BuildKit would give them.
//
// Crashes: kill -9 is safe at any instant, since a layer appears by one rename and drafts live in a
// directory whose lock dies with the process. Nothing is synced (a syncfs costs seconds on a busy
// disk), so a crash of the machine may leave a visible layer with files that were never written.
// Therefore a layer carries the boot in which it was made; when it is first asked for in another
// boot, its files are read back and compared once, and a layer that fails is removed as if it had
// never been there. Sync() spares that.
//
// Implicit parents: a tar may name usr/bin/x and list neither usr nor usr/bin. The directories that
// Unpack makes for it take their attributes from the stack that the layer was first unpacked on.
// The same diff id can later be mounted on another stack, where they would be wrong: overlayfs
// shows the topmost layer's attributes. So MountRootfs compares them with the layers below, and
// where they differ puts a directory with the right ones on top of that layer.
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
#include "snapshot/layer_files.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

struct Layer {
  DiffId diff_id;
  uint64_t tar_size = 0;  // bytes of the uncompressed tar
  uint64_t entries = 0;
};

// A layer being written. The destructor removes it unless it was committed.
class LayerDraft {
 public:
  virtual ~LayerDraft() = default;

  // Whether the file system below has this directory with the same mode and owner. When set, Commit
  // drops directories that are the same below and hold nothing of the layer: overlayfs copied them
  // up when a name in them came and went, and BuildKit has no entry for them (reference
  // exporters.md §7.1).
  std::function<Result<bool>(const RelPath&, const tree::Node& directory)> is_below;

  // Whether the file system below has a directory there. When set, Commit takes the mark off opaque
  // directories that hide none: below a copied-up directory overlayfs marks new ones too where it keeps
  // inode numbers (xino=on), and a layer must not tell how it was mounted.
  std::function<Result<bool>(const RelPath&)> has_directory;

  virtual const std::string& upper() const = 0;  // directory to write into: overlay's upperdir
  virtual const std::string& work() const = 0;   // on the same file system: overlay's workdir; goes with the draft
};

// What LayerStream makes of a draft: everything that Commit would find out by reading it.
struct WrittenLayer {
  DiffId diff_id;
  uint64_t tar_size = 0;
  size_t entries = 0;
  std::vector<std::string> index;  // encoded entries, in pieces, without what an index begins with
  std::string index_file = {};     // those that come before them, in a file that goes with the draft; empty: none
  std::vector<std::string> times;  // of the same entries, as in lazy_layers.h
  // The draft has only the regular files that this layer does not have; see lazy_layers.h. The caller
  // has leased it, and holds the LayerFiles by which it found it.
  std::optional<DiffId> rest = {};
};

class LayerStore {
 public:
  virtual ~LayerStore() = default;

  // Checks the files of a layer that was made before the machine last started; see above.
  virtual Result<bool> Has(const DiffId& layer) = 0;
  virtual Result<Layer> Stat(const DiffId& layer) = 0;              // kNotFound
  virtual Result<tree::LayerIndex> Index(const DiffId& layer) = 0;  // kNotFound, kCorrupt
  // The same, not decoded: for tree::LayerIndexReader.
  virtual Result<std::string> EncodedIndex(const DiffId& layer) = 0;
  // …/fs, which is made now if it was not needed before. For a layer that is not here a path where
  // nothing is.
  virtual Result<std::string> Directory(const DiffId& layer) = 0;
  // What the layer itself has at `path`, whiteouts included: type and time.
  struct Found {
    tree::NodeType type;
    Timestamp mtime;
  };
  virtual Result<std::optional<Found>> Find(const DiffId& layer, const RelPath& path) = 0;
  // To read or share single files without that. kCorrupt when a part of the layer is missing.
  virtual Result<LayerFiles> Files(const DiffId& layer) = 0;
  // The layer whose files this one needs, while it has none itself; nothing: it needs none.
  virtual Result<std::optional<DiffId>> RestOf(const DiffId& layer) = 0;
  virtual Result<std::vector<DiffId>> UsersOf(const DiffId& rest) = 0;

  virtual Result<std::unique_ptr<LayerDraft>> NewDraft() = 0;

  // Digests of file contents that the writer of a draft already knows, by path in the draft: they
  // are not hashed a second time.
  using KnownDigests = std::map<std::string, Digest>;

  // Told the diff id of a layer as soon as it is known, before the store looks whether the layer is
  // there and before it shows. Whoever leases it here keeps it, whichever of the two it turns out to
  // be (invariant I5). An error ends the commit.
  using OnNamed = std::function<Status(const DiffId& layer)>;

  // Reads the draft once: tar stream into the diff id, files into the index; then makes it visible.
  // An equal layer that is already there wins and the draft is dropped. Sockets are left out, as
  // are all xattrs but security.capability; names that begin with ".wh." are kInvalid.
  virtual Result<Layer> Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known, const OnNamed& on_named,
                               std::stop_token stop) = 0;

  // The same for a draft whose writer has streamed what it wrote (layer_stream.h): nothing is read.
  virtual Result<Layer> CommitWritten(std::unique_ptr<LayerDraft> draft, WrittenLayer written,
                                      const OnNamed& on_named) = 0;

  // Unpacks an uncompressed tar; kCorrupt if its digest is not `expected`. `below` are the layers
  // under it, lowest first (implicit parent directories take their attributes from them). Names
  // that leave the root, and entries through symlinks, are kept inside or refused (kInvalid), never
  // followed out. `tar` is read by another thread until this returns. A layer that is there already
  // is not unpacked again, and `tar` not read.
  virtual Result<Layer> Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                               std::stop_token stop) = 0;

  // The layer's tar, byte for byte what the diff id names; kCorrupt when the files changed.
  // kInvalid, before anything is written, for a layer that is not Reproducible().
  virtual Status WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) = 0;

  // Whether WriteTar can make the layer's bytes again: always for committed layers, and for
  // unpacked ones when each header and the order were as WriteTar makes them (found out while
  // unpacking). Other layers leave the machine as the blob in which they came.
  virtual Result<bool> Reproducible(const DiffId& layer) = 0;

  // Whether all that belongs to the layer is what it was when it was made; `quick` does not read the
  // contents of its files. kNotFound when it is not there. Nothing is removed.
  virtual Result<bool> Verify(const DiffId& layer, bool quick) = 0;

  // Absent is fine; nobody may have it mounted. Files that other layers need remain until those go.
  virtual Status Remove(const DiffId& layer) = 0;
  // Removes what remained of removed layers, and nobody needs, because a process was killed.
  virtual Status RemoveUnused() = 0;
  virtual Status ForEach(const std::function<Status(const Layer&)>& visit) = 0;

  // Makes all layers durable (syncfs): they need no check after the next start of the machine. For
  // an idle moment.
  virtual Status Sync() = 0;
};

// Opens, creating what is missing, the layers below `root`. Leftovers of killed processes in the
// staging directory are removed.
Result<std::unique_ptr<LayerStore>> OpenLayerStore(const std::string& root);

}  // namespace varve::snapshot
