#include "snapshot/local_layer_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <thread>

#include "base/fd.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::snapshot {

class LocalLayerStore::Draft final : public LayerDraft {
 public:
  explicit Draft(std::string path) : path_(std::move(path)), upper_(path_ + "/fs"), work_(path_ + "/work") {}
  ~Draft() override {
    if (!path_.empty()) (void)sys::RemoveAll(path_).has_value();
  }
  Status Prepare() const {
    for (const std::string& directory : {path_, upper_, work_}) {
      if (mkdir(directory.c_str(), 0755) != 0) return ErrnoError(errno, "mkdir " + directory);
    }
    return Ok();
  }
  const std::string& upper() const override { return upper_; }
  const std::string& work() const override { return work_; }
  const std::string& path() const { return path_; }
  void Release() { path_.clear(); }

 private:
  std::string path_, upper_, work_;
};

namespace {

// Opened files are hashed by several threads beside the tar, which is one serial hash. The pages are
// warm by the second read.
Status HashFiles(const std::string& directory, std::vector<UpperEntry>& entries,
                 const LayerStore::KnownDigests& known, std::stop_token stop) {
  std::vector<UpperEntry*> unknown;
  for (UpperEntry& entry : entries) {
    if (entry.index.whiteout || entry.index.node.type != tree::NodeType::kFile) continue;
    auto it = known.find(entry.path);
    if (it != known.end()) {
      entry.index.node.digest = it->second;
    } else if (entry.hard_link_to.empty()) {
      unknown.push_back(&entry);
    }
  }
  Status hashed = ParallelFor(unknown.size(), CpuCount(), [&](size_t i) -> Status {
    if (stop.stop_requested()) return Cancelled("hashing the layer was cancelled");
    UpperEntry& entry = *unknown[i];
    static const Digest kEmpty = Digest::Of("");
    if (entry.index.node.size == 0) {
      entry.index.node.digest = kEmpty;
      return Ok();
    }
    TRY_ASSIGN(Fd fd, OpenFile(directory + "/" + entry.path, O_RDONLY | O_NOFOLLOW));
    FdReader file(fd.get());
    HashingWriter hash(nullptr);
    TRY(Copy(file, hash));
    entry.index.node.digest = hash.Finish();
    return Ok();
  });
  TRY(std::move(hashed));
  std::map<std::string, Digest> linked;
  for (UpperEntry& entry : entries) {
    if (entry.index.node.type != tree::NodeType::kFile || entry.index.whiteout) continue;
    if (entry.hard_link_to.empty()) {
      linked[entry.path] = entry.index.node.digest;
    } else if (known.find(entry.path) == known.end()) {
      entry.index.node.digest = linked[entry.hard_link_to];
    }
  }
  return Ok();
}

constexpr uint64_t kEmptyTarSize = 1024;

}  // namespace

std::string LocalLayerStore::PathOf(const DiffId& layer) const {
  return root_ + "/layers/" + layer.Hex();
}

std::string LocalLayerStore::Directory(const DiffId& layer) const { return PathOf(layer) + "/fs"; }

Result<std::unique_ptr<LocalLayerStore>> LocalLayerStore::Open(const std::string& root) {
  std::unique_ptr<LocalLayerStore> store(new LocalLayerStore(root));
  TRY(sys::MkdirAll(root + "/layers", 0700));
  TRY(sys::MkdirAll(root + "/staging", 0700));
  TRY(store->RemoveLeftovers());
  return store;
}

LocalLayerStore::~LocalLayerStore() {
  if (!alive_) return;
  if (Status removed = sys::RemoveAll(staging_); !removed) {
    LOG_WARN("removing {}: {}", staging_, removed.error().message);
  }
  unlink((staging_ + ".lock").c_str());
}

// A staging directory is somebody's as long as its lock is held; the kernel drops the lock of a killed
// process.
Status LocalLayerStore::RemoveLeftovers() {
  std::string staging = root_ + "/staging";
  TRY_ASSIGN(Fd fd, sys::OpenDir(staging));
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with("layers-") || entry.name.ends_with(".lock")) continue;
    std::string path = staging + "/" + entry.name;
    TRY_ASSIGN(auto lock, sys::FlockGuard::TryLock(path + ".lock", sys::LockMode::kExclusive));
    if (!lock) continue;
    TRY(sys::RemoveAll(path));
    unlink((path + ".lock").c_str());
  }
  return Ok();
}

Result<std::string> LocalLayerStore::NewStagingPath() {
  static std::atomic<unsigned> counter{0};
  static Guarded<int> opening;
  auto guard = opening.Lock();
  if (!alive_) {
    std::string path = fmt::format("{}/staging/layers-{}-{}", root_, getpid(), counter++);
    TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(path + ".lock", sys::LockMode::kExclusive));
    TRY(sys::MkdirAll(path, 0700));
    alive_ = std::move(lock);
    staging_ = path;
  }
  return fmt::format("{}/{}", staging_, counter++);
}

Result<std::unique_ptr<LayerDraft>> LocalLayerStore::NewDraft() {
  TRY_ASSIGN(std::string path, NewStagingPath());
  auto draft = std::make_unique<Draft>(std::move(path));
  TRY(draft->Prepare());
  return std::unique_ptr<LayerDraft>(std::move(draft));
}

Result<bool> LocalLayerStore::Has(const DiffId& layer) {
  return access((PathOf(layer) + "/size").c_str(), F_OK) == 0;
}

