#include "previous/layer_evidence.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "previous/file_result.h"

namespace varve::previous {

namespace {

std::vector<RelPath> DestinationsOf(const std::vector<const graph::FileOp*>& ops) {
  std::vector<RelPath> out;
  for (const graph::FileOp* op : ops) {
    for (const graph::FileAction& action : op->actions) {
      if (const auto* copy = std::get_if<graph::Copy>(&action)) out.emplace_back(copy->dest);
      if (const auto* dir = std::get_if<graph::MakeDirectory>(&action)) out.emplace_back(dir->path);
      if (const auto* file = std::get_if<graph::MakeFile>(&action)) out.emplace_back(file->path);
    }
  }
  return out;
}

bool OnlyMakesDirectories(const std::vector<const graph::FileOp*>& ops) {
  return std::ranges::all_of(ops, [](const graph::FileOp* op) {
    return std::ranges::all_of(op->actions, [](const graph::FileAction& action) {
      return std::holds_alternative<graph::MakeDirectory>(action);
    });
  });
}

bool IsNumber(const std::string& text) {
  return std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

graph::FileOp WithOwner(const graph::FileOp& op, uint32_t uid, uint32_t gid) {
  graph::FileOp out = op;
  for (graph::FileAction& action : out.actions) {
    std::visit(
        [&](auto& a) {
          if constexpr (requires { a.owner; }) {
            if (IsNumber(a.owner.user) && IsNumber(a.owner.group)) return;
            a.owner = {std::to_string(uid), std::to_string(gid)};
          }
        },
        action);
  }
  return out;
}

Result<std::string> FirstDifference(tree::TreeStore& trees, const Digest& of_image, const Digest& made) {
  if (of_image == made) return std::string();
  TRY_ASSIGN(auto differences, tree::Compare(trees, of_image, made, RelPath(), 1));
  if (differences.empty()) return std::string("the image's layer has other files");
  return fmt::format("{} is not as in the image ({})", differences[0].path.Absolute(),
                     tree::DifferenceName(differences[0].kind));
}

Result<Evidence> JudgeLayer(tree::TreeStore& trees, const tree::LayerIndex& layer,
                            const std::vector<const graph::FileOp*>& ops,
                            const std::vector<std::vector<std::optional<Digest>>>& inputs) {
  // What is hidden below cannot be told from here.
  for (const tree::LayerEntry& entry : layer) {
    if (entry.whiteout || entry.opaque) return Evidence{};
  }
  // Directories that were there before.
  if (layer.empty() && OnlyMakesDirectories(ops)) return Evidence{Evidence::Kind::kSame, ""};
  const std::vector<RelPath> destinations = DestinationsOf(ops);
  std::set<std::string> on_the_way;
  auto note_parents = [&](RelPath path) {
    while (!path.IsRoot()) {
      path = path.Parent();
      on_the_way.insert(path.str());
    }
  };
  for (const RelPath& dest : destinations) note_parents(dest);
  for (const tree::LayerEntry& entry : layer) {
    if (!entry.node.IsDirectory()) note_parents(entry.path);
  }
  tree::LayerIndex below;
  for (const tree::LayerEntry& entry : layer) {
    if (entry.node.IsDirectory() && on_the_way.contains(entry.path.str())) below.push_back(entry);
  }
  TRY_ASSIGN(Digest made, tree::ApplyLayer(trees, tree::EmptyTree(), below));
  TRY_ASSIGN(Digest of_image, tree::ApplyLayer(trees, tree::EmptyTree(), layer));
  auto file = std::ranges::find_if(layer, [](const auto& entry) { return !entry.node.IsDirectory(); });
  const tree::Node owner = file == layer.end() ? tree::Node() : file->node;
  for (size_t i = 0; i < ops.size(); ++i) {
    TRY_ASSIGN(FileResult result, ApplyFileOp(trees, WithOwner(*ops[i], owner.uid, owner.gid), made, inputs[i]));
    if (!result.tree) return Evidence{Evidence::Kind::kDiffers, std::move(result.unknown)};
    made = *result.tree;
  }
  TRY_ASSIGN(std::string difference, FirstDifference(trees, of_image, made));
  if (difference.empty()) return Evidence{Evidence::Kind::kSame, ""};
  for (const RelPath& dest : destinations) {
    TRY_ASSIGN(auto there, tree::Lookup(trees, of_image, dest));
    if (!there) return Evidence{};
  }
  return Evidence{Evidence::Kind::kDiffers, std::move(difference)};
}

}  // namespace varve::previous
