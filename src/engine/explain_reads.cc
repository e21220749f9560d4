#include <algorithm>
#include <set>

#include "base/strings.h"
#include "engine/explain_parts.h"
#include "graph/reads.h"
#include "tree/selection.h"

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

// --- Images ------------------------------------------------------------------------------------------

// "docker.io/library/node:20@sha256:…" in parts, the name as people write it.
struct ImageName {
  std::string name;    // "node:20"
  std::string digest;  // "sha256:0123456789ab"; empty: none
};

ImageName ParseImage(std::string_view reference) {
  ImageName out;
  size_t at = reference.find('@');
  std::string_view name = reference.substr(0, at);
  for (std::string_view prefix : {"docker.io/library/", "docker.io/"}) {
    if (name.starts_with(prefix)) {
      name.remove_prefix(prefix.size());
      break;
    }
  }
  out.name = name;
  constexpr size_t kShortDigest = 7 + 12;
  if (at != reference.npos) out.digest = reference.substr(at + 1, kShortDigest);
  return out;
}

std::string ReferenceOf(const Side& side, const std::string& chain) {
  for (const cache::InputImage& image : side.images) {
    if (image.chain.ToString() == chain) return image.reference;
  }
  return "";
}

// `what`: "base image" or "the image it reads".
Reason ImageReason(std::string_view what, const Side& before, const std::string& old_chain, const Side& now,
                   const std::string& chain) {
  std::string was = ReferenceOf(before, old_chain), is = ReferenceOf(now, chain);
  Reason reason{Kind::kBase, ""};
  reason.before = was;
  reason.after = is;
  ImageName old_image = ParseImage(was), image = ParseImage(is);
  reason.subject = image.name;
  auto both = [](const ImageName& n) { return n.digest.empty() ? n.name : fmt::format("{} ({})", n.name, n.digest); };
  if (was.empty() || is.empty()) {
    reason.text = fmt::format("{} {} is another one", what, both(image));
  } else if (old_image.name == image.name) {
    reason.text = fmt::format("{} {} moved: was {}, is {}", what, image.name, old_image.digest, image.digest);
  } else {
    reason.text = fmt::format("{} was {}, is {}", what, both(old_image), both(image));
  }
  return reason;
}

// --- Reads -------------------------------------------------------------------------------------------

// One entry of "reads" with what is known of its source.
struct Read {
  size_t input = 0;
  const Json* select = nullptr;
  std::string content;                     // digest of what is selected, or
  std::string image;                       // chain id
  const cache::InputTree* tree = nullptr;  // with content
};

std::vector<Read> ReadsOf(const Side& side) {
  std::vector<Read> out;
  size_t next_tree = 0;
  for (const Json& entry : side.preimage.GetArray("reads")) {
    Read read{.input = static_cast<size_t>(entry.GetInt("input")),
              .select = entry.Find("select"),
              .content = entry.GetString("content"),
              .image = entry.GetString("image")};
    if (!read.content.empty() && next_tree < side.inputs.size()) read.tree = &side.inputs[next_tree++];
    if (read.select != nullptr) out.push_back(read);
  }
  return out;
}

std::string SourceName(const Side& side, const Read& read) {
  if (!read.image.empty()) return ParseImage(ReferenceOf(side, read.image)).name;
  return read.tree != nullptr ? read.tree->name : "another source";
}

std::string CountOf(size_t n) {
  return n >= Reason::kMaxCounted ? fmt::format("over {}", Reason::kMaxCounted) : std::to_string(n);
}

// Files whose change never matters to what is built, though `COPY . .` reads them.
std::string IgnorableOf(const std::vector<tree::Difference>& differences, const graph::Step& step) {
  std::set<std::string> found;
  for (const tree::Difference& difference : differences) {
    std::string top(difference.path.Parts().empty() ? "" : difference.path.Parts()[0]);
    bool ignorable = top == ".git" || top == ".github" || top == ".dockerignore" || top == ".DS_Store" ||
                     top == ".idea" || top == ".vscode" || difference.path.str() == step.location.file ||
                     top == "Dockerfile";
    if (!ignorable) return "";
    found.insert(top);
  }
  return Join(std::vector<std::string>(found.begin(), found.end()), ", ");
}

// Instructions whose command is known to be run for its modes alone are rare; a mode that a checkout,
// an unpacker or a umask gave is not.
std::string FileHint(const std::vector<tree::Difference>& differences, const graph::Step& step, bool from_context) {
  using DifferenceKind = tree::Difference::Kind;
  auto all = [&](DifferenceKind kind) {
    return std::ranges::all_of(differences, [&](const auto& d) { return d.kind == kind; });
  };
  const tree::Difference& first = differences.front();
  if (all(DifferenceKind::kMode)) {
    return differences.size() == 1 ? fmt::format("only the mode of {} differs: {}", first.path.str(), first.detail)
                                   : fmt::format("only modes differ, of {} files: {}: {}", CountOf(differences.size()),
                                                 first.path.str(), first.detail);
  }
  if (all(DifferenceKind::kOwner)) {
    return differences.size() == 1 ? fmt::format("only the owner of {} differs: {}", first.path.str(), first.detail)
                                   : fmt::format("only owners differ, of {} files: {}: {}", CountOf(differences.size()),
                                                 first.path.str(), first.detail);
  }
  if (!from_context) return "";
  std::string ignorable = IgnorableOf(differences, step);
  return ignorable.empty() ? "" : fmt::format("would have hit if .dockerignore excluded {}", ignorable);
}

