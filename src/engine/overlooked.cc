#include "engine/overlooked.h"

#include <algorithm>

#include "tree/merged_layers.h"

namespace varve::engine {

namespace {

bool Merges(const std::optional<tree::Node>& node) { return node && node->IsDirectory() && !tree::HidesBelow(*node); }

bool IsAbsent(const tree::Entry& entry) { return (entry.facets & tree::kAbsent) != 0; }

}  // namespace

// The entry of a directory at `path` that the stack had and has; null where it has none.
Result<const tree::Entry*> Overlooked::WatchOver(size_t stack, const std::string& path) {
  auto entry = std::ranges::lower_bound(notes_[stack], path, tree::WalksBefore, &tree::Entry::path);
  if (entry == notes_[stack].end() || entry->path != path) return nullptr;
  if (!tree::WasMerged(*entry) || (entry->facets & tree::kSubtree) != 0) return nullptr;
  TRY_ASSIGN(auto now, tree::Lookup(trees_, stacks_[stack].merged, RelPath(path)));
  return Merges(now) ? &*entry : nullptr;
}

// Whether nothing that the stack's new directory `now` holds was asked of another stack, which had it.
Result<bool> Overlooked::IsUnasked(size_t stack, const tree::Entry& watched, size_t watch, const tree::Node& now) {
  TRY_ASSIGN(auto directory, tree::GetDirectory(trees_, now.digest));
  if ((watched.facets & tree::kList) != 0 && !directory->entries.empty()) return false;
  const tree::ReadSet& notes = notes_[watch];
  const std::string below = watched.path.empty() ? "" : watched.path + "/";
  for (auto entry = notes.begin() + (&watched - notes.data()) + 1;
       entry != notes.end() && entry->path.starts_with(below); ++entry) {
    TRY_ASSIGN(auto brought, tree::Lookup(trees_, stacks_[stack].merged, RelPath(entry->path)));
    if (brought) return false;
  }
  return true;
}

// Whether the stack's new directory covers one of the same attributes, of the layers between it and the next
// stack or of that, and of those between, whose answers nobody notes, none has a say in what it holds.
Result<bool> Overlooked::LooksAsBefore(size_t stack, const std::string& path, const tree::Node& now) {
  if (!stacks_[stack].between) return false;
  TRY_ASSIGN(auto directory, tree::GetDirectory(trees_, now.digest));
  TRY_ASSIGN(auto covered, tree::Lookup(trees_, stacks_[stack - 1].merged, RelPath(path)));
  for (const DiffId& layer : *stacks_[stack].between) {
    TRY_ASSIGN(LayerContent content, runner_.ContentOf(layer, true));
    if (!content.tree) return false;  // it removes something
    TRY_ASSIGN(auto here, tree::Lookup(trees_, *content.tree, RelPath(path)));
    if (!here) continue;
    if (!here->IsDirectory()) return false;
    covered = std::move(here);
    for (const tree::Node& entry : directory->entries) {
      TRY_ASSIGN(auto native, tree::Lookup(trees_, *content.tree, RelPath(path).Join(entry.name)));
      if (native) return false;
    }
  }
  return covered && covered->mode == now.mode && covered->uid == now.uid && covered->gid == now.gid &&
         covered->xattrs == now.xattrs;
}

Result<bool> Overlooked::IsOne(size_t stack, const tree::Entry& entry, const std::optional<tree::Node>& now) {
  // It may come, go, or look different; as long as it lists the same.
  if (!IsAbsent(entry) && !tree::WasMerged(entry)) return false;
  if ((now && !Merges(now)) || (entry.facets & (tree::kXattr | tree::kSubtree)) != 0) return false;
  if ((entry.facets & tree::kList) != 0) {
    tree::Node empty{.type = tree::NodeType::kDirectory, .digest = tree::EmptyTree()};
    TRY_ASSIGN(std::string names, tree::Answer(trees_, now ? *now : empty, tree::kList));
    if (!entry.answer.ends_with(names)) return false;
  }
  for (size_t upper = stack + 1; upper < stacks_.size(); ++upper) {
    TRY_ASSIGN(const tree::Entry* watched, WatchOver(upper, entry.path));
    if (watched == nullptr) continue;
    if (!IsAbsent(entry)) return true;
    return IsUnasked(stack, *watched, upper, *now);
  }
  if (!IsAbsent(entry) || stack == 0) return false;
  TRY_ASSIGN(const tree::Entry* watched, WatchOver(stack - 1, entry.path));
  if (watched == nullptr) return false;
  TRY_ASSIGN(bool same, LooksAsBefore(stack, entry.path, *now));
  if (!same) return false;
  return IsUnasked(stack, *watched, stack - 1, *now);
}

}  // namespace varve::engine
