#include "exec/destination.h"

namespace varve::exec {

Result<RelPath> FollowLinks(const RelPath& path, bool follow_last, const LookUp& look_up) {
  constexpr int kMaxLinks = 255;
  RelPath done;
  std::string rest = path.str();
  for (int links = 0; !rest.empty();) {
    size_t slash = rest.find('/');
    std::string part = rest.substr(0, slash);
    rest = slash == rest.npos ? "" : rest.substr(slash + 1);
    RelPath next = done.Join(part);
    bool last = rest.empty();
    if (part == ".." || part == "." || part.empty() || (last && !follow_last)) {
      done = next;
      continue;
    }
    TRY_ASSIGN(auto node, look_up(next));
    if (!node || node->type != tree::NodeType::kSymlink) {
      done = next;
      continue;
    }
    if (++links > kMaxLinks) {
      return Invalid("too many levels of symbolic links: {}", path.Absolute());
    }
    if (node->target.starts_with('/')) done = RelPath();
    rest = last ? node->target : node->target + "/" + rest;
    while (rest.starts_with('/')) rest.erase(0, 1);
  }
  return done;
}

Result<RelPath> Destination(const graph::Copy& action, const tree::Match& match, const LookUp& look_up) {
  TRY_ASSIGN(RelPath dest, FollowLinks(RelPath(action.dest), action.follow_dest_links, look_up));
  bool contents = match.node.IsDirectory() && action.contents_only && !action.from.parents;
  if (contents) return dest;
  bool into = action.dest.ends_with('/') || action.from.parents;
  if (!into) {
    TRY_ASSIGN(auto node, look_up(dest));
    into = node && node->IsDirectory();
  }
  if (!into) return dest;
  RelPath placed = dest.Join(match.dest_name);
  if (match.dest_name.find('/') == std::string::npos) return placed;
  TRY_ASSIGN(RelPath parent, FollowLinks(placed.Parent(), true, look_up));
  return parent.Join(placed.Name());
}

}  // namespace varve::exec