Reason FileReason(const graph::Step& step, const Read& before, const Read& now,
                  const std::vector<tree::Selector>& selectors, tree::TreeStore& trees) {
  Reason reason{Kind::kFile, "", now.tree->name};
  bool from_context = now.tree->name == "context";
  std::string where = from_context ? "" : fmt::format(" in {}", now.tree->name);
  auto found =
      tree::CompareSelected(trees, before.tree->tree_root, now.tree->tree_root, selectors, Reason::kMaxCounted);
  if (!found || found->empty()) {
    // Directory objects may have been collected.
    reason.text =
        fmt::format("files changed{}; which ones is not known here", from_context ? " in the context" : where);
    return reason;
  }
  reason.change_count = found->size();
  for (const tree::Difference& d : *found) {
    if (reason.changes.size() == Reason::kMaxChanges) break;
    reason.changes.push_back({d.path.str(), std::string(tree::DifferenceName(d.kind)), d.detail});
  }
  const Reason::Change& first = reason.changes.front();
  reason.text = fmt::format("{}: {}", first.path, first.what);
  if (!first.detail.empty()) reason.text += ", " + first.detail;
  reason.text += where;
  if (found->size() > 1) reason.text += fmt::format(" (and {} more)", CountOf(found->size() - 1));
  reason.hint = FileHint(*found, step, from_context);
  return reason;
}

std::string SelectText(const Json& select) {
  std::vector<std::string> paths;
  for (const Json& selector : select.as_array()) {
    std::string path = selector.GetString("path");
    paths.push_back(path.empty() ? "/" : path);
  }
  return Join(paths, " ");
}

}  // namespace

void ExplainReads(const graph::Step& step, const Side& before, const Side& now, tree::TreeStore& trees,
                  std::vector<Reason>& out) {
  if (before.preimage.GetArray("reads") == now.preimage.GetArray("reads")) return;
  size_t known = out.size();
  std::vector<Read> was = ReadsOf(before), is = ReadsOf(now);
  std::vector<graph::InputUse> uses = graph::InputUses(step);
  for (const Read& read : is) {
    auto same_source = [&](const Read& old) {
      return *old.select == *read.select && SourceName(before, old) == SourceName(now, read);
    };
    auto same_selection = [&](const Read& old) { return *old.select == *read.select; };
    auto same_place = [&](const Read& old) {
      return old.input == read.input && SourceName(before, old) == SourceName(now, read);
    };
    auto it = std::ranges::find_if(was, same_source);
    if (it == was.end()) it = std::ranges::find_if(was, same_selection);
    if (it == was.end()) it = std::ranges::find_if(was, same_place);
    if (it == was.end()) {
      // What it copies is in the instruction; what it mounts is told there as well.
      if (known == 0) out.push_back({Kind::kMount, fmt::format("it reads {} now", SourceName(now, read))});
      continue;
    }
    Read old = *it;
    was.erase(it);
    if (*old.select != *read.select) {
      if (known != 0) continue;  // the instruction said it
      std::string old_paths = SelectText(*old.select), paths = SelectText(*read.select);
      Reason reason{Kind::kMount, fmt::format("what it reads of {} was {}, is {}", SourceName(now, read),
                                              Quote(old_paths), Quote(paths))};
      reason.subject = SourceName(now, read);
      reason.before = old_paths;
      reason.after = paths;
      out.push_back(std::move(reason));
    } else if (!read.image.empty() && !old.image.empty()) {
      if (read.image != old.image) {
        out.push_back(ImageReason("the image that it reads,", before, old.image, now, read.image));
      }
    } else if (SourceName(before, old) != SourceName(now, read)) {
      std::string from = SourceName(before, old), to = SourceName(now, read);
      if (known != 0) continue;
      Reason reason{Kind::kCommand, fmt::format("it read from {}, and reads from {}", from, to)};
      reason.before = from;
      reason.after = to;
      out.push_back(std::move(reason));
    } else if (read.content != old.content && read.tree != nullptr && old.tree != nullptr && read.input < uses.size()) {
      out.push_back(FileReason(step, old, read, uses[read.input].selectors, trees));
    }
  }
  if (out.size() == known && known == 0) {
    for (const Read& old : was) {
      out.push_back({Kind::kMount, fmt::format("it no longer reads {}", SourceName(before, old))});
    }
  }
}

void ExplainLineage(const Side& before, const Side& now, std::vector<Reason>& out) {
  const auto &old_list = before.preimage.GetArray("lineage"), &list = now.preimage.GetArray("lineage");
  if (old_list == list) return;
  for (size_t i = 0; i < list.size(); ++i) {
    if (i < old_list.size() && old_list[i] == list[i]) continue;
    const Json* from = list[i].Find("from");
    const Json* old_from = i < old_list.size() ? old_list[i].Find("from") : nullptr;
    std::string image = from ? from->GetString("image") : "";
    std::string old_image = old_from ? old_from->GetString("image") : "";
    if (!image.empty() && !old_image.empty()) {
      out.push_back(ImageReason("base image", before, old_image, now, image));
    } else if (from && from->Find("step")) {
      Reason reason{Kind::kParent, "the step before it changed"};
      if (!old_image.empty()) reason.text = "a step before it is new";
      out.push_back(std::move(reason));
    } else if (!image.empty()) {
      Reason reason{Kind::kBase, ""};
      reason.after = ReferenceOf(now, image);
      reason.text =
          fmt::format("it builds on the image {} now, and did on another step", ParseImage(reason.after).name);
      if (old_from == nullptr)
        reason.text = fmt::format("it builds on the image {} now, and did on nothing", ParseImage(reason.after).name);
      out.push_back(std::move(reason));
    } else {
      out.push_back({Kind::kBase, "what it builds on is another source"});
    }
    return;
  }
  out.push_back({Kind::kBase, "it builds on nothing now, and did on an image or a step"});
}

}  // namespace varve::engine
