#include "exec/foresee.h"

#include <algorithm>
#include <ranges>

#include "base/metric.h"
#include "exec/destination.h"
#include "exec/file_mode.h"
#include "exec/tree_copy.h"
#include "sandbox/user.h"
#include "tree/layer_index.h"
#include "tree/selection.h"

namespace varve::exec {

namespace {

using tree::Node;
using tree::NodeType;

class Foreseen {
 public:
  Foreseen(tree::TreeStore& trees, const graph::FileOp& op, const std::vector<cache::Rootfs>& inputs,
           const ReadInputFile& read)
      : trees_(trees), op_(op), inputs_(inputs), read_(read), layer_(trees, tree::EmptyTree()),
        merged_(trees, op.base < 0 ? tree::EmptyTree() : inputs[static_cast<size_t>(op.base)].tree_root) {}

  // False: it cannot be told.
  Result<bool> Do(const graph::FileAction& action) {
    return std::visit([this](const auto& what) { return Do(what); }, action);
  }

  Result<ForeseenFiles> Finish() {
    TRY_ASSIGN(Digest tree, layer_.Commit());
    TRY_ASSIGN(Digest merged, merged_.Commit());
    ForeseenFiles made{.content = {.digest = {}, .tree = tree},
                       .tree_root = merged,
                       .index = {},
                       .copied_from = std::move(copied_from_)};
    TRY(List(tree, RelPath(), made.index));
    for (const tree::LayerEntry& entry : made.index) made.content.has_xattrs |= !entry.node.xattrs.empty();
    made.content.digest = Digest::Of(tree::EncodeLayerIndex(made.index));
    return made;
  }

 private:
  // As the layer's own index has it (snapshot): in the order of a walk.
  Status List(const Digest& digest, const RelPath& at, tree::LayerIndex& index) {
    TRY_ASSIGN(auto directory, tree::GetDirectory(trees_, digest));
    for (const Node& node : directory->entries) {
      tree::LayerEntry entry{.path = at.Join(node.name), .node = node};
      entry.node.name.clear();
      if (node.IsDirectory()) entry.node.digest = Digest();
      index.push_back(entry);
      if (node.IsDirectory()) TRY(List(node.digest, entry.path, index));
    }
    return Ok();
  }

  // Nothing: a name that cannot be looked up here.
  std::optional<Ownership> OwnerOf(const graph::Owner& owner) {
    std::string spec = owner.group.empty() ? owner.user : owner.user + ":" + owner.group;
    std::string passwd, group;
    bool numeric = spec.find_first_not_of("0123456789:") == spec.npos;
    int from = owner.names_of >= 0 ? owner.names_of : op_.base;
    if (!numeric) {
      if (from < 0) return std::nullopt;
      auto names = read_(inputs_[static_cast<size_t>(from)], "etc/passwd");
      auto groups = read_(inputs_[static_cast<size_t>(from)], "etc/group");
      if (!names || !groups) return std::nullopt;
      passwd = *names, group = *groups;
    }
    auto user = sandbox::ResolveChownUser(spec, passwd, group);
    return user ? std::optional(Ownership{user->uid, user->gid}) : std::nullopt;
  }

  static Node Directory(uint32_t mode, const Ownership& owner, tree::Xattrs xattrs = {}) {
    return {
        .type = NodeType::kDirectory, .mode = mode, .uid = owner.uid, .gid = owner.gid, .xattrs = std::move(xattrs)};
  }

  Status Put(const RelPath& path, const Node& node) {
    TRY(layer_.Put(path, node));
    return merged_.Put(path, node);
  }

  Result<RelPath> Resolve(const RelPath& path, bool follow_last) { return FollowLinks(path, follow_last, look_up_); }

  // As LayerWriter::Directory. False: something else is in the way.
  Result<bool> MakeDirectory(const RelPath& path, const Node& missing) {
    RelPath at;
    for (std::string_view part : path.Parts()) {
      at = at.Join(part);
      TRY_ASSIGN(auto there, merged_.Lookup(at));
      if (there && !there->IsDirectory()) return false;
      TRY_ASSIGN(auto written, layer_.Lookup(at));
      if (written) continue;
      if (there) {
        there->digest = Digest();  // its children stay below
        TRY(layer_.Put(at, *there));
      } else {
        TRY(Put(at, missing));
      }
    }
    return true;
  }

