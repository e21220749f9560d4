#include "exec/needed_layers.h"

#include <algorithm>

#include "base/metric.h"
#include "cache/lease.h"
#include "tree/layer_index.h"

namespace varve::exec {

namespace {

// Where an action writes; nothing: an archive's links may lead anywhere.
std::optional<std::string> TargetOf(const graph::FileAction& action) {
  if (const auto* copy = std::get_if<graph::Copy>(&action)) {
    return copy->unpack ? std::nullopt : std::optional(copy->dest);
  }
  if (const auto* file = std::get_if<graph::MakeFile>(&action)) return file->path;
  if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) return directory->path;
  if (const auto* link = std::get_if<graph::MakeSymlink>(&action)) return link->path;
  return std::nullopt;  // removals take patterns
}

}  // namespace

// By what the whole stack is now. That a directory on the way was a link when the action ran, and was replaced
// later, would take a step that removes it: then the time of a directory may be that of a lower layer.
bool NeededLayers::MayHave(size_t layer, const RelPath& path) {
  auto known = written_.find(layer);
  if (known == written_.end()) {
    std::optional<std::vector<RelPath>> written;
    const auto step = layer < input_.added_by.size() ? input_.added_by[layer] : std::nullopt;
    const auto* op = step ? std::get_if<graph::FileOp>(&graph_.steps[*step].op) : nullptr;
    if (op != nullptr) {
      written.emplace();
      for (const graph::FileAction& action : op->actions) {
        auto target = TargetOf(action);
        if (!target) written.reset();
        if (!target) break;
        written->push_back(RelPath(*target));
        auto resolved = tree::ResolveLinks(job_.trees, input_.rootfs.tree_root, RelPath(*target), true);
        if (!resolved) written.reset();  // a part of the tree is not known here
        if (!resolved) break;
        written->push_back(std::move(*resolved));
      }
    }
    known = written_.emplace(layer, std::move(written)).first;
  }
  if (!known->second) return true;
  // The directories down to it are in the layer too.
  return std::ranges::any_of(*known->second,
                             [&](const RelPath& target) { return path.IsWithin(target) || target.IsWithin(path); });
}

Status NeededLayers::Bring(size_t layer) {
  if (brought_[layer]) return Ok();
  const DiffId& id = input_.rootfs.layers[layer];
  // The lease first: what is found under it stays (invariant I5).
  TRY(job_.lease.Add(id));
  TRY_ASSIGN(bool here, job_.layers.Has(id));
  if (!here) {
    Status brought = job_.bring_layer ? job_.bring_layer(input_.rootfs, layer, sink_, stop_)
                                      : NotFound("layer {} is not here", id.ToString());
    if (!brought) {
      missing_ = !stop_.stop_requested();
      return brought;
    }
    Counter("exec.layers_brought").Add();
  }
  brought_[layer] = true;
  return Ok();
}

std::optional<Timestamp> NeededLayers::KnownTime(const RelPath& directory) const {
  auto known = input_.directories.find(directory);
  return known == input_.directories.end() ? std::nullopt : std::optional(known->second);
}

Result<bool> NeededLayers::Bring(size_t layer, const RelPath& path) {
  if (!MayHave(layer, path)) return false;
  TRY(Bring(layer));
  return true;
}

Result<NeededLayers::Wanted> NeededLayers::WantedBy(const std::vector<tree::Selector>& selectors,
                                                    const std::vector<RelPath>& files) {
  Wanted wanted;
  const Digest& root = input_.rootfs.tree_root;
  for (const tree::Selector& selector : selectors) {
    TRY_ASSIGN(auto matches, tree::FindMatches(job_.trees, root, selector));
    for (const tree::Match& match : matches) {
      auto visit = [&](const RelPath& below, const tree::Node& node) -> Status {
        RelPath path = match.path.Join(below.str());
        if (!path.IsRoot()) {
          wanted.emplace(std::move(path), node.type == tree::NodeType::kFile ? node.digest : Digest());
        }
        return Ok();
      };
      TRY(tree::WalkMatch(job_.trees, selector, match, visit));
      if (!selector.parents) continue;
      for (RelPath at = match.path.Parent(); !at.IsRoot(); at = at.Parent()) wanted.emplace(at, Digest());
    }
  }
  for (const RelPath& file : files) {
    TRY_ASSIGN(RelPath resolved, tree::ResolveLinks(job_.trees, root, file, true));
    TRY_ASSIGN(auto node, tree::Lookup(job_.trees, root, resolved));
    if (node && node->type == tree::NodeType::kFile) wanted.emplace(std::move(resolved), node->digest);
  }
  return wanted;
}

// Whether the layer has something of it, which is then not wanted any more.
Result<bool> NeededLayers::TakeFrom(const DiffId& layer, Wanted& wanted) {
  TRY_ASSIGN(std::string encoded, job_.layers.EncodedIndex(layer));
  TRY_ASSIGN(auto reader, tree::LayerIndexReader::Open(encoded));
  tree::LayerEntry entry;
  bool took = false;
  while (true) {
    TRY_ASSIGN(bool more, reader.Next(&entry));
    if (!more) return took;
    if (entry.whiteout || entry.implicit) continue;
    auto found = wanted.find(entry.path);
    if (found == wanted.end()) continue;
    if (!found->second.empty() && entry.node.digest != found->second) {
      return Corrupt("{} in layer {} is not what the tree says", entry.path.Absolute(), layer.ToString());
    }
    wanted.erase(found);
    took = true;
  }
}

Result<std::vector<DiffId>> NeededLayers::HoldersOf(const std::vector<tree::Selector>& selectors,
                                                    const std::vector<RelPath>& files) {
  TRY_ASSIGN(Wanted wanted, WantedBy(selectors, files));
  const std::vector<DiffId>& stack = input_.rootfs.layers;
  std::vector<DiffId> holders;
  for (size_t n = stack.size(); n-- > 0 && !wanted.empty();) {
    if (std::ranges::none_of(wanted, [&](const auto& entry) { return MayHave(n, entry.first); })) continue;
    TRY(Bring(n));
    TRY_ASSIGN(bool took, TakeFrom(stack[n], wanted));
    if (took) holders.push_back(stack[n]);
  }
  if (!wanted.empty()) {
    return Corrupt("{} is in the tree of a step's result, but in none of its layers", wanted.begin()->first.Absolute());
  }
  std::ranges::reverse(holders);
  return holders;
}

}  // namespace varve::exec
