// One task per directory: list it, stat its entries, take digests from the stat cache, and leave
// what must be hashed to further tasks. A directory is finished, that is encoded and told to its
// parent, by whichever thread completes the last thing it waits for. Tasks are taken last in, first
// out: files are hashed before more directories are opened, so few descriptors are open at a time.
//
// Per file the walk makes one system call and no allocation: names go into one arena per directory.
#include "source/context_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/thread_pool.h"
#include "source/context_hash.h"
#include "sys/open.h"
#include "tree/node_codec.h"

namespace varve::source {

namespace {

using tree::NodeType;

// Steps of the clocks that stamp files; see tree/stat_cache.h. The kernel's coarse clock moves
// every jiffy (10 ms at most). File systems that keep whole seconds are recognised by a stamp
// without a fraction; FAT keeps two. Another device than the context's may be a network file system
// with a clock of its own.
constexpr int64_t kFineGrain = 20'000'000;
constexpr int64_t kCoarseGrain = 2'000'000'000;

// Up to here a directory's files are hashed by the thread that listed it.
constexpr size_t kBatchFiles = 64;
constexpr uint64_t kBatchBytes = 1 << 20;

constexpr const char* kUnreadableHint = "make it readable, or exclude it in .dockerignore";

bool IsLocal(const struct statfs& fs) {
  switch (static_cast<uint64_t>(fs.f_type) & 0xffffffff) {
    case 0xef53:      // ext2, ext3, ext4
    case 0x58465342:  // xfs
    case 0x9123683e:  // btrfs
    case 0x01021994:  // tmpfs
    case 0x794c7630:  // overlayfs
    case 0xf2f52010:  // f2fs
    case 0x2fc12fc1:  // zfs
    case 0xca451a4e:  // bcachefs
      return true;
    default:
      return false;
  }
}

struct Entry {
  uint32_t name_offset = 0;
  uint32_t name_size = 0;
  uint32_t target_offset = 0;  // kSymlink
  uint32_t target_size = 0;
  NodeType type = NodeType::kFile;
  bool present = true;    // in the tree; a directory that patterns exclude may turn out empty
  bool recorded = false;  // may go into the stat cache
  tree::FileStamp stamp;
  uint64_t rdev = 0;
  Digest digest;
};

struct Dir {
  Dir* parent = nullptr;
  size_t index = 0;                  // in parent->entries
  std::string path;                  // empty: the root
  const ReachNode* reach = nullptr;  // null: everything below
  tree::PatternList::Walk exclude, include;
  bool only_if_filled = false;  // excluded itself
  Fd fd;
  std::string arena;           // names, each with a zero at its end, and link targets
  std::vector<Entry> entries;  // sorted by name
  std::atomic<size_t> waiting_for = 1;
  tree::StatBlockView cached;
  struct Kept {
    size_t entry, cached;
  };
  std::vector<Kept> kept;             // files of `cached` that this walk leaves out
  std::atomic<bool> changed = false;  // against `cached`
  bool fine_stamps = false;

  std::string_view Name(const Entry& entry) const {
    return std::string_view(arena).substr(entry.name_offset, entry.name_size);
  }
  std::string Path(std::string_view name) const {
    return path.empty() ? std::string(name) : path + "/" + std::string(name);
  }
};

struct Task {
  Dir* dir;
  std::vector<size_t> files;  // to hash; none: list the directory
};

class ContextWalk {
 public:
  explicit ContextWalk(const WalkInput& input) : in_(input) {}

  Result<WalkOutput> Run() {
    struct stat st;
    struct statfs fs;
    if (fstat(in_.root_fd, &st) != 0 || fstatfs(in_.root_fd, &fs) != 0) {
      return ErrnoError(errno, "stat " + in_.directory);
    }
    device_ = st.st_dev;
    local_ = IsLocal(fs);
    auto root = std::make_unique<Dir>();
    if (!in_.reach.all) root->reach = &in_.reach;
    if (in_.exclude) root->exclude = in_.exclude->Top();
    if (in_.include) root->include = in_.include->Top();
    root->fine_stamps = local_;
    root_ = root.get();
    queue_.Lock()->dirs.push_back(std::move(root));
    Push({root_, {}});
    Work();
    // All tasks are done, so that nobody adds another.
    for (std::jthread& helper : helpers_) helper.join();
    auto error = error_.Lock();
    if (error->has_value()) return std::move(**error);
    return std::move(*out_.Lock());
  }

 private:
  struct Queue {
    std::vector<Task> tasks;
    std::vector<std::unique_ptr<Dir>> dirs;  // all of them, to own them
    size_t unfinished = 0;                   // tasks that are queued or run
  };

