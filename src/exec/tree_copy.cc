#include "exec/tree_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <ranges>
#include <tuple>

#include "base/guarded.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "sys/open.h"
#include "sys/reflink.h"

namespace varve::exec {

namespace {

using tree::Match;
using tree::Node;
using tree::NodeType;

constexpr size_t kBatch = 256;        // files of one job
constexpr size_t kJobsInFlight = 64;  // each holds two directory descriptors

Timestamp TimeOf(const timespec& ts) { return {ts.tv_sec * 1'000'000'000 + ts.tv_nsec}; }

// A directory being filled.
struct OpenDirectory {
  RelPath below;   // relative to the match
  RelPath dest;
  Fd source;
  Fd target;
  LayerWriter::DirectoryState state = LayerWriter::DirectoryState::kMade;
  std::shared_ptr<const tree::Directory> base;  // what shows through, for kCopiedUp
};

// `at` in the source; `parent` is the directory that it is in, if that is open.
Result<Fd> OpenSource(int root, const RelPath& at, const OpenDirectory* parent) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  if (parent == nullptr && !at.IsRoot()) return sys::OpenInRoot(root, at, kFlags);
  std::string name(at.IsRoot() ? "." : at.Name());
  Fd fd(openat(parent == nullptr ? root : parent->source.get(), name.c_str(), kFlags));
  if (!fd) return ErrnoError(errno, "open " + at.str());
  return fd;
}

struct FileJob {
  std::shared_ptr<OpenDirectory> directory;
  std::vector<Node> files;  // attributes as they are to be
  bool immutable = false;
  size_t match = 0;  // which of the copy's matches it belongs to
};

}  // namespace

struct TreeCopy::Impl {
  Impl(LayerWriter& w, tree::TreeStore& t, const SimilarLayer* s, std::stop_token stop_token)
      : writer(w), trees(t), similar(s), stop(std::move(stop_token)),
        pool(std::min<size_t>(4, CpuCount())) {
    if (similar == nullptr) return;
    auto opened = sys::OpenDir(similar->directory);
    if (opened) similar_root = std::move(*opened);
    for (const auto& entry : similar->index) {
      if (entry.node.type == NodeType::kFile && !entry.whiteout && entry.node.xattrs.empty()) {
        similar_files.emplace_back(&entry);
      }
    }
    std::ranges::sort(similar_files, {}, [](const auto* e) -> const RelPath& { return e->path; });
  }

  // --- Directories and placement, on the calling thread --------------------------------------------

  Attributes AttributesOf(const Node& node, const std::optional<Ownership>& owner,
                          const FileMode& mode) const {
    Attributes out{.mode = mode.Apply(node.mode, node.IsDirectory()), .uid = node.uid,
                   .gid = node.gid, .xattrs = node.xattrs};
    if (owner) {
      out.uid = owner->uid;
      out.gid = owner->gid;
    }
    return out;
  }

  // `attributes`: of the directory. With `keep` only when it has to be made, but for the time, which
  // it takes in any case. `parent`: of the same match, null for its top.
  Result<std::shared_ptr<OpenDirectory>> Enter(const OpenDirectory* parent, Fd source,
                                               const RelPath& below, const RelPath& dest,
                                               Attributes attributes, bool keep) {
    auto directory = std::make_shared<OpenDirectory>();
    directory->below = below;
    directory->dest = dest;
    directory->source = std::move(source);
    if (parent != nullptr && parent->state == LayerWriter::DirectoryState::kMade) {
      TRY_ASSIGN(directory->target, writer.NewDirectory(parent->target.get(), dest, attributes));
      return directory;
    }
    TRY_ASSIGN(auto there, writer.Lookup(dest));
    // A file of an earlier source may still be on its way.
    bool is_file = expected.contains(dest.str()) || known.contains(dest.str());
    if (is_file || (there && !there->IsDirectory())) {
      return Invalid("cannot copy to non-directory: {}", dest.Absolute());
    }
    TRY_ASSIGN(directory->target, writer.Directory(dest, attributes, &directory->state));
    bool existed = directory->state != LayerWriter::DirectoryState::kMade;
    if (existed && !keep) TRY(writer.SetDirectory(dest, attributes));
    if (existed && keep && attributes.mtime) writer.SetTime(dest, *attributes.mtime);
    if (directory->state == LayerWriter::DirectoryState::kCopiedUp) {
      TRY_ASSIGN(directory->base, writer.BaseDirectory(dest));
    }
    return directory;
  }