  Result<bool> PutFile(const RelPath& path, Node node) {
    TRY_ASSIGN(auto there, merged_.Lookup(path));
    if (there && there->IsDirectory()) return false;
    node.name.clear();
    TRY(Put(path, node));
    return true;
  }

  Result<bool> Do(const graph::Copy& action) {
    if (action.unpack || action.replace) return false;
    Ownership parents_owner;
    std::optional<Ownership> owner;
    if (action.owner.given()) {
      owner = OwnerOf(action.owner);
      if (!owner) return false;
      parents_owner = *owner;
    }
    TRY_ASSIGN(FileMode mode, FileMode::Parse(action.mode));
    const Digest& source = inputs_[static_cast<size_t>(action.input)].tree_root;
    if (source.empty()) return false;
    const Node parents = Directory(mode.OfMadeDirectories(), parents_owner);
    TRY_ASSIGN(auto matches, tree::FindMatches(trees_, source, action.from));
    for (const tree::Match& match : matches) {
      TRY_ASSIGN(bool told, CopyMatch(action, source, match, parents, owner, mode));
      if (!told) return false;
    }
    if (!matches.empty() || !action.from.parents) return true;
    TRY_ASSIGN(RelPath dest, FollowLinks(RelPath(action.dest), action.follow_dest_links, look_up_));
    TRY_ASSIGN(auto there, merged_.Lookup(dest));
    return there ? Result<bool>(true) : MakeDirectory(dest, parents);
  }

  static Node WithAttributes(Node node, const std::optional<Ownership>& owner, const FileMode& mode) {
    // A symlink has no mode of its own.
    if (node.type != NodeType::kSymlink) node.mode = mode.Apply(node.mode, node.IsDirectory());
    if (owner) node.uid = owner->uid, node.gid = owner->gid;
    node.name.clear();
    if (node.IsDirectory()) node.digest = Digest();
    return node;
  }

  // As TreeCopy::CopyMatch.
  Result<bool> CopyMatch(const graph::Copy& action, const Digest& source, const tree::Match& match, const Node& parents,
                         const std::optional<Ownership>& owner, const FileMode& mode) {
    TRY_ASSIGN(RelPath dest, Destination(action, match, look_up_));
    if (action.from.parents) {
      TRY_ASSIGN(bool made, MakeSourceParents(source, match, dest, parents, owner, mode));
      if (!made) return false;
    }
    bool told = true;
    auto visit = [&](const RelPath& below, const Node& node) -> Status {
      if (!told) return Ok();
      RelPath at = dest.Join(below.str());
      if (below.IsRoot()) {
        TRY_ASSIGN(told, MakeDirectory(dest.Parent(), parents));
        if (!told) return Ok();
      }
      if (!node.IsDirectory()) {
        if (node.type == NodeType::kSocket) return Ok();
        TRY_ASSIGN(told, PutFile(at, WithAttributes(node, owner, mode)));
        copied_from_.insert_or_assign(at.str(), std::pair(action.input, match.path.Join(below.str())));
        return Ok();
      }
      // The top directory of a copy of contents keeps what it has if it exists.
      bool top = below.IsRoot() && action.contents_only && !action.from.parents;
      Node wanted = top ? parents : WithAttributes(node, owner, mode);
      TRY_ASSIGN(auto there, merged_.Lookup(at));
      TRY_ASSIGN(told, MakeDirectory(at, wanted));
      if (!told || top || !there) return Ok();
      // Its extended attributes are added to those that it has.
      for (auto& [name, value] : there->xattrs) {
        if (std::ranges::none_of(wanted.xattrs, [&](const auto& x) { return x.first == name; })) {
          wanted.xattrs.emplace_back(name, value);
        }
      }
      std::ranges::sort(wanted.xattrs);
      return Put(at, wanted);
    };
    TRY(tree::WalkMatch(trees_, action.from, match, visit));
    return told;
  }

