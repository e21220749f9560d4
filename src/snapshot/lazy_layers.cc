#include "snapshot/lazy_layers.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "snapshot/layer_meta.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/reflink.h"
#include "sys/remove.h"
#include "tree/layer_index.h"

namespace varve::snapshot {

namespace {

constexpr uint64_t kMaxList = uint64_t{1} << 32;
constexpr size_t kBatch = 256;  // entries that one thread makes at a time
constexpr size_t kMakers = 4;

struct Reference {
  DiffId rest;
  Digest times;
};

Result<Reference> ReadReference(const std::string& layer) {
  TRY_ASSIGN(std::string text, ReadFile(layer + "/lazy", 4096));
  auto json = Json::Parse(text);
  if (!json || !json->is_object() || json->GetInt("version") != 1) {
    return Corrupt("{}/lazy is damaged", layer);
  }
  auto rest = Digest::Parse(json->GetString("rest"));
  auto times = Digest::Parse(json->GetString("times"));
  if (!rest || !times) return Corrupt("{}/lazy is damaged", layer);
  return Reference{DiffId(*rest), *times};
}

Status MakeEmpty(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT, 0600));
  return Ok();
}

Status ListOwn(int directory, const std::string& prefix, std::set<std::string, std::less<>>& out) {
  TRY_ASSIGN(auto entries, sys::ListDirectory(directory));
  for (const sys::DirEntry& entry : entries) {
    Fd inner(openat(directory, entry.name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (inner) {
      TRY(ListOwn(inner.get(), prefix + entry.name + "/", out));
    } else {
      out.insert(prefix + entry.name);
    }
  }
  return Ok();
}

timespec ToTimespec(Timestamp time) {
  int64_t seconds = time.seconds();
  return {seconds, time.nanos - seconds * 1'000'000'000};
}

Error Failed(const char* call, const std::string& path) { return ErrnoError(errno, fmt::format("{} {}", call, path)); }

Status SetTime(int root, const UpperEntry& entry) {
  timespec times[2] = {ToTimespec(entry.mtime), ToTimespec(entry.mtime)};
  const char* path = entry.path.empty() ? "." : entry.path.c_str();
  if (utimensat(root, path, times, AT_SYMLINK_NOFOLLOW) != 0) return Failed("utimens", entry.path);
  return Ok();
}

Status SetOwner(int root, const UpperEntry& entry) {
  const tree::Node& node = entry.index.node;
  const char* path = entry.path.empty() ? "." : entry.path.c_str();
  if (fchownat(root, path, node.uid, node.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    return sys::OwnerError(errno, "chown " + entry.path, node.uid, node.gid);
  }
  return Ok();
}

}  // namespace

// --- What is there ---------------------------------------------------------------------------------

bool LazyLayers::IsLazy(const DiffId& layer) const {
  std::string path = PathOf(layer);
  return access((path + "/fs").c_str(), F_OK) != 0 && access((path + "/lazy").c_str(), F_OK) == 0;
}

Result<std::optional<DiffId>> LazyLayers::RestOf(const DiffId& layer) const {
  auto reference = ReadReference(PathOf(layer));
  if (!reference && reference.error().code == Code::kNotFound) return std::optional<DiffId>();
  if (!reference) return std::move(reference).error();
  return std::optional(reference->rest);
}

Result<std::string> LazyLayers::BodyOf(const DiffId& rest) const {
  for (const std::string& body : {PathOf(rest), RemainsOf(rest)}) {
    if (access((body + "/fs").c_str(), F_OK) == 0) return body;
  }
  return NotFound("the files of layer {} are not here", rest.ToString());
}

Result<LayerFiles> LazyLayers::Open(const DiffId& layer) const {
  std::string path = PathOf(layer);
  // Between the looks others may have made the layer whole, or removed the one that it refers to.
  constexpr int kLooks = 4;
  for (int look = 1;; ++look) {
    auto whole = sys::OpenDir(path + "/fs");
    if (whole) return LayerFiles{.whole = layer, .rest = std::move(*whole)};
    auto files = OpenLazy(path);
    if (files) return files;
    Error error = std::move(files).error();
    if (error.code == Code::kNotFound && look < kLooks) continue;
    if (error.code == Code::kNotFound) error.code = Code::kCorrupt;
    return std::move(error).With("layer " + layer.ToString());
  }
}

Result<LayerFiles> LazyLayers::OpenLazy(const std::string& path) const {
  LayerFiles files;
  TRY_ASSIGN(files.hold, OpenFile(path + "/lazy", O_RDONLY));
  while (flock(files.hold.get(), LOCK_SH) != 0) {
    if (errno != EINTR) return Failed("lock", path + "/lazy");
  }
  TRY_ASSIGN(files.own, sys::OpenDir(path + "/own"));
  TRY(ListOwn(files.own.get(), "", files.own_paths));
  TRY_ASSIGN(Reference reference, ReadReference(path));
  files.whole = reference.rest;
  TRY_ASSIGN(std::string body, BodyOf(reference.rest));
  TRY_ASSIGN(files.rest, sys::OpenDir(body + "/fs"));
  return files;
}

Status LazyLayers::ForEach(const DiffId& layer, const Visit& visit) const {
  std::string path = PathOf(layer);
  TRY_ASSIGN(Reference reference, ReadReference(path));
  TRY_ASSIGN(LayerMeta meta, ReadMeta(path));
  TRY_ASSIGN(std::string index, ReadFile(path + "/index", kMaxList));
  TRY_ASSIGN(std::string times, ReadFile(path + "/times", kMaxList));
  if (Digest::Of(index) != meta.index || Digest::Of(times) != reference.times) {
    return Corrupt("the list of the files of layer {} is damaged", layer.ToString());
  }
  TRY_ASSIGN(auto reader, tree::LayerIndexReader::Open(index));
  if (times.size() != reader.entries() * sizeof(int64_t)) {
    return Corrupt("the times of layer {} are not those of its files", layer.ToString());
  }
  for (size_t i = 0; i < reader.entries(); ++i) {
    UpperEntry entry;
    TRY_ASSIGN(bool more, reader.Next(&entry.index));
    CHECK(more);
    entry.path = entry.index.path.str();
    std::memcpy(&entry.mtime.nanos, times.data() + i * sizeof(int64_t), sizeof(int64_t));
    TRY_ASSIGN(bool go_on, visit(std::move(entry)));
    if (!go_on) break;
  }
  return Ok();
}

Result<ListedLayer> LazyLayers::List(const DiffId& layer) const {
  ListedLayer out;
  TRY_ASSIGN(out.files, Open(layer));
  TRY(ForEach(layer, [&](UpperEntry entry) -> Result<bool> {
    out.entries.push_back(std::move(entry));
    return true;
  }));
  return out;
}

Result<std::optional<UpperEntry>> LazyLayers::Find(const DiffId& layer, const RelPath& path) const {
  std::optional<UpperEntry> out;
  TRY(ForEach(layer, [&](UpperEntry entry) -> Result<bool> {
    if (entry.path == path.str()) out = std::move(entry);
    return !out;
  }));
  return out;
}

// --- Making the files ------------------------------------------------------------------------------

namespace {

// Fills a directory from a list: the directories first, a level at a time, then what is in them, and at
// last what writing into a directory changes about it.
class Maker {
 public:
  Maker(const ListedLayer& layer, int root) : layer_(layer), root_(root) {}

  Status Run() {
    std::map<ptrdiff_t, std::vector<const UpperEntry*>> levels;
    std::vector<const UpperEntry*> directories, others;
    for (const UpperEntry& entry : layer_.entries) {
      bool is_directory = entry.index.node.IsDirectory();
      (is_directory ? directories : others).push_back(&entry);
      if (!is_directory || entry.path.empty()) continue;
      levels[std::ranges::count(entry.path, '/')].push_back(&entry);
    }
    for (const auto& [depth, level] : levels) {
      TRY(ForAll(level, [this](const UpperEntry& entry) -> Status {
        if (mkdirat(root_, entry.path.c_str(), 0700) != 0) return Failed("mkdir", entry.path);
        return Ok();
      }));
    }
    TRY(ForAll(others, [this](const UpperEntry& entry) {
      return entry.index.node.type == tree::NodeType::kSymlink ? Symlink(entry) : File(entry);
    }));
    return ForAll(directories, [this](const UpperEntry& entry) -> Status {
      TRY(SetOwner(root_, entry));
      const char* path = entry.path.empty() ? "." : entry.path.c_str();
      if (fchmodat(root_, path, entry.index.node.mode, 0) != 0) return Failed("chmod", entry.path);
      return SetTime(root_, entry);
    });
  }

 private:
  template <class Make>
  static Status ForAll(const std::vector<const UpperEntry*>& entries, Make make) {
    return ParallelFor((entries.size() + kBatch - 1) / kBatch, kMakers, [&](size_t batch) -> Status {
      size_t end = std::min(entries.size(), (batch + 1) * kBatch);
      for (size_t i = batch * kBatch; i < end; ++i) TRY(make(*entries[i]));
      return Ok();
    });
  }

  Status Symlink(const UpperEntry& entry) {
    if (symlinkat(entry.index.node.target.c_str(), root_, entry.path.c_str()) != 0) {
      return Failed("symlink", entry.path);
    }
    TRY(SetOwner(root_, entry));
    return SetTime(root_, entry);
  }

  Status File(const UpperEntry& entry) {
    if (entry.index.node.type != tree::NodeType::kFile) {
      return Corrupt("{} is nothing that a lazy layer can have", entry.path);
    }
    int from = layer_.files.RootOf(entry.path);
    if (linkat(from, entry.path.c_str(), root_, entry.path.c_str(), 0) == 0) return Ok();
    // As many names as the file system allows: 65,000 on ext4.
    if (errno != EMLINK) return Failed("link", entry.path);
    TRY_ASSIGN(Fd in, sys::OpenInRoot(from, RelPath(entry.path), O_RDONLY, 0, {.no_symlinks = true}));
    TRY_ASSIGN(Fd out, sys::OpenInRoot(root_, RelPath(entry.path), O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY(sys::CopyFileContents(in.get(), out.get()));
    TRY(SetOwner(root_, entry));
    if (fchmod(out.get(), entry.index.node.mode) != 0) return Failed("chmod", entry.path);
    return SetTime(root_, entry);
  }

  const ListedLayer& layer_;
  const int root_;
};

}  // namespace

Status LazyLayers::Build(const DiffId& layer, const std::string& directory) const {
  TRY_ASSIGN(ListedLayer listed, List(layer));
  if (mkdir(directory.c_str(), 0755) != 0) return Failed("mkdir", directory);
  if (chmod(directory.c_str(), 0755) != 0) return Failed("chmod", directory);
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  return Maker(listed, root.get()).Run();
}

Status LazyLayers::MakeWhole(const DiffId& layer, const std::function<Status()>& before_show) {
  std::string path = PathOf(layer);
  // Whoever waits here for another to make it sees the result.
  auto own = sys::OpenDir(path + "/own");
  while (own && flock(own->get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Failed("lock", path + "/own");
  }
  if (!IsLazy(layer)) return Ok();
  METRIC("snapshot.make_whole");
  TRY_ASSIGN(std::string made, staging_.NewPath());
  Status built = Build(layer, made);
  if (!built) {
    (void)sys::RemoveAll(made).has_value();
    Error error = std::move(built).error();
    // Its own list says that the file is there.
    if (error.code == Code::kNotFound) error.code = Code::kCorrupt;
    return std::move(error).With("making the files of layer " + layer.ToString());
  }
  TRY(before_show());
  if (rename(made.c_str(), (path + "/fs").c_str()) != 0) {
    int error = errno;
    (void)sys::RemoveAll(made).has_value();
    // The layer was removed meanwhile, and has come again.
    if (error != EEXIST && error != ENOTEMPTY) return ErrnoError(error, "rename to " + path + "/fs");
  }
  return Forget(layer);
}

Status LazyLayers::Forget(const DiffId& layer) {
  std::string path = PathOf(layer);
  auto hold = OpenFile(path + "/lazy", O_RDONLY);
  if (!hold && hold.error().code == Code::kNotFound) return Ok();
  if (!hold) return std::move(hold).error();
  // Somebody reads these files.
  if (flock(hold->get(), LOCK_EX | LOCK_NB) != 0) return Ok();
  TRY_ASSIGN(auto rest, RestOf(layer));
  TRY(sys::RemoveAll(path + "/own"));
  for (const char* file : {"/times", "/lazy"}) unlink((path + file).c_str());
  return rest ? DropUser(layer, *rest) : Ok();
}

// --- New lazy layers -------------------------------------------------------------------------------

Status LazyLayers::Prepare(const std::string& draft, const DiffId& rest, const std::vector<std::string>& times) {
  if (rename((draft + "/fs").c_str(), (draft + "/own").c_str()) != 0) {
    return Failed("rename to", draft + "/own");
  }
  std::string all;
  for (const std::string& part : times) all += part;
  TRY_ASSIGN(Fd fd, OpenFile(draft + "/times", O_WRONLY | O_CREAT | O_EXCL, 0644));
  TRY(FdWriter(fd.get()).Write(all));
  Json json;
  json.Set("version", 1).Set("rest", rest.ToString()).Set("times", Digest::Of(all).ToString());
  return WriteFileAtomically(draft + "/lazy", json.Dump() + "\n");
}

Result<sys::FlockGuard> LazyLayers::Lock(sys::LockMode mode) const {
  return sys::FlockGuard::Lock(root_ + "/staging/lazy.lock", mode);
}

Result<sys::FlockGuard> LazyLayers::Refer(const DiffId& layer, const DiffId& rest) {
  TRY_ASSIGN(auto lock, Lock(sys::LockMode::kShared));
  TRY_ASSIGN(std::string body, BodyOf(rest));
  std::string users = body + "/users";
  if (mkdir(users.c_str(), 0700) != 0 && errno != EEXIST) return Failed("mkdir", users);
  TRY(MakeEmpty(users + "/" + layer.Hex()));
  return lock;
}

// --- Layers that go --------------------------------------------------------------------------------

bool LazyLayers::Uses(const DiffId& layer, const DiffId& rest) const {
  auto refers_to = RestOf(layer);
  // One that cannot be read is damaged, and is found to be: until then its files are kept.
  return !refers_to || (*refers_to && **refers_to == rest);
}

Result<std::vector<DiffId>> LazyLayers::LiveUsers(const std::string& body, const DiffId& rest) const {
  std::vector<DiffId> out;
  auto fd = sys::OpenDir(body + "/users");
  if (!fd && fd.error().code == Code::kNotFound) return out;
  if (!fd) return std::move(fd).error();
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
  for (const sys::DirEntry& entry : entries) {
    auto digest = Digest::ParseHex(entry.name);
    if (digest && Uses(DiffId(*digest), rest)) out.emplace_back(*digest);
  }
  return out;
}

Result<std::vector<DiffId>> LazyLayers::UsersOf(const DiffId& rest) const {
  std::set<DiffId> users;
  for (const std::string& body : {PathOf(rest), RemainsOf(rest)}) {
    TRY_ASSIGN(auto live, LiveUsers(body, rest));
    users.insert(live.begin(), live.end());
  }
  return std::vector<DiffId>(users.begin(), users.end());
}

Result<std::optional<std::string>> LazyLayers::TakeAway(const DiffId& layer) {
  TRY_ASSIGN(std::string away, staging_.NewPath());
  std::string path = PathOf(layer), remains = RemainsOf(layer);
  std::optional<DiffId> rest;
  {
    TRY_ASSIGN(auto lock, Lock(sys::LockMode::kExclusive));
    if (auto refers_to = RestOf(layer)) rest = *refers_to;
    TRY_ASSIGN(auto users, LiveUsers(path, layer));
    if (!users.empty()) {
      TRY(sys::MkdirAll(root_ + "/remains", 0700));
      // In one step: whoever reads these files finds them in one of the places.
      if (rename(path.c_str(), remains.c_str()) == 0) return std::optional<std::string>();
      if (errno != EEXIST && errno != ENOTEMPTY) return Failed("rename to", remains);
      // The same layer was here before, and its files remained for others: they serve these, too. Those
      // that are here now stay beside them, since somebody may be reading them.
      for (const DiffId& user : users) TRY(MakeEmpty(remains + "/users/" + user.Hex()));
      for (int number = 1;; ++number) {
        std::string again = fmt::format("{}/again-{}", remains, number);
        if (rename(path.c_str(), again.c_str()) == 0) return std::optional<std::string>();
        if (errno != EEXIST && errno != ENOTEMPTY) return Failed("rename to", again);
      }
    }
    // Renamed first, so that nobody sees half of it.
    if (rename(path.c_str(), away.c_str()) != 0) {
      if (errno == ENOENT) return std::optional<std::string>();
      return Failed("remove layer", layer.ToString());
    }
  }
  if (rest) TRY(DropUser(layer, *rest));
  return std::optional(away);
}

Status LazyLayers::DropUser(const DiffId& layer, const DiffId& rest) {
  for (const std::string& body : {PathOf(rest), RemainsOf(rest)}) {
    unlink((body + "/users/" + layer.Hex()).c_str());
  }
  return access(RemainsOf(rest).c_str(), F_OK) == 0 ? RemoveIfUnused(rest) : Ok();
}

Status LazyLayers::RemoveIfUnused(const DiffId& rest) {
  TRY_ASSIGN(std::string away, staging_.NewPath());
  {
    TRY_ASSIGN(auto lock, Lock(sys::LockMode::kExclusive));
    TRY_ASSIGN(auto users, LiveUsers(RemainsOf(rest), rest));
    if (!users.empty()) return Ok();
    if (rename(RemainsOf(rest).c_str(), away.c_str()) != 0) {
      return errno == ENOENT ? Ok() : Status(Failed("remove", RemainsOf(rest)));
    }
  }
  return sys::RemoveAll(away);
}

Status LazyLayers::RemoveUnused() {
  auto fd = sys::OpenDir(root_ + "/remains");
  if (!fd && fd.error().code == Code::kNotFound) return Ok();
  if (!fd) return std::move(fd).error();
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd->get()));
  for (const sys::DirEntry& entry : entries) {
    auto digest = Digest::ParseHex(entry.name);
    if (!digest) continue;
    DiffId rest(*digest);
    TRY_ASSIGN(auto users, LiveUsers(RemainsOf(rest), rest));
    for (const DiffId& user : users) {
      bool whole = access((PathOf(user) + "/fs").c_str(), F_OK) == 0;
      if (whole) TRY(Forget(user));
    }
    TRY(RemoveIfUnused(rest));
  }
  return Ok();
}

}  // namespace varve::snapshot