  // The folders that --parents takes along are made as they are in the source, if they are new.
  Status MakeSourceParents(const CopySource& source, const Match& match, const RelPath& dest,
                           const Attributes& above, const std::optional<Ownership>& owner,
                           const FileMode& mode) {
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
      if (fstat(fd.get(), &st) == 0) attributes.mtime = TimeOf(st.st_mtim);
      TRY(writer.Directory(target, attributes));
    }
    return Ok();
  }

  // Nothing can be in the way of `name` in a directory that is new.
  Status MakeWay(const OpenDirectory& directory, const std::string& name) {
    using State = LayerWriter::DirectoryState;
    if (directory.state == State::kMade && !revisiting) return Ok();
    if (directory.state == State::kCopiedUp && !revisiting) {
      const Node* below = directory.base ? directory.base->Find(name) : nullptr;
      if (below == nullptr || !below->IsDirectory()) return Ok();
    }
    return writer.ClearForFile(directory.dest.Join(name));
  }

  Status Place(const std::shared_ptr<OpenDirectory>& directory, const std::string& name,
               const Node& node, const std::optional<Ownership>& owner, const FileMode& mode,
               bool immutable) {
    TRY(MakeWay(*directory, name));
    RelPath dest = directory->dest.Join(name);
    Attributes attributes = AttributesOf(node, owner, mode);
    if (node.type == NodeType::kFile) {
      Node file = node;
      file.mode = attributes.mode;
      file.uid = attributes.uid;
      file.gid = attributes.gid;
      // The name in the source is node.name; the one at the destination may be another.
      file.target = name;
      if (job.directory != directory || job.files.size() >= kBatch || job.immutable != immutable ||
          job.match != matches) {
        TRY(Submit());
        job.directory = directory;
        job.immutable = immutable;
        job.match = matches;
      }
      // Two matches may give one name: the later one wins, so the earlier must be there first.
      if (expected.contains(dest.str()) || known.contains(dest.str())) {
        TRY(Drain());
        TRY(writer.ClearForFile(dest));
        expected.erase(dest.str());
        known.erase(dest.str());
        job.directory = directory;
        job.immutable = immutable;
        job.match = matches;
      }
      (immutable ? known : expected)[dest.str()] = node.digest;
      job.files.push_back(std::move(file));
      return Ok();
    }
    struct stat st;
    if (fstatat(directory->source.get(), node.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
      attributes.mtime = TimeOf(st.st_mtim);
    }
    if (node.type == NodeType::kSymlink) return writer.PutSymlink(dest, attributes, node.target);
    if (node.type == NodeType::kSocket) return Ok();
    return writer.PutDevice(dest, attributes, node.type, node.rdev);
  }

  // --- Files, on the pool --------------------------------------------------------------------------

  Status Submit() {
    if (job.files.empty()) return Ok();
    {
      auto running = in_flight.Lock();
      running.Wait(job_done, [&] { return *running < kJobsInFlight; });
      ++*running;
    }
    TRY(Failed());
    pool.Submit([this, work = std::exchange(job, {})] {
      for (const Node& file : work.files) {
        if (failed || stop.stop_requested()) break;
        if (Status copied = CopyFile(work, file); !copied) {
          failed = true;
          auto slot = error.Lock();
          if (!*slot) *slot = std::move(copied).error();
        }
      }
      --*in_flight.Lock();
      job_done.notify_all();
    });
    return Ok();
  }

  Status Drain() {
    TRY(Submit());
    auto running = in_flight.Lock();
    running.Wait(job_done, [&] { return *running == 0; });
    return Ok();
  }

  Status Failed() {
    if (stop.stop_requested()) return Cancelled("the copy was cancelled");
    auto slot = error.Lock();
    if (*slot) return Error(**slot);
    return Ok();
  }

  bool LinkSimilar(const OpenDirectory& directory, const Node& file, const struct stat& source) {
    if (!similar_root || !file.xattrs.empty()) return false;
    RelPath path = directory.dest.Join(file.target);
    auto it = std::ranges::lower_bound(similar_files, path, {},
                                       [](const auto* e) -> const RelPath& { return e->path; });
    if (it == similar_files.end() || (*it)->path != path) return false;
    const Node& old = (*it)->node;
    if (old.digest != file.digest || old.mode != file.mode || old.uid != file.uid ||
        old.gid != file.gid) {
      return false;
    }
    struct stat st;
    if (fstatat(similar_root.get(), path.str().c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        st.st_mtim.tv_sec != source.st_mtim.tv_sec || st.st_mtim.tv_nsec != source.st_mtim.tv_nsec) {
      return false;
    }
    // EMLINK after 65,000 links on ext4, and whatever else: then it is copied.
    if (linkat(similar_root.get(), path.str().c_str(), directory.target.get(),
               file.target.c_str(), 0) != 0) {
      return false;
    }
    linked.Lock()->push_back(path.str());
    return true;
  }

  Status CopyFile(const FileJob& work, const Node& file) {
    const OpenDirectory& directory = *work.directory;
    auto failed_call = [&](const char* call) {
      return ErrnoError(errno, fmt::format("{} {}", call, directory.below.Join(file.name).str()));
    };
    struct stat st;
    if (fstatat(directory.source.get(), file.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return failed_call("read");
    }
    if (!S_ISREG(st.st_mode) || (!work.immutable && static_cast<uint64_t>(st.st_size) != file.size)) {
      Error changed = Invalid("{} changed while the build was reading it",
                              directory.below.Join(file.name).str());
      changed.hint = "build again once nothing writes to the context";
      return changed;
    }
    if (st.st_nlink > 1) {
      RelPath dest = directory.dest.Join(file.target);
      auto seen = inodes.Lock();
      auto [it, first] = seen->emplace(std::tuple(work.match, st.st_dev, st.st_ino), dest);
      if (!first) {
        links.Lock()->emplace_back(dest, it->second);
        return Ok();
      }
    }
    if (LinkSimilar(directory, file, st)) return Ok();
    Fd in(openat(directory.source.get(), file.name.c_str(),
                 O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!in) return failed_call("open");
    Fd out(openat(directory.target.get(), file.target.c_str(),
                  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!out && errno == EEXIST) {
      // Another match gave this name before; the later one wins.
      unlinkat(directory.target.get(), file.target.c_str(), 0);
      out.Reset(openat(directory.target.get(), file.target.c_str(),
                       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    }
    if (!out) return failed_call("create");
    if (st.st_size > 0) {
      auto copied = sys::CopyFileContents(in.get(), out.get());
      if (!copied) return Error(std::move(copied).error()).With(file.name);
    }
    return ApplyAttributes(out.get(), {.mode = file.mode, .uid = file.uid, .gid = file.gid,
                                       .mtime = TimeOf(st.st_mtim), .xattrs = file.xattrs});
  }

  LayerWriter& writer;
  tree::TreeStore& trees;
  const SimilarLayer* similar;
  Fd similar_root;
  std::vector<const tree::LayerEntry*> similar_files;
  std::stop_token stop;

  FileJob job;              // being filled
  size_t matches = 0;       // finished ones
  bool revisiting = false;  // a second match writes where the first one may have written
  std::map<std::string, Digest> expected;
  snapshot::LayerStore::KnownDigests known;

  Guarded<size_t> in_flight;
  std::condition_variable job_done;
  std::atomic<bool> failed{false};
  Guarded<std::optional<Error>> error;
  // Links are kept within one match: what several sources give is copied for each.
  Guarded<std::map<std::tuple<size_t, dev_t, ino_t>, RelPath>> inodes;
  Guarded<std::vector<std::pair<RelPath, RelPath>>> links;  // new, existing
  Guarded<std::vector<std::string>> linked;
  uint64_t linked_total = 0;
  ThreadPool pool;  // last: its threads end before what they use
};

TreeCopy::TreeCopy(LayerWriter& writer, tree::TreeStore& trees, const SimilarLayer* similar,
                   std::stop_token stop)
    : impl_(std::make_unique<Impl>(writer, trees, similar, std::move(stop))) {}
TreeCopy::~TreeCopy() = default;

std::map<std::string, Digest> TreeCopy::TakeExpected() { return std::move(impl_->expected); }
snapshot::LayerStore::KnownDigests TreeCopy::TakeKnown() { return std::move(impl_->known); }
uint64_t TreeCopy::linked_files() const { return impl_->linked_total; }

Result<RelPath> Destination(LayerWriter& writer, const graph::Copy& action, const Match& match) {
  TRY_ASSIGN(RelPath dest, writer.Resolve(RelPath(action.dest), action.follow_dest_links));
  bool contents = match.node.IsDirectory() && action.contents_only && !action.from.parents;
  if (contents) return dest;
  bool into = action.dest.ends_with('/') || action.from.parents;
  if (!into) {
    TRY_ASSIGN(auto node, writer.Lookup(dest));
    into = node && node->IsDirectory();
  }
  if (!into) return dest;
  RelPath placed = dest.Join(match.dest_name);
  if (match.dest_name.find('/') == std::string::npos) return placed;
  TRY_ASSIGN(RelPath parent, writer.Resolve(placed.Parent(), true));
  return parent.Join(placed.Name());
}

Status TreeCopy::CopyMatch(const CopySource& source, const graph::Copy& action, const Match& match,
                           std::optional<Ownership> owner, const FileMode& mode) {
  TRY_ASSIGN(RelPath dest, Destination(impl_->writer, action, match));
  Attributes parents{.mode = mode.OfMadeDirectories()};
  if (owner) {
    parents.uid = owner->uid;
    parents.gid = owner->gid;
  }
  std::vector<std::shared_ptr<OpenDirectory>> stack;
  if (action.from.parents) TRY(impl_->MakeSourceParents(source, match, dest, parents, owner, mode));
  auto visit = [&](const RelPath& below, const Node& node) -> Status {
    if (impl_->stop.stop_requested()) return Cancelled("the copy was cancelled");
    if (node.IsDirectory()) {
      RelPath at = match.path.Join(below.str());
      while (!stack.empty() && !below.IsWithin(stack.back()->below)) stack.pop_back();
      const OpenDirectory* parent = stack.empty() ? nullptr : stack.back().get();
      TRY_ASSIGN(Fd from, OpenSource(source.root, at, parent));
      // The top directory of a copy of contents is made as any parent is, keeps what it has if it
      // exists (reference §5.6), and takes the source's time. The time of a source's own root says
      // nothing: a checkout or the builder made it.
      bool top = below.IsRoot() && action.contents_only && !action.from.parents;
      Attributes attributes = top ? parents : impl_->AttributesOf(node, owner, mode);
      struct stat st;
      if (fstat(from.get(), &st) == 0 && !(top && at.IsRoot())) attributes.mtime = TimeOf(st.st_mtim);
      if (below.IsRoot()) {
        TRY(impl_->writer.Directory(dest.Parent(), parents));
      }
      TRY_ASSIGN(auto entered, impl_->Enter(parent, std::move(from), below, dest.Join(below.str()),
                                            std::move(attributes), top));
      stack.push_back(std::move(entered));
      return Ok();
    }
    if (below.IsRoot()) {
      // A single file: its directory is the destination's parent.
      auto directory = std::make_shared<OpenDirectory>();
      RelPath parent = match.path.Parent();
      TRY_ASSIGN(directory->source,
                 parent.IsRoot() ? Fd(openat(source.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
                                 : sys::OpenInRoot(source.root, parent, O_RDONLY | O_DIRECTORY));
      TRY_ASSIGN(directory->target,
                 impl_->writer.Directory(dest.Parent(), parents, &directory->state));
      if (directory->state == LayerWriter::DirectoryState::kCopiedUp) {
        TRY_ASSIGN(directory->base, impl_->writer.BaseDirectory(dest.Parent()));
      }
      directory->dest = dest.Parent();
      directory->below = parent;
      return impl_->Place(directory, std::string(dest.Name()), node, owner, mode, source.immutable);
    }
    while (!stack.back()->below.IsRoot() && !below.IsWithin(stack.back()->below)) stack.pop_back();
    return impl_->Place(stack.back(), node.name, node, owner, mode, source.immutable);
  };
  TRY(tree::WalkMatch(impl_->trees, action.from, match, visit));
  impl_->revisiting = true;
  ++impl_->matches;
  return Ok();
}

Status TreeCopy::Copy(const CopySource& source, const graph::Copy& action,
                      std::optional<Ownership> owner, const FileMode& mode) {
  METRIC("exec.copy");
  TRY_ASSIGN(auto matches, tree::FindMatches(impl_->trees, source.tree_root, action.from));
  for (const Match& match : matches) {
    // What earlier matches write must be there before a later one asks what is in its way.
    if (impl_->revisiting) TRY(impl_->Submit());
    TRY(CopyMatch(source, action, match, owner, mode));
  }
  return Ok();
}

Status TreeCopy::Finish() {
  TRY(impl_->Drain());
  TRY(impl_->Failed());
  for (const auto& [path, existing] : *impl_->links.Lock()) {
    TRY(impl_->writer.PutHardLink(path, existing));
  }
  // What is linked to an immutable layer has the content that was compared: no need to read it again.
  for (const std::string& path : *impl_->linked.Lock()) {
    if (auto it = impl_->expected.find(path); it != impl_->expected.end()) {
      impl_->known.insert(impl_->expected.extract(it));
    }
    ++impl_->linked_total;
  }
  return Ok();
}

}  // namespace varve::exec
