#include "exec/tree_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ranges>
#include <set>

#include "base/metric.h"
#include "exec/copy_jobs.h"
#include "exec/destination.h"
#include "snapshot/layer_stream.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"

namespace varve::exec {

namespace {

using tree::Match;
using tree::Node;
using tree::NodeType;

Timestamp TimeOf(const timespec& ts) { return {ts.tv_sec * 1'000'000'000 + ts.tv_nsec}; }

// `at` in the source; `parent` is the directory that it is in, if that is open.
Result<Fd> OpenSource(int root, const RelPath& at, const OpenDirectory* parent) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (parent == nullptr && !at.IsRoot()) return sys::OpenInRoot(root, at, kFlags);
  std::string name(at.IsRoot() ? "." : at.Name());
  Fd fd(openat(parent == nullptr ? root : parent->source.get(), name.c_str(), kFlags));
  if (!fd) return ErrnoError(errno, "open " + at.str());
  return fd;
}

// The files of an earlier layer, asked for in walk order: both lists go forward together, so that none
// of them has to be in memory.
class SimilarFiles {
 public:
  explicit SimilarFiles(const SimilarLayer* layer) : layer_(layer) {
    if (layer != nullptr) Rewind();
  }

  const snapshot::LayerFiles* files() const { return layer_ != nullptr ? &layer_->files : nullptr; }

  // Whether the layer has this very file at `path`, but for its time.
  bool Has(const RelPath& path, const Node& file) {
    if (layer_ == nullptr || !file.xattrs.empty()) return false;
    if (snapshot::WalkLess(path.str(), asked_.str())) Rewind();
    asked_ = path;
    while (here_ && (entry_.whiteout || snapshot::WalkLess(entry_.path.str(), path.str()))) Next();
    const Node& old = entry_.node;
    return here_ && entry_.path == path && old.type == NodeType::kFile && old.xattrs.empty() &&
           old.digest == file.digest && old.mode == file.mode && old.uid == file.uid && old.gid == file.gid;
  }

 private:
  void Rewind() {
    auto reader = tree::LayerIndexReader::Open(layer_->index);
    here_ = reader.has_value();
    if (!here_) return;
    reader_ = *reader;
    Next();
  }
  void Next() {
    auto next = reader_->Next(&entry_);
    here_ = next && *next;
  }

  const SimilarLayer* const layer_;
  std::optional<tree::LayerIndexReader> reader_;
  tree::LayerEntry entry_;  // if here_
  bool here_ = false;
  RelPath asked_;
};

}  // namespace

struct TreeCopy::Impl {
  Impl(LayerWriter& w, tree::TreeStore& t, const SimilarLayer* s, snapshot::LayerStream* l, bool make_lazy,
       std::stop_token stop_token)
      : writer(w), trees(t), stream(l), lazy(make_lazy), stop(std::move(stop_token)), similar(s),
        jobs(l, similar.files(), make_lazy, stop) {}

  // --- Directories and placement, on the calling thread --------------------------------------------

  Attributes AttributesOf(const Node& node, const std::optional<Ownership>& owner, const FileMode& mode) const {
    Attributes out{.mode = mode.Apply(node.mode, node.IsDirectory()),
                   .uid = node.uid,
                   .gid = node.gid,
                   .mtime = time,
                   .xattrs = node.xattrs};
    if (owner) {
      out.uid = owner->uid;
      out.gid = owner->gid;
    }
    return out;
  }

  // `attributes`: of the directory. With `keep` only when it has to be made, but for the time, which
  // it takes in any case.
  Result<std::shared_ptr<OpenDirectory>> Enter(Fd source, const RelPath& below, const RelPath& dest,
                                               const Attributes& attributes, bool keep) {
    auto directory = std::make_shared<OpenDirectory>();
    directory->below = below;
    directory->dest = dest;
    directory->source = std::move(source);
    TRY_ASSIGN(auto there, writer.Lookup(dest));
    if (there && !there->IsDirectory()) {
      return Invalid("cannot copy to non-directory: {}", dest.Absolute());
    }
    TRY_ASSIGN(directory->target, writer.Directory(dest, attributes, &directory->state));
    bool existed = directory->state != LayerWriter::DirectoryState::kMade;
    if (existed && !keep) TRY(writer.SetDirectory(dest, attributes));
    if (existed && keep && attributes.mtime) writer.SetTime(dest, *attributes.mtime);
    bool changed = existed && (!keep || attributes.mtime);
    if (changed && stream != nullptr && announced.contains(dest)) stream->Break();
    if (directory->state == LayerWriter::DirectoryState::kCopiedUp) {
      TRY_ASSIGN(directory->base, writer.BaseDirectory(dest));
    }
    TRY(Announce(dest));
    return directory;
  }

