// Layers whose files are made when somebody asks for them.
//
// A COPY of 100,000 files of which one has changed gives the layer of the last build but for one file.
// To make it takes 18,000 directories and 100,000 hard links, a third of the CPU of such a step, and
// often for nothing: an image that is pushed needs the tar, and the next build needs the index. So such
// a layer is kept as what it does not share, and a reference to the layer that has the rest:
//
//   index, size, meta  as any layer has them (layer_store.h)
//   lazy               {"version":1,"rest":"<diff id>","times":"<digest of the file>"}
//   times              the mtime of each entry of the index, in its order: i64, nanoseconds, little-endian
//   own/               the regular files that the rest does not have, each at its path. The directories
//                      that they lie in say nothing
//
// and no fs/. Every other regular file is in fs/ of the rest at the same path, equal in content, mode,
// owner and time; directories and symlinks are in the index. What such a list cannot say (whiteouts,
// opaque and implicit directories, devices, hard links within the layer, attributes) is in no lazy
// layer: whoever makes a layer makes it whole then.
//
// Depth is one. The rest is never lazy: a layer made after a lazy one refers to the same rest and has,
// as hard links, those of its own files that it shares.
//
// The tar is made straight from these files. For everything else MakeWhole() makes fs/ beside `lazy`:
// in the staging directory, with hard links, shown by one rename. A layer is lazy as long as it has no
// fs/. What fs/ was made from goes then, unless somebody is reading it (a shared lock on `lazy`) or the
// process is killed just there; `lazy` goes last.
//
// What keeps the rest. A layer that others refer to has a directory `users` with an empty file for each
// of them, named by its diff id. It is written before the other layer shows, so it may name too many,
// never too few; a user counts while it has a file `lazy` that refers to this layer. When a layer goes that
// has users, its directory is moved to <root>/remains/<diff id hex>/ (or below that, when it comes and
// goes again) and is no layer any more; it goes with the last of them. Moving a layer away, and writing
// a user with the rename that shows it, exclude each other (<root>/staging/lazy.lock). Who makes a lazy
// layer has leased the rest, too: it is then still there when a fresh layer turns out to need it.
//
// A layer is checked after a crash of the machine by its tar, and so are the files that it refers to.
//
// Safe from any thread and from several processes on one root.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/result.h"
#include "snapshot/layer_files.h"
#include "snapshot/staging.h"
#include "sys/flock.h"

namespace varve::snapshot {

class LazyLayers {
 public:
  LazyLayers(const std::string& root, Staging& staging) : root_(root), staging_(staging) {}

  // Whether the layer is there and has no fs/ yet.
  bool IsLazy(const DiffId& layer) const;
  // The layer whose files must stay for this one; nothing: it needs none.
  Result<std::optional<DiffId>> RestOf(const DiffId& layer) const;
  // Those for which the files of `rest` must stay.
  Result<std::vector<DiffId>> UsersOf(const DiffId& rest) const;

  // kCorrupt when a part is missing, of the layer or of the rest.
  Result<LayerFiles> Open(const DiffId& layer) const;
  // Of a lazy layer.
  Result<ListedLayer> List(const DiffId& layer) const;
  Result<std::optional<UpperEntry>> Find(const DiffId& layer, const RelPath& path) const;

  // Makes fs/. `before_show` is called just before it shows.
  Status MakeWhole(const DiffId& layer, const std::function<Status()>& before_show);

  // Turns a draft with its files in fs/ into one of a lazy layer. The index lies there already.
  Status Prepare(const std::string& draft, const DiffId& rest, const std::vector<std::string>& times);

  // Holds the rest while `layer`, prepared with it, is given its name. kNotFound when it is gone.
  Result<sys::FlockGuard> Refer(const DiffId& layer, const DiffId& rest);

  // Moves a layer out of sight, away to a path in the staging directory that the caller removes;
  // nothing when it is not there, or when its files remain because others need them.
  Result<std::optional<std::string>> TakeAway(const DiffId& layer);

  // Removes what remains of removed layers and nobody refers to any more: a process was killed, or
  // read them when they were no longer needed.
  Status RemoveUnused();

 private:
  std::string PathOf(const DiffId& layer) const { return root_ + "/layers/" + layer.Hex(); }
  std::string RemainsOf(const DiffId& layer) const { return root_ + "/remains/" + layer.Hex(); }
  Result<sys::FlockGuard> Lock(sys::LockMode mode) const;
  Result<std::string> BodyOf(const DiffId& rest) const;
  Result<LayerFiles> OpenLazy(const std::string& path) const;
  using Visit = std::function<Result<bool>(UpperEntry)>;  // false: that is enough
  Status ForEach(const DiffId& layer, const Visit& visit) const;
  Status Forget(const DiffId& layer);
  bool Uses(const DiffId& layer, const DiffId& rest) const;
  Result<std::vector<DiffId>> LiveUsers(const std::string& body, const DiffId& rest) const;
  Status Build(const DiffId& layer, const std::string& directory) const;
  Status DropUser(const DiffId& layer, const DiffId& rest);
  Status RemoveIfUnused(const DiffId& rest);

  const std::string root_;
  Staging& staging_;
};

}  // namespace varve::snapshot
