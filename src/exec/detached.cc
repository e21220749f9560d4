#include "exec/detached.h"

#include <algorithm>
#include <map>
#include <span>

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
  Stack(const Job& job, cache::Rootfs base, std::stop_token stop)
      : job_(job), out_(std::move(base)), stop_(std::move(stop)) {}

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

// One new layer that makes `lower` into `upper`, onto `stack`.
Status AddDiff(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper, Stack& stack,
               std::stop_token stop) {
  TRY_ASSIGN(cache::Rootfs diff, RunDiffStep(job, lower, upper, stop));
  TRY_ASSIGN(LayerIndex index, job.layers.Index(diff.layers[0]));
  return stack.Add(diff.layers[0], index);
}

struct Part {
  DiffId layer;
  LayerIndex index;
  bool as_it_is = true;  // else it is made anew: what it changes of the layers that it was made on
};

Result<std::vector<Part>> PartsOf(const Job& job, std::span<const DiffId> layers) {
  std::vector<Part> parts;
  for (const DiffId& layer : layers) {
    TRY_ASSIGN(LayerIndex index, job.layers.Index(layer));
    parts.push_back({layer, std::move(index)});
  }
  return parts;
}

// The layers of `step` that were made on `below`, onto `stack`.
Status AddParts(const Job& job, graph::StepIndex step, cache::Rootfs below, const std::vector<Part>& parts,
                Stack& stack, std::stop_token stop) {
  // What is below a layer is of interest up to the last one that is made anew.
  size_t made = parts.size();
  while (made > 0 && parts[made - 1].as_it_is) --made;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Part& part = parts[i];
    cache::Rootfs above;
    if (i < made) {
      TRY_ASSIGN(above, WithLayer(job, below, part.layer, part.index));
    }
    const bool left_out = i + 1 < parts.size() && IsOnlyBelow(part.index, parts[i + 1].index);
    if (!left_out && part.as_it_is) TRY(stack.Add(part.layer, part.index));
    if (!left_out && !part.as_it_is) {
      TRY(AddDiff(job, {.step = step, .rootfs = below}, {.step = step, .rootfs = above}, stack, stop));
    }
    below = std::move(above);
  }
  return Ok();
}

}  // namespace

Result<cache::Rootfs> DiffInputs(const Job& job, const engine::RunInput& lower, const engine::RunInput& upper,
                                 std::stop_token stop) {
  const auto &below = lower.rootfs.layers, &all = upper.rootfs.layers;
  Stack stack(job, Scratch(), stop);
  if (all.size() < below.size() || !std::equal(below.begin(), below.end(), all.begin())) {
    TRY(AddDiff(job, lower, upper, stack, stop));
    return stack.Take();
  }
  TRY_ASSIGN(std::vector<Part> parts, PartsOf(job, std::span(all).subspan(below.size())));
  cache::Rootfs at = lower.rootfs;
  for (Part& part : parts) {
    TRY_ASSIGN(part.as_it_is, SaysOnlyWhatDiffers(job, at, part.index));
    TRY_ASSIGN(at, WithLayer(job, at, part.layer, part.index));
  }
  TRY(AddParts(job, upper.step, lower.rootfs, parts, stack, stop));
  return stack.Take();
}

Result<cache::Rootfs> MergeInputs(const Job& job, const std::vector<engine::RunInput>& inputs, std::stop_token stop) {
  if (inputs.empty()) return Scratch();
  METRIC("exec.merge_step");
  Stack stack(job, inputs[0].rootfs, stop);
  for (const engine::RunInput& input : std::span(inputs).subspan(1)) {
    TRY_ASSIGN(std::vector<Part> parts, PartsOf(job, input.rootfs.layers));
    for (Part& part : parts) part.as_it_is = !HidesAll(part.index);
    TRY(AddParts(job, input.step, Scratch(), parts, stack, stop));
  }
  return stack.Take();
}

}  // namespace varve::exec