  Result<bool> MakeSourceParents(const Digest& source, const tree::Match& match, const RelPath& dest, const Node& above,
                                 const std::optional<Ownership>& owner, const FileMode& mode) {
    std::vector<std::pair<RelPath, RelPath>> taken;  // in the source, at the destination
    RelPath from = match.path.Parent(), to = dest.Parent();
    for (auto count = std::ranges::count(match.dest_name, '/'); count > 0; --count) {
      taken.emplace_back(from, to);
      from = from.Parent();
      to = to.Parent();
    }
    TRY_ASSIGN(bool made, MakeDirectory(to, above));
    for (const auto& [path, target] : std::views::reverse(taken)) {
      TRY_ASSIGN(auto there, merged_.Lookup(target));
      TRY_ASSIGN(auto node, tree::Lookup(trees_, source, path));
      if (!made || there || !node || !node->IsDirectory()) continue;
      TRY_ASSIGN(made, MakeDirectory(target, WithAttributes(*node, owner, mode)));
    }
    return made;
  }

  Result<bool> Do(const graph::MakeFile& action) {
    return Make(action.owner, action.path, true,
                {.mode = action.mode, .size = action.data.size(), .digest = Digest::Of(action.data)});
  }
  Result<bool> Do(const graph::MakeSymlink& action) {
    return Make(action.owner, action.path, false, {.type = NodeType::kSymlink, .mode = 0777, .target = action.target});
  }
  Result<bool> Make(const graph::Owner& wanted, const std::string& to, bool follow, Node node) {
    Ownership owner;
    if (wanted.given()) {
      auto found = OwnerOf(wanted);
      if (!found) return false;
      owner = *found;
    }
    node.uid = owner.uid, node.gid = owner.gid;
    TRY_ASSIGN(RelPath path, Resolve(RelPath(to), follow));
    TRY_ASSIGN(auto parent, merged_.Lookup(path.Parent()));
    if (!parent) return false;
    TRY_ASSIGN(bool made, MakeDirectory(path.Parent(), {}));
    if (!made) return false;
    return PutFile(path, std::move(node));
  }
  Result<bool> Do(const graph::MakeDirectory& action) {
    Ownership owner;
    if (action.owner.given()) {
      auto found = OwnerOf(action.owner);
      if (!found) return false;
      owner = *found;
    }
    TRY_ASSIGN(RelPath path, Resolve(RelPath(action.path), true));
    TRY_ASSIGN(auto there, merged_.Lookup(path));
    if (there && there->IsDirectory()) return true;
    return MakeDirectory(path, Directory(action.mode, owner));
  }
  Result<bool> Do(const graph::Remove&) { return false; }

  tree::TreeStore& trees_;
  const graph::FileOp& op_;
  const std::vector<cache::Rootfs>& inputs_;
  const ReadInputFile& read_;
  std::map<std::string, std::pair<int, RelPath>> copied_from_;
  tree::TreeEditor layer_;   // what it adds
  tree::TreeEditor merged_;  // with what is below
  const LookUp look_up_ = [this](const RelPath& path) { return merged_.Lookup(path); };
};

}  // namespace

Result<std::optional<ForeseenFiles>> ForeseeLayer(tree::TreeStore& trees, const graph::FileOp& op,
                                                  const std::vector<cache::Rootfs>& inputs, const ReadInputFile& read) {
  METRIC("exec.foresee");
  if (op.base >= 0 && inputs[static_cast<size_t>(op.base)].tree_root.empty()) return std::nullopt;
  Foreseen foreseen(trees, op, inputs, read);
  for (const graph::FileAction& action : op.actions) {
    auto told = foreseen.Do(action);
    if (!told && told.error().code == Code::kCorrupt) return std::move(told).error();
    if (!told || !*told) return std::nullopt;
  }
  TRY_ASSIGN(ForeseenFiles made, foreseen.Finish());
  return std::optional(std::move(made));
}

}  // namespace varve::exec
