#include "previous/file_result.h"

#include "base/strings.h"
#include "tree/selection.h"

namespace varve::previous {

namespace {

using graph::FileAction;
using tree::Node;
using tree::NodeType;

struct Attributes {
  std::optional<uint32_t> mode;                        // --chmod
  std::optional<std::pair<uint32_t, uint32_t>> owner;  // --chown
};

std::optional<uint32_t> Number(const std::string& text, int base, int64_t most) {
  auto value = ParseInt(text, base);
  if (!value || *value < 0 || *value > most) return {};
  return static_cast<uint32_t>(*value);
}

// Whether ADD unpacks a file is decided by its bytes, which trees do not have. What does not even
// have an archive's name is taken for a file that is copied: if it was unpacked, the trees differ.
bool LooksLikeArchive(std::string_view name) {
  for (std::string_view suffix : {".tgz", ".tbz", ".tbz2", ".txz", ".tzst", ".gz", ".bz2", ".xz", ".zst"}) {
    if (name.ends_with(suffix)) return true;
  }
  return name.find(".tar") != name.npos;
}

class Editor {
 public:
  Editor(tree::TreeStore& trees, const Digest& base, const std::vector<std::optional<Digest>>& inputs)
      : trees_(trees), root_(base), inputs_(inputs) {}

  // An empty string, or what cannot be told.
  Result<std::string> Do(const graph::Copy& action) {
    if (action.from.parents) return std::string("it keeps parent folders");
    if (action.replace) return std::string("it replaces what is at its destination");
    Attributes attributes;
    std::string unknown = Read(action.owner, &attributes);
    if (!action.mode.empty()) {
      attributes.mode = Number(action.mode, 8, 07777);
      if (!attributes.mode) unknown = "its --chmod is symbolic";
    }
    if (!unknown.empty()) return unknown;
    const auto& source = inputs_[static_cast<size_t>(action.input)];
    if (!source) return std::string("the files that it reads are not known yet");
    TRY_ASSIGN(auto matches, tree::FindMatches(trees_, *source, action.from));
    for (const tree::Match& match : matches) {
      if (action.unpack && !match.node.IsDirectory() && LooksLikeArchive(match.dest_name)) {
        return std::string("it may unpack an archive");
      }
      TRY(CopyMatch(action, match, attributes));
    }
    return std::string();
  }

  Result<std::string> Do(const graph::MakeDirectory& action) {
    Attributes attributes;
    if (std::string unknown = Read(action.owner, &attributes); !unknown.empty()) return unknown;
    TRY_ASSIGN(RelPath path, tree::ResolveLinks(trees_, root_, RelPath(action.path), true));
    attributes.mode = action.mode;
    TRY(MakeDirectories(path, attributes));
    TRY(Commit());
    return std::string();
  }

  Result<std::string> Do(const graph::MakeFile& action) {
    Attributes attributes;
    if (std::string unknown = Read(action.owner, &attributes); !unknown.empty()) return unknown;
    TRY_ASSIGN(RelPath path, tree::ResolveLinks(trees_, root_, RelPath(action.path), true));
    TRY_ASSIGN(auto parent, tree::Lookup(trees_, root_, path.Parent()));
    if (!parent) return std::string("the directory of its file is not there");
    Node node{.mode = action.mode, .size = action.data.size(), .digest = Digest::Of(action.data)};
    TRY(Put(path, std::move(node), attributes));
    TRY(Commit());
    return std::string();
  }

  Result<std::string> Do(const graph::Remove&) { return std::string("it removes files"); }
  Result<std::string> Do(const graph::MakeSymlink&) { return std::string("it makes a link"); }

  const Digest& root() const { return root_; }

 private:
  std::string Read(const graph::Owner& owner, Attributes* attributes) {
    if (!owner.given()) return "";
    auto uid = owner.user.empty() ? 0 : Number(owner.user, 10, UINT32_MAX);
    auto gid = owner.group.empty() ? uid : Number(owner.group, 10, UINT32_MAX);
    if (!uid || !gid) return "its --chown has names";
    attributes->owner = {*uid, *gid};
    return "";
  }