Result<Layer> LocalLayerStore::Stat(const DiffId& layer) {
  auto text = ReadFile(PathOf(layer) + "/size", 100);
  if (!text) return NotFound("layer {} is not unpacked here", layer.ToString());
  auto parts = Split(TrimSpace(*text), ' ');
  auto size = ParseInt(parts[0]);
  auto entries = parts.size() > 1 ? ParseInt(parts[1]) : std::nullopt;
  if (!size || !entries) return Corrupt("size file of layer {} is damaged", layer.ToString());
  return Layer{layer, static_cast<uint64_t>(*size), static_cast<uint64_t>(*entries)};
}

Result<tree::LayerIndex> LocalLayerStore::Index(const DiffId& layer) {
  auto text = ReadFile(PathOf(layer) + "/index", uint64_t{1} << 32);
  if (!text) return NotFound("layer {} is not unpacked here", layer.ToString());
  return tree::DecodeLayerIndex(*text);
}

Result<Layer> LocalLayerStore::Publish(Draft& draft, const DiffId& diff_id, uint64_t tar_size,
                                       const tree::LayerIndex& index) {
  TRY(WriteFileAtomically(draft.path() + "/index", tree::EncodeLayerIndex(index)));
  TRY(WriteFileAtomically(draft.path() + "/size", fmt::format("{} {}\n", tar_size, index.size())));
  TRY(sys::RemoveAll(draft.work()));
  std::string path = PathOf(diff_id);
  // An equal layer that is there already is as good; a directory is never replaced by rename.
  if (rename(draft.path().c_str(), path.c_str()) == 0) {
    draft.Release();
  } else if (errno != EEXIST && errno != ENOTEMPTY) {
    return ErrnoError(errno, "rename layer to " + path);
  }
  Counter("snapshot.layers").Add();
  return Layer{diff_id, tar_size, index.size()};
}

Result<Layer> LocalLayerStore::Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known,
                                      std::stop_token stop) {
  METRIC("snapshot.commit");
  auto& mine = static_cast<Draft&>(*draft);
  TRY_ASSIGN(auto entries, WalkUpper(mine.upper(), stop));
  HashingWriter tar(nullptr);
  Status hashed = Ok(), written = Ok();
  if (entries.empty()) {
    static const std::string kZeros(kEmptyTarSize, '\0');
    TRY(tar.Write(kZeros));
  } else {
    {
      std::jthread files([&] { hashed = HashFiles(mine.upper(), entries, known, stop); });
      // Reads what HashFiles writes to (digests) nowhere: only names, sizes and attributes.
      written = WriteUpperTar(mine.upper(), entries, tar, stop);
    }
    TRY(std::move(written));
    TRY(std::move(hashed));
  }
  tree::LayerIndex index;
  index.reserve(entries.size());
  for (UpperEntry& entry : entries) index.push_back(std::move(entry.index));
  uint64_t size = tar.size();
  return Publish(mine, DiffId(tar.Finish()), size, index);
}

Result<Layer> LocalLayerStore::Unpack(const DiffId& expected, const std::vector<DiffId>& below,
                                      Reader& tar, std::stop_token stop) {
  METRIC("snapshot.unpack");
  TRY_ASSIGN(auto draft, NewDraft());
  auto& mine = static_cast<Draft&>(*draft);
  HashingReader hashed(&tar);
  TRY_ASSIGN(tree::LayerIndex index, UnpackInto(mine.upper(), *this, below, hashed, stop));
  // What follows the end marker belongs to the digest as well.
  NullWriter rest;
  TRY(Copy(hashed, rest));
  DiffId actual(hashed.Finish());
  if (actual != expected) {
    return Corrupt("layer has diff id {}, not {}", actual.ToString(), expected.ToString());
  }
  return Publish(mine, expected, hashed.size(), index);
}

Status LocalLayerStore::WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) {
  METRIC("snapshot.write_tar");
  TRY_ASSIGN(bool here, Has(layer));
  if (!here) return NotFound("layer {} is not unpacked here", layer.ToString());
  TRY_ASSIGN(auto entries, WalkUpper(Directory(layer), stop));
  HashingWriter tar(&out);
  if (entries.empty()) {
    TRY(tar.Write(std::string(kEmptyTarSize, '\0')));
  } else {
    TRY(WriteUpperTar(Directory(layer), entries, tar, stop));
  }
  DiffId actual(tar.Finish());
  if (actual != layer) {
    return Corrupt("the files of layer {} give another tar now: they changed on disk, or the layer was "
                   "made by another program", layer.ToString());
  }
  return Ok();
}

Status LocalLayerStore::Remove(const DiffId& layer) {
  // Renamed first, so that nobody sees half of it.
  TRY_ASSIGN(std::string away, NewStagingPath());
  if (rename(PathOf(layer).c_str(), away.c_str()) != 0) {
    return errno == ENOENT ? Ok() : Status(ErrnoError(errno, "remove layer"));
  }
  return sys::RemoveAll(away);
}

Status LocalLayerStore::ForEach(const std::function<Status(const Layer&)>& visit) {
  TRY_ASSIGN(Fd fd, sys::OpenDir(root_ + "/layers"));
  TRY_ASSIGN(auto names, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& name : names) {
    auto digest = Digest::ParseHex(name.name);
    if (!digest) continue;
    auto layer = Stat(DiffId(*digest));
    if (layer) TRY(visit(*layer));
  }
  return Ok();
}

Result<std::unique_ptr<LayerStore>> OpenLayerStore(const std::string& root) {
  TRY_ASSIGN(auto store, LocalLayerStore::Open(root));
  return std::unique_ptr<LayerStore>(std::move(store));
}

}  // namespace varve::snapshot