  void Push(Task task) {
    auto queue = queue_.Lock();
    ++queue->unfinished;
    queue->tasks.push_back(std::move(task));
    // For what is more than one thread's next task; a small context needs no helper at all.
    if (queue->tasks.size() > 1 && helpers_.size() + 1 < cpus_) {
      helpers_.emplace_back([this] { Work(); });
    }
    wake_.notify_one();
  }

  void Work() {
    while (true) {
      Task task;
      {
        auto queue = queue_.Lock();
        queue.Wait(wake_, [&] { return !queue->tasks.empty() || queue->unfinished == 0; });
        if (queue->tasks.empty()) return;
        task = std::move(queue->tasks.back());
        queue->tasks.pop_back();
      }
      if (!failed_) {
        Status status = in_.stop.stop_requested() ? Status(Cancelled("walk of the context cancelled"))
                        : task.files.empty()      ? List(*task.dir)
                                                  : Hash(*task.dir, task.files);
        if (status) status = Done(*task.dir);
        if (!status) {
          failed_ = true;
          auto error = error_.Lock();
          if (!error->has_value()) *error = std::move(status).error();
        }
      }
      if (--queue_.Lock()->unfinished == 0) wake_.notify_all();
    }
  }

  // --- Listing ---

  Error DirectoryError(int error, const Dir& dir) const {
    Error out = ErrnoError(error, "list /" + dir.path + " of the context");
    if (error == EACCES || error == EPERM) out.hint = kUnreadableHint;
    return out;
  }

  Status List(Dir& dir) {
    auto fd =
        sys::OpenInRoot(in_.root_fd, RelPath(dir.path), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, {.no_symlinks = true});
    if (!fd && fd.error().code == Code::kNotFound) {
      dir.only_if_filled = true;  // removed since its parent was listed
      return Ok();
    }
    if (!fd) {
      Error error = std::move(fd).error().With("the build context");
      error.hint = kUnreadableHint;
      return error;
    }
    dir.fd = std::move(*fd);
    TRY(ReadNames(dir));
    dir.cached = in_.cache.Find(dir.path);
    return StatEntries(dir);
  }

  Status ReadNames(Dir& dir) {
    thread_local std::vector<char> buffer(64 << 10);
    while (true) {
      ssize_t n = getdents64(dir.fd.get(), buffer.data(), buffer.size());
      if (n < 0) return DirectoryError(errno, dir);
      if (n == 0) break;
      for (ssize_t at = 0; at < n;) {
        const auto* row = reinterpret_cast<const dirent64*>(buffer.data() + at);
        at += row->d_reclen;
        std::string_view name = row->d_name;
        if (name == "." || name == "..") continue;
        Entry& entry = dir.entries.emplace_back();
        entry.name_offset = static_cast<uint32_t>(dir.arena.size());
        entry.name_size = static_cast<uint32_t>(name.size());
        dir.arena.append(name).push_back('\0');
      }
    }
    std::sort(dir.entries.begin(), dir.entries.end(),
              [&](const Entry& a, const Entry& b) { return dir.Name(a) < dir.Name(b); });
    return Ok();
  }

  // What the patterns and selectors say about an entry, from its name alone.
  struct Admission {
    const ReachNode* reach = nullptr;
    bool reached = true;
    bool passes = true;
    bool may_pass_below = true;
    tree::PatternList::Walk exclude, include;
  };

  void Admit(const Dir& dir, std::string_view name, Admission* out) const {
    out->reach = nullptr;
    out->reached = out->passes = out->may_pass_below = true;
    if (dir.reach != nullptr) {
      auto it = dir.reach->children.find(name);
      out->reached = it != dir.reach->children.end();
      if (!out->reached) return;
      if (!it->second->all) out->reach = it->second.get();
    }
    if (!in_.exclude && !in_.include) return;
    thread_local std::string path;
    path.assign(dir.path);
    if (!path.empty()) path += '/';
    path += name;
    bool excluded = in_.exclude && in_.exclude->Matches(path, dir.exclude, &out->exclude);
    bool included = !in_.include || in_.include->Matches(path, dir.include, &out->include);
    out->passes = included && !excluded;
    if (out->passes) return;
    out->may_pass_below =
        (!excluded || in_.exclude->MayUnmatchBelow(path)) && (included || in_.include->MayMatchBelow(path));
  }