  Status Put(const RelPath& path, Node node, const Attributes& attributes) {
    if (attributes.mode && node.type != NodeType::kSymlink) node.mode = *attributes.mode;
    if (attributes.owner) std::tie(node.uid, node.gid) = *attributes.owner;
    return edit_.Put(path, std::move(node));
  }

  // Makes what is missing of the path; what is there keeps its attributes.
  Status MakeDirectories(const RelPath& path, const Attributes& attributes) {
    if (path.IsRoot()) return Ok();
    TRY_ASSIGN(std::optional<Node> there, edit_.Lookup(path));
    if (there && there->IsDirectory()) return Ok();
    if (there) return Invalid("{} is no directory", path.Absolute());
    TRY(MakeDirectories(path.Parent(), attributes));
    return Put(path, Node{.type = NodeType::kDirectory, .mode = 0755}, attributes);
  }

  // Directories that a copy makes on its way, as exec/file_mode.h has it.
  static Attributes ForParents(const Attributes& attributes) {
    return {.mode = attributes.mode ? *attributes.mode & 0777 : 0755, .owner = attributes.owner};
  }

  Result<RelPath> Destination(const graph::Copy& action, const tree::Match& match) {
    TRY_ASSIGN(RelPath dest, tree::ResolveLinks(trees_, root_, RelPath(action.dest), action.follow_dest_links));
    if (match.node.IsDirectory() && action.contents_only) return dest;
    bool into = action.dest.ends_with('/');
    if (!into) {
      TRY_ASSIGN(std::optional<Node> there, edit_.Lookup(dest));
      into = there && there->IsDirectory();
    }
    return into ? dest.Join(match.dest_name) : dest;
  }

  Status CopyMatch(const graph::Copy& action, const tree::Match& match, const Attributes& attributes) {
    TRY_ASSIGN(RelPath dest, Destination(action, match));
    auto visit = [&](const RelPath& below, const Node& node) -> Status {
      RelPath to = dest.Join(below.str());
      if (below.IsRoot()) TRY(MakeDirectories(to.Parent(), ForParents(attributes)));
      if (node.type == NodeType::kSocket) return Ok();
      TRY_ASSIGN(std::optional<Node> there, edit_.Lookup(to));
      if (node.IsDirectory()) {
        if (there && !there->IsDirectory()) return Invalid("{} is no directory", to.Absolute());
        if (below.IsRoot() && action.contents_only) {
          return MakeDirectories(to, ForParents(attributes));
        }
        Node directory = node;
        directory.digest = {};  // what of it the selection lets through is visited
        return Put(to, std::move(directory), attributes);
      }
      return Put(to, node, attributes);
    };
    TRY(tree::WalkMatch(trees_, action.from, match, visit));
    return Commit();  // the next match looks up what this one made
  }

  Status Commit() {
    TRY_ASSIGN(root_, edit_.Commit());
    return Ok();
  }

  tree::TreeStore& trees_;
  Digest root_;
  const std::vector<std::optional<Digest>>& inputs_;
  tree::TreeEditor edit_{trees_, root_};
};

}  // namespace

Result<FileResult> ApplyFileOp(tree::TreeStore& trees, const graph::FileOp& op, const Digest& base,
                               const std::vector<std::optional<Digest>>& inputs) {
  Editor editor(trees, base, inputs);
  for (const FileAction& action : op.actions) {
    TRY_ASSIGN(std::string unknown,
               std::visit([&](const auto& a) -> Result<std::string> { return editor.Do(a); }, action));
    if (!unknown.empty()) return FileResult{{}, std::move(unknown)};
  }
  return FileResult{editor.root(), {}};
}

}  // namespace varve::previous
