// Where the regular files of a layer are, for those who read or share them and need no directory.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/fd.h"
#include "snapshot/upper_walk.h"

namespace varve::snapshot {

struct LayerFiles {
  DiffId whole;  // the layer of `rest`: this one, or for a lazy layer the one that it refers to
  Fd rest;       // that layer's fs/
  Fd own = {};   // of a lazy layer (lazy_layers.h): what the other one does not have
  std::set<std::string, std::less<>> own_paths = {};
  Fd hold = {};  // of a lazy layer: keeps them from going when somebody makes the layer whole

  bool lazy() const { return static_cast<bool>(own); }
  bool IsOwn(std::string_view path) const { return own_paths.contains(path); }
  // What `path` is to be opened in.
  int RootOf(std::string_view path) const { return IsOwn(path) ? own.get() : rest.get(); }
};

// A layer as its tar is made from it.
struct ListedLayer {
  LayerFiles files;
  std::vector<UpperEntry> entries;
};

}  // namespace varve::snapshot
