#include "exec/detached.h"

#include <algorithm>
#include <map>

#include "base/metric.h"
#include "exec/diff_step.h"
#include "exec/layer_writer.h"

namespace varve::exec {

namespace {

using tree::LayerEntry;
using tree::LayerIndex;
using tree::Node;

cache::Rootfs Scratch() { return {{}, tree::EmptyTree()}; }

bool HidesAll(const LayerIndex& index) { return std::ranges::any_of(index, &LayerEntry::opaque); }

// Whether every entry changes something of `below`.
Result<bool> SaysOnlyWhatDiffers(const Job& job, const cache::Rootfs& below, const LayerIndex& index) {
  if (HidesAll(index)) return false;
  for (const LayerEntry& entry : index) {
    if (entry.whiteout || entry.node.IsDirectory()) continue;
    TRY_ASSIGN(auto was, tree::Lookup(job.trees, below.tree_root, entry.path));
    if (!was) continue;
    was->name = entry.node.name;
    if (*was == entry.node) return false;
  }
  return true;
}

// A file system, and layers of others on it.
class Stack {
 public:
  Stack(const Job& job, cache::Rootfs base, std::stop_token stop) : job_(job), out_(std::move(base)), stop_(std::move(stop)) {}

  Status Add(const DiffId& layer, const LayerIndex& index) {
    std::map<RelPath, const Node*> missing;
    bool removes = false;
    for (const LayerEntry& entry : index) {
      removes = removes || entry.whiteout;
      if (!entry.whiteout || entry.path.Parent().IsRoot()) continue;
      TRY_ASSIGN(auto there, tree::Lookup(job_.trees, out_.tree_root, entry.path.Parent()));
      if (!there || !there->IsDirectory()) missing[entry.path.Parent()] = nullptr;
    }
    // The lowest layer's root directory is the only one that overlayfs does not merge by itself.
    if (!missing.empty() || (removes && out_.layers.empty())) {
      for (const LayerEntry& entry : index) {
        auto directory = missing.find(entry.path);
        if (directory != missing.end() && entry.node.IsDirectory()) directory->second = &entry.node;
      }
      TRY(AddDirectories(missing));
    }
    TRY_ASSIGN(out_, WithLayer(job_, out_, layer, index));
    return Ok();
  }

  cache::Rootfs Take() { return std::move(out_); }

 private:
  Status AddDirectories(const std::map<RelPath, const Node*>& directories) {
    TRY_ASSIGN(auto draft, job_.layers.NewDraft());
    LayerWriter writer(job_.layers, job_.trees, out_, *draft);
    const Attributes plain{.mtime = Timestamp{0}};
    for (const auto& [path, node] : directories) {
      Attributes attributes = plain;
      if (node != nullptr) {
        attributes.mode = node->mode;
        attributes.uid = node->uid;
        attributes.gid = node->gid;
        attributes.xattrs = node->xattrs;
      }
      TRY(MakeWay(writer, path));
      TRY(writer.Directory(path, plain));
      TRY(writer.SetDirectory(path, attributes));
    }
    TRY(writer.Finish());
    TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job_, std::move(draft), {}, stop_));
    TRY_ASSIGN(out_, WithLayer(job_, out_, layer.diff_id));
    return Ok();
  }

  // What is no directory, on the way to `path` too, is replaced by one.
  static Status MakeWay(LayerWriter& writer, const RelPath& path) {
    if (!path.Parent().IsRoot()) TRY(MakeWay(writer, path.Parent()));
    TRY_ASSIGN(auto there, writer.Lookup(path));
    if (there && !there->IsDirectory()) TRY(writer.Remove(path));
    return Ok();
  }

  const Job& job_;
  cache::Rootfs out_;
  const std::stop_token stop_;
};

// Directories alone, all of which the next layer has as well: what Stack::Add may have put there.
bool IsOnlyBelow(const LayerIndex& index, const LayerIndex& next) {
  if (!std::ranges::any_of(next, &LayerEntry::whiteout)) return false;
  return std::ranges::all_of(index, [&](const LayerEntry& entry) {
    if (entry.whiteout || entry.opaque || !entry.node.IsDirectory()) return false;
    return std::ranges::any_of(next, [&](const LayerEntry& other) {
      return other.path == entry.path && !other.whiteout && other.node.IsDirectory();
    });
  });
}

// The layers of `input` from number `from` on, onto `stack`.
Status AddLayers(const Job& job, const engine::RunInput& input, size_t from, Stack& stack, std::stop_token stop) {
  const auto& layers = input.rootfs.layers;
  cache::Rootfs below = Scratch();
  std::vector<LayerIndex> indexes;
  for (const DiffId& layer : layers) {
    TRY_ASSIGN(indexes.emplace_back(), job.layers.Index(layer));
  }
  // What is below a layer is of interest up to the last one that is to be made anew.
  size_t hiding = 0;
  for (size_t i = from; i < layers.size(); ++i) {
    if (HidesAll(indexes[i])) hiding = i + 1;
  }
  for (size_t i = hiding > 0 ? 0 : from; i < layers.size(); ++i) {
    cache::Rootfs above;
    if (i < hiding) {
      TRY_ASSIGN(above, WithLayer(job, below, layers[i], indexes[i]));
    }
    const bool left_out = i < from || (i + 1 < layers.size() && IsOnlyBelow(indexes[i], indexes[i + 1]));
    if (!left_out && HidesAll(indexes[i])) {
      TRY_ASSIGN(cache::Rootfs diff, RunDiffStep(job, {.step = input.step, .rootfs = below},
                                                 {.step = input.step, .rootfs = above}, stop));
      TRY_ASSIGN(LayerIndex index, job.layers.Index(diff.layers[0]));
      TRY(stack.Add(diff.layers[0], index));
    } else if (!left_out) {
      TRY(stack.Add(layers[i], indexes[i]));
    }
    below = std::move(above);
  }
  return Ok();
}

}  // namespace

Result<cache::Rootfs> DiffInputs(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper,
                                 std::stop_token stop) {
  const auto &below = lower.rootfs.layers, &all = upper.rootfs.layers;
  bool as_they_are = all.size() >= below.size() && std::equal(below.begin(), below.end(), all.begin());
  cache::Rootfs at = lower.rootfs;
  for (size_t i = below.size(); as_they_are && i < all.size(); ++i) {
    TRY_ASSIGN(LayerIndex index, job.layers.Index(all[i]));
    TRY_ASSIGN(as_they_are, SaysOnlyWhatDiffers(job, at, index));
    TRY_ASSIGN(at, WithLayer(job, at, all[i], index));
  }
  Stack stack(job, Scratch(), stop);
  if (as_they_are) {
    TRY(AddLayers(job, upper, below.size(), stack, stop));
    return stack.Take();
  }
  TRY_ASSIGN(cache::Rootfs diff, RunDiffStep(job, lower, upper, stop));
  TRY_ASSIGN(LayerIndex index, job.layers.Index(diff.layers[0]));
  TRY(stack.Add(diff.layers[0], index));
  return stack.Take();
}

Result<cache::Rootfs> MergeInputs(const Job& job, const std::vector<engine::RunInput>& inputs, std::stop_token stop) {
  if (inputs.empty()) return Scratch();
  METRIC("exec.merge_step");
  Stack stack(job, inputs[0].rootfs, stop);
  for (size_t i = 1; i < inputs.size(); ++i) TRY(AddLayers(job, inputs[i], 0, stack, stop));
  return stack.Take();
}

}  // namespace varve::exec