  Status StatEntries(Dir& dir) {
    std::vector<size_t> to_hash;
    std::vector<Dir*> subdirs;
    uint64_t files = 0, bytes = 0;
    size_t cached_used = 0, cached_at = 0;
    Admission admission;
    for (size_t i = 0; i < dir.entries.size(); ++i) {
      Entry& entry = dir.entries[i];
      const char* name = dir.arena.data() + entry.name_offset;
      Admit(dir, dir.Name(entry), &admission);
      bool wanted = admission.reached && admission.passes;
      entry.present = wanted;
      while (cached_at < dir.cached.size() && dir.cached.name(cached_at) < dir.Name(entry)) {
        ++cached_at;
      }
      bool cached = cached_at < dir.cached.size() && dir.cached.name(cached_at) == dir.Name(entry);
      if (!wanted && cached) {
        dir.kept.push_back({i, cached_at});
        ++cached_used;
        continue;
      }
      struct stat st;
      if (fstatat(dir.fd.get(), name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) return ErrnoError(errno, "stat /" + dir.Path(dir.Name(entry)));
        entry.present = false;  // removed since the listing
        continue;
      }
      entry.stamp = StampOf(st);
      if (S_ISDIR(st.st_mode)) {
        entry.type = NodeType::kDirectory;
        if (!wanted && !(admission.reached && admission.may_pass_below)) {
          out_.Lock()->skipped.push_back(dir.Path(dir.Name(entry)));
          continue;
        }
        entry.present = false;  // until it is finished
        subdirs.push_back(MakeChild(dir, i, admission, st.st_dev));
        continue;
      }
      if (!wanted) continue;
      switch (st.st_mode & S_IFMT) {
        case S_IFREG:
          ++files;
          bytes += entry.stamp.size;
          if (cached && dir.cached.stamp(cached_at) == entry.stamp) {
            entry.digest = dir.cached.digest(cached_at);
            entry.recorded = true;
            ++cached_used;
          } else {
            to_hash.push_back(i);
          }
          break;
        case S_IFLNK:
          TRY(ReadTarget(dir, entry));
          break;
        case S_IFCHR:
        case S_IFBLK:
          entry.type = S_ISCHR(st.st_mode) ? NodeType::kCharDevice : NodeType::kBlockDevice;
          entry.rdev = uint64_t{major(st.st_rdev)} << 32 | minor(st.st_rdev);
          break;
        case S_IFIFO:
          entry.type = NodeType::kFifo;
          break;
        default:  // sockets cannot be copied
          entry.present = false;
      }
    }
    if (cached_used != dir.cached.size()) dir.changed = true;
    {
      auto out = out_.Lock();
      out->files += files;
      out->bytes += bytes;
    }
    return Continue(dir, subdirs, to_hash);
  }

  Dir* MakeChild(Dir& dir, size_t index, const Admission& admission, dev_t device) {
    auto child = std::make_unique<Dir>();
    child->parent = &dir;
    child->index = index;
    child->path = dir.Path(dir.Name(dir.entries[index]));
    child->reach = admission.reach;
    child->exclude = admission.exclude;
    child->include = admission.include;
    child->only_if_filled = !admission.passes;
    child->fine_stamps = local_ && device == device_;
    Dir* out = child.get();
    queue_.Lock()->dirs.push_back(std::move(child));
    return out;
  }

  Status ReadTarget(Dir& dir, Entry& entry) {
    entry.type = NodeType::kSymlink;
    std::string name(dir.Name(entry));
    TRY_ASSIGN(std::string target, sys::ReadLink(dir.fd.get(), name));
    entry.target_offset = static_cast<uint32_t>(dir.arena.size());
    entry.target_size = static_cast<uint32_t>(target.size());
    dir.arena.append(target);
    return Ok();
  }

  // Queues what the directory waits for. Nothing of it may be touched afterwards but by Done.
  Status Continue(Dir& dir, const std::vector<Dir*>& subdirs, std::vector<size_t>& to_hash) {
    std::vector<Task> batches;
    uint64_t bytes = 0;
    for (size_t i : to_hash) {
      if (batches.empty() || batches.back().files.size() == kBatchFiles || bytes > kBatchBytes) {
        batches.push_back({&dir, {}});
        bytes = 0;
      }
      batches.back().files.push_back(i);
      bytes += dir.entries[i].stamp.size;
    }
    size_t queued = batches.empty() ? 0 : batches.size() - 1;
    dir.waiting_for += subdirs.size() + queued;
    for (Dir* child : subdirs) Push({child, {}});
    for (size_t i = 0; i < queued; ++i) Push(std::move(batches[i]));
    if (!batches.empty()) TRY(Hash(dir, batches.back().files));
    // A deep tree must not hold a descriptor per level; with batches queued it stays until the end.
    if (queued == 0) dir.fd.Reset();
    return Ok();
  }