  // A directory in one that this match has made: nothing can be in its way, and it is made when the
  // first thread needs it.
  Result<std::shared_ptr<OpenDirectory>> EnterNew(const std::shared_ptr<OpenDirectory>& parent, const RelPath& below,
                                                  const RelPath& dest, const Node& node, Attributes attributes) {
    auto directory = std::make_shared<OpenDirectory>();
    directory->below = below;
    directory->dest = dest;
    directory->parent = parent;
    CopyItem item{.directory = directory, .name = {}, .node = WithAttributes(node, attributes)};
    directory->attributes = std::move(attributes);
    TRY(jobs.Add(std::move(item)));
    return directory;
  }

  static Node WithAttributes(const Node& node, const Attributes& attributes) {
    Node out = node;
    out.mode = attributes.mode;
    out.uid = attributes.uid;
    out.gid = attributes.gid;
    return out;
  }

  // Tells the stream of the directories down to `path` that this thread has made. What the clock would
  // decide about their times is decided now.
  Status Announce(const RelPath& path) {
    if (stream == nullptr || stream->broken()) return Ok();
    RelPath at;
    for (std::string_view part : path.Parts()) {
      at = at.Join(part);
      if (!announced.insert(at).second) continue;
      struct stat st;
      if (fstatat(writer.upper_fd(), at.str().c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return ErrnoError(errno, "stat " + at.Absolute());
      }
      if (!writer.TimeOf(at)) writer.SetTime(at, TimeOf(st.st_mtim));
      snapshot::UpperEntry entry{.path = at.str(), .index = {.path = at}, .mtime = *writer.TimeOf(at)};
      entry.index.node.type = NodeType::kDirectory;
      entry.index.node.mode = st.st_mode & 07777;
      entry.index.node.uid = st.st_uid;
      entry.index.node.gid = st.st_gid;
      TRY_ASSIGN(auto below, writer.BaseDirectory(at));
      TRY(jobs.Announce(entry, below == nullptr));
    }
    return Ok();
  }

  // The folders that --parents takes along are made as they are in the source, if they are new.
  Status MakeSourceParents(const CopySource& source, const Match& match, const RelPath& dest, const Attributes& above,
                           const std::optional<Ownership>& owner, const FileMode& mode) {
    std::vector<std::pair<RelPath, RelPath>> taken;  // in the source, at the destination
    RelPath from = match.path.Parent(), to = dest.Parent();
    for (auto count = std::ranges::count(match.dest_name, '/'); count > 0; --count) {
      taken.emplace_back(from, to);
      from = from.Parent();
      to = to.Parent();
    }
    TRY(writer.Directory(to, above));
    for (const auto& [path, target] : std::views::reverse(taken)) {
      TRY_ASSIGN(auto there, writer.Lookup(target));
      TRY_ASSIGN(auto node, tree::Lookup(trees, source.tree_root, path));
      if (there || !node || !node->IsDirectory()) continue;
      Attributes attributes = AttributesOf(*node, owner, mode);
      TRY_ASSIGN(Fd fd, sys::OpenInRoot(source.root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
      struct stat st;
      if (!time && fstat(fd.get(), &st) == 0) attributes.mtime = TimeOf(st.st_mtim);
      TRY(writer.Directory(target, attributes));
    }
    return Ok();
  }

  // With --parents the destination is made even where no pattern finds anything.
  Status MakeDestination(const graph::Copy& action, const Attributes& attributes) {
    auto look_up = [this](const RelPath& at) { return writer.Lookup(at); };
    TRY_ASSIGN(RelPath dest, FollowLinks(RelPath(action.dest), action.follow_dest_links, look_up));
    TRY_ASSIGN(auto there, writer.Lookup(dest));
    if (there) return Ok();
    if (stream != nullptr) stream->Break();
    TRY(writer.Directory(dest, attributes));
    return Ok();
  }

  // Takes away what is of another type than what comes, where the copy is to.
  Status Replace(const RelPath& path, bool by_directory) {
    if (!replace) return Ok();
    TRY_ASSIGN(auto there, writer.Lookup(path));
    if (!there || there->IsDirectory() == by_directory) return Ok();
    TRY(Settle());
    if (stream != nullptr) stream->Break();
    TRY(writer.Remove(path));
    return Ok();
  }

  // Nothing can be in the way of `name` in a directory that is new.
  Status MakeWay(const OpenDirectory& directory, const std::string& name) {
    using State = LayerWriter::DirectoryState;
    if (directory.state == State::kMade) return Ok();
    TRY(Replace(directory.dest.Join(name), false));
    if (directory.state == State::kCopiedUp) {
      const Node* below = directory.base ? directory.base->Find(name) : nullptr;
      if (below == nullptr || !below->IsDirectory()) return Ok();
    }
    return writer.ClearForFile(directory.dest.Join(name));
  }

  Status Place(const std::shared_ptr<OpenDirectory>& directory, const std::string& name, const Node& node,
               const std::optional<Ownership>& owner, const FileMode& mode, bool immutable) {
    if (node.type == NodeType::kSocket) return Ok();
    TRY(MakeWay(*directory, name));
    RelPath dest = directory->dest.Join(name);
    Attributes attributes = AttributesOf(node, owner, mode);
    if (node.type == NodeType::kFile || node.type == NodeType::kSymlink) {
      CopyItem item{.directory = directory,
                    .name = name,
                    .node = WithAttributes(node, attributes),
                    .immutable = immutable,
                    .match = matches,
                    .mtime = time};
      item.in_similar = !time && node.type == NodeType::kFile && similar.Has(dest, item.node);
      return jobs.Add(std::move(item));
    }
    // Devices are rare. Their directory must be there.
    if (stream != nullptr) stream->Break();
    if (lazy) return Ok();
    TRY(jobs.Drain());
    struct stat st;
    if (!time && directory->source &&
        fstatat(directory->source.get(), node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
      attributes.mtime = TimeOf(st.st_mtim);
    }
    return writer.PutDevice(dest, attributes, node.type, node.rdev);
  }

  // What earlier matches write must be there before a later one asks what is in its way.
  Status WaitForConflicts(const RelPath& dest) {
    bool conflict = false;
    for (RelPath at = dest; !conflict; at = at.Parent()) {
      conflict = being_written.contains(at);
      if (at.IsRoot()) break;
    }
    auto below = being_written.lower_bound(dest);
    conflict = conflict || (below != being_written.end() && below->IsWithin(dest));
    // What is left in the earlier layer cannot be seen here.
    if (conflict && lazy) stream->Break();
    if (conflict) TRY(Settle());
    being_written.insert(dest);
    return Ok();
  }

  Status Settle() {
    TRY(jobs.Drain());
    for (const auto& [path, made_at] : jobs.TakeTimes()) writer.SetTime(path, made_at);
    being_written.clear();
    return Ok();
  }

  LayerWriter& writer;
  tree::TreeStore& trees;
  snapshot::LayerStream* const stream;
  const bool lazy;
  std::stop_token stop;
  SimilarFiles similar;

  std::optional<Timestamp> time;    // of the action: what all that it copies gets
  bool replace = false;             // of the action
  size_t matches = 0;               // finished ones
  std::set<RelPath> being_written;  // by matches that jobs may still be at work on
  std::set<RelPath> announced;
  uint64_t linked_total = 0;
  CopyJobs jobs;  // last: its threads end before what they use
};

TreeCopy::TreeCopy(LayerWriter& writer, tree::TreeStore& trees, const SimilarLayer* similar,
                   snapshot::LayerStream* stream, Files files, std::stop_token stop)
    : impl_(std::make_unique<Impl>(writer, trees, similar, stream, files == Files::kLazy, std::move(stop))) {
  CHECK(files == Files::kWhole || (similar != nullptr && stream != nullptr));
}
TreeCopy::~TreeCopy() = default;

snapshot::LayerStore::KnownDigests TreeCopy::TakeKnown() { return impl_->jobs.TakeKnown(); }
uint64_t TreeCopy::linked_files() const { return impl_->linked_total; }

namespace {

// Of directories that a copy makes on the way to where it is to.
Attributes AttributesOfMade(const graph::Copy& action, const std::optional<Ownership>& owner, const FileMode& mode) {
  Attributes made{.mode = mode.OfMadeDirectories(), .mtime = action.timestamp};
  if (owner) {
    made.uid = owner->uid;
    made.gid = owner->gid;
  }
  return made;
}

}  // namespace

Status TreeCopy::CopyMatch(const CopySource& source, const graph::Copy& action, const Match& match,
                           std::optional<Ownership> owner, const FileMode& mode) {
  impl_->time = action.timestamp;
  impl_->replace = action.replace;
  TRY_ASSIGN(RelPath dest, Destination(action, match, [this](const RelPath& at) { return impl_->writer.Lookup(at); }));
  TRY(impl_->WaitForConflicts(dest));
  const Attributes parents = AttributesOfMade(action, owner, mode);
  std::vector<std::shared_ptr<OpenDirectory>> stack;
  if (action.from.parents) TRY(impl_->MakeSourceParents(source, match, dest, parents, owner, mode));
  auto visit = [&](const RelPath& below, const Node& node) -> Status {
    if (impl_->stop.stop_requested()) return Cancelled("the copy was cancelled");
    if (impl_->lazy && impl_->stream->broken()) return Ok();
    if (node.IsDirectory()) {
      while (!stack.empty() && !below.IsWithin(stack.back()->below)) stack.pop_back();
      std::shared_ptr<OpenDirectory> parent = stack.empty() ? nullptr : stack.back();
      Attributes attributes = impl_->AttributesOf(node, owner, mode);
      if (parent && parent->state == LayerWriter::DirectoryState::kMade) {
        TRY_ASSIGN(auto entered, impl_->EnterNew(parent, below, dest.Join(below.str()), node, std::move(attributes)));
        stack.push_back(std::move(entered));
        return Ok();
      }
      RelPath at = match.path.Join(below.str());
      TRY_ASSIGN(Fd from, OpenSource(source.root, at, parent.get()));
      // The top directory of a copy of contents is made as any parent is, keeps what it has if it
      // exists (reference §5.6), and takes the source's time. The time of a source's own root says
      // nothing: a checkout or the builder made it.
      bool top = below.IsRoot() && action.contents_only && !action.from.parents;
      if (top) attributes = parents;
      struct stat st;
      bool has_time = action.timestamp || (top && at.IsRoot());
      if (!has_time && fstat(from.get(), &st) == 0) attributes.mtime = TimeOf(st.st_mtim);
      TRY(impl_->Replace(dest.Join(below.str()), true));
      if (below.IsRoot()) {
        TRY(impl_->writer.Directory(dest.Parent(), parents));
      }
      TRY_ASSIGN(auto entered, impl_->Enter(std::move(from), below, dest.Join(below.str()), attributes, top));
      stack.push_back(std::move(entered));
      return Ok();
    }
    if (below.IsRoot()) {
      // A single file: its directory is the destination's parent.
      auto directory = std::make_shared<OpenDirectory>();
      RelPath parent = match.path.Parent();
      TRY_ASSIGN(directory->source, parent.IsRoot() ? Fd(openat(source.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
                                                    : sys::OpenInRoot(source.root, parent, O_RDONLY | O_DIRECTORY));
      TRY_ASSIGN(directory->target, impl_->writer.Directory(dest.Parent(), parents, &directory->state));
      if (directory->state == LayerWriter::DirectoryState::kCopiedUp) {
        TRY_ASSIGN(directory->base, impl_->writer.BaseDirectory(dest.Parent()));
      }
      TRY(impl_->Announce(dest.Parent()));
      directory->dest = dest.Parent();
      directory->below = parent;
      return impl_->Place(directory, std::string(dest.Name()), node, owner, mode, source.immutable);
    }
    while (!stack.back()->below.IsRoot() && !below.IsWithin(stack.back()->below)) stack.pop_back();
    return impl_->Place(stack.back(), node.name, node, owner, mode, source.immutable);
  };
  TRY(tree::WalkMatch(impl_->trees, action.from, match, visit));
  ++impl_->matches;
  return Ok();
}

Status TreeCopy::Copy(const CopySource& source, const graph::Copy& action, std::optional<Ownership> owner,
                      const FileMode& mode) {
  METRIC("exec.copy");
  // Links that an earlier action has made are followed.
  TRY(impl_->Settle());
  TRY_ASSIGN(auto matches, tree::FindMatches(impl_->trees, source.tree_root, action.from));
  for (const Match& match : matches) TRY(CopyMatch(source, action, match, owner, mode));
  if (matches.empty() && action.from.parents)
    TRY(impl_->MakeDestination(action, AttributesOfMade(action, owner, mode)));
  return Ok();
}

Status TreeCopy::Settle() {
  TRY(impl_->Settle());
  (void)impl_->jobs.TakeKnown();
  return Ok();
}

Status TreeCopy::Finish() {
  TRY(impl_->Settle());
  for (const auto& [path, existing] : impl_->jobs.TakeLinks()) {
    if (impl_->lazy) break;
    TRY(impl_->writer.PutHardLink(path, existing));
  }
  impl_->linked_total = impl_->jobs.CountLinked();
  return Ok();
}

}  // namespace varve::exec