  // --- Hashing ---

  Status Hash(Dir& dir, const std::vector<size_t>& files) {
    uint64_t bytes = 0;
    for (size_t i : files) {
      if (in_.stop.stop_requested()) return Cancelled("walk of the context cancelled");
      Entry& entry = dir.entries[i];
      TRY_ASSIGN(HashedFile hashed,
                 HashFile(dir.fd.get(), dir.arena.data() + entry.name_offset, dir.Path(dir.Name(entry)), in_.clock));
      entry.stamp = hashed.stamp;
      entry.digest = hashed.digest;
      bool fine = dir.fine_stamps && hashed.stamp.ctime % 1'000'000'000 != 0;
      entry.recorded = IsSettled(hashed.stamp, hashed.hashed_at.nanos, fine ? kFineGrain : kCoarseGrain);
      if (entry.recorded) dir.changed = true;
      bytes += hashed.stamp.size;
    }
    auto out = out_.Lock();
    out->hashed_files += files.size();
    out->hashed_bytes += bytes;
    return Ok();
  }

  // --- Finishing ---

  // One of the things that `dir` waits for is done; finishes it, and its parents, after the last.
  Status Done(Dir& dir) {
    for (Dir* d = &dir; d != nullptr && --d->waiting_for == 0; d = d->parent) TRY(Finish(*d));
    return Ok();
  }

  Status Finish(Dir& dir) {
    dir.fd.Reset();
    WalkOutput::Visited visited;
    visited.path = dir.path;
    visited.changed = dir.changed;
    if (dir.changed) {
      visited.block = StatBlockOf(dir);
    } else {
      visited.old_block = dir.cached.bytes();
    }

    size_t count = 0;
    for (const Entry& entry : dir.entries) count += entry.present;
    std::string object;
    object.reserve(16 + count * 48 + dir.arena.size());  // 41 to 45 a file
    tree::AppendDirectoryHeader(object, count);
    tree::Node node;
    for (const Entry& entry : dir.entries) {
      if (!entry.present) continue;
      node.type = entry.type;
      node.mode = in_.modes.Apply(entry.stamp.mode & 07777, entry.type);
      node.size = entry.stamp.size;
      node.digest = entry.digest;
      node.rdev = entry.rdev;
      node.target.assign(dir.arena, entry.target_offset, entry.target_size);
      PutBytes(object, dir.Name(entry));
      tree::AppendNode(object, node, tree::ChildDigest::kWrite);
    }
    Digest digest = Digest::Of(object);
    bool in_tree = dir.parent == nullptr || count > 0 || !dir.only_if_filled;
    if (dir.parent != nullptr) {
      Entry& self = dir.parent->entries[dir.index];
      self.digest = digest;
      self.present = in_tree;
    }
    auto out = out_.Lock();
    if (dir.parent == nullptr) out->root = digest;
    if (in_tree) out->objects.emplace_back(digest, std::move(object));
    out->visited.push_back(std::move(visited));
    std::vector<Entry>().swap(dir.entries);
    std::string().swap(dir.arena);
    return Ok();
  }

  static std::string StatBlockOf(const Dir& dir) {
    tree::StatBlock block;
    auto kept = dir.kept.begin();
    size_t files = 0;
    auto add_kept = [&] {
      block.Add(dir.cached.name(kept->cached), dir.cached.stamp(kept->cached), dir.cached.digest(kept->cached));
      ++kept;
      ++files;
    };
    for (size_t i = 0; i < dir.entries.size(); ++i) {
      const Entry& entry = dir.entries[i];
      if (!entry.recorded) continue;
      while (kept != dir.kept.end() && kept->entry < i) add_kept();
      block.Add(dir.Name(entry), entry.stamp, entry.digest);
      ++files;
    }
    while (kept != dir.kept.end()) add_kept();
    return files == 0 ? std::string() : block.Finish();
  }

  const WalkInput& in_;
  dev_t device_ = 0;
  bool local_ = false;
  Dir* root_ = nullptr;
  Guarded<Queue> queue_;
  std::condition_variable wake_;
  const size_t cpus_ = CpuCount();
  std::atomic<bool> failed_ = false;
  Guarded<std::optional<Error>> error_;
  Guarded<WalkOutput> out_;
  std::vector<std::jthread> helpers_;  // under the queue's lock while they run
};

}  // namespace

Result<WalkOutput> Walk(const WalkInput& input) { return ContextWalk(input).Run(); }

}  // namespace varve::source
