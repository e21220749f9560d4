#include "cas/disk_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <optional>
#include <vector>

#include "base/background_writer.h"
#include "base/fd.h"
#include "base/log.h"
#include "cas/content_check.h"
#include "sys/open.h"

namespace varve::cas {

namespace {

constexpr std::string_view kDraftPrefix = "blob-";

Error StoreError(int errno_value, const std::string& what) {
  Error error = ErrnoError(errno_value, what);
  if (errno_value == ENOSPC || errno_value == EDQUOT) {
    error.hint = "free some disk space, for example with varve prune";
  } else if (errno_value == EROFS || errno_value == EACCES || errno_value == EPERM) {
    error.hint = "pass --root with a directory that you may write to";
  }
  return error;
}

BlobStat StatOf(const Digest& digest, const struct stat& st) {
  return {digest, static_cast<uint64_t>(st.st_size), static_cast<uint64_t>(st.st_blocks) * 512,
          Timestamp{st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec}};
}

class FileReader final : public Reader {
 public:
  FileReader(Fd fd, const Digest& digest) : fd_(std::move(fd)), digest_(digest) {}

  Result<size_t> Read(std::span<char> buffer) override {
    auto n = FdReader(fd_.get()).Read(buffer);
    if (!n) return Error(std::move(n).error()).With("blob " + digest_.ToString());
    return n;
  }

 private:
  Fd fd_;
  Digest digest_;
};

Status SyncDirectory(const std::string& path) {
  TRY_ASSIGN(Fd dir, OpenFile(path, O_RDONLY | O_DIRECTORY));
  if (fsync(dir.get()) != 0) return StoreError(errno, "fsync " + path);
  return Ok();
}

// A locked new file in `staging`.
Result<Fd> CreateDraft(const std::string& staging, std::string* path) {
  static std::atomic<uint64_t> counter{0};
  while (true) {
    *path = fmt::format("{}/{}{}-{}", staging, kDraftPrefix, getpid(), counter++);
    Fd fd(open(path->c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!fd) {
      if (errno == EEXIST) continue;  // left by a dead process that had our pid
      return StoreError(errno, "create " + *path);
    }
    // RemoveDeadDrafts of another process may come between open and flock. It holds the lock while
    // it unlinks: either our attempt fails, or we find the file without a name.
    struct stat st;
    if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK || errno == EINTR) continue;
      int saved = errno;
      unlink(path->c_str());
      return StoreError(saved, "lock " + *path);
    }
    if (fstat(fd.get(), &st) == 0 && st.st_nlink > 0) return fd;
  }
}

}  // namespace

class DiskStore::DraftBlob final : public BlobWriter {
 public:
  explicit DraftBlob(DiskStore& store) : store_(store) {}

  ~DraftBlob() override {
    if (!path_.empty()) unlink(path_.c_str());
  }

  Status Write(std::string_view data) override {
    TRY(Hash(data));
    size_ += data.size();
    if (!fd_) {
      if (head_.size() + data.size() <= kSmallBlob) {
        head_ += data;
        return Ok();
      }
      TRY(CreateFile());
    }
    return WriteToFile(data);
  }

  Result<Digest> Commit(std::optional<Digest> expected) override {
    // The digest is of what we were given; after a failed write the file has less.
    if (failed_) return Resource("blob was not written whole to {}", store_.staging_);
    if (hashing_) TRY(hashing_->Finish());
    Digest digest = hash_.Finish();
    TRY(CheckContent(expected, digest));
    std::string target = store_.PathOf(digest);
    if (!fd_) {
      if (IsThereAgain(target)) return digest;
      TRY(CreateFile());
    }
    if (store_.options_.sync && fsync(fd_.get()) != 0) return StoreError(errno, "fsync " + path_);
    std::string directory = target.substr(0, target.rfind('/'));
    // The 256 directories come into being with their first blob: a store of five blobs has five.
    if (rename(path_.c_str(), target.c_str()) != 0) {
      if (errno != ENOENT) return StoreError(errno, "rename to " + target);
      TRY(sys::MkdirAll(directory));
      if (rename(path_.c_str(), target.c_str()) != 0) {
        return StoreError(errno, "rename to " + target);
      }
    }
    path_.clear();
    fd_.Reset();
    if (store_.options_.sync) TRY(SyncDirectory(directory));
    return digest;
  }

  uint64_t size() const override { return size_; }

 private:
  // What is no larger than this is not written before Commit, nor then if it is there already: a
  // config and a manifest of each build that changed nothing. ext4 moves a file that is renamed over
  // another to the disk at once, 0.2 ms each.
  static constexpr size_t kSmallBlob = 64 << 10;
  // What is larger is hashed by a thread of its own: both the hash and the file system's new pages take a second
  // and more for 1 GB, and where blobs are made on several threads it was their sum that the others waited for.
  static constexpr uint64_t kLargeBlob = 8 << 20;

  Status Hash(std::string_view data) {
    if (!hashing_ && size_ >= kLargeBlob) hashing_.emplace(hash_);
    return hashing_ ? hashing_->Write(data) : hash_.Write(data);
  }

  // The same bytes are in the store; their time becomes that of a new commit.
  bool IsThereAgain(const std::string& target) const {
    if (store_.options_.sync) return false;  // whether they had been synced is not known
    auto there = ReadFile(target, kSmallBlob);
    return there && *there == head_ && utimensat(AT_FDCWD, target.c_str(), nullptr, 0) == 0;
  }

  Status CreateFile() {
    auto fd = CreateDraft(store_.staging_, &path_);
    if (!fd) {
      failed_ = true;
      path_.clear();
      return std::move(fd).error();
    }
    fd_ = std::move(*fd);
    return WriteToFile(std::exchange(head_, {}));
  }

  Status WriteToFile(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = write(fd_.get(), data.data(), data.size());
      if (n < 0) {
        if (errno == EINTR) continue;
        failed_ = true;
        return StoreError(errno, "write a blob to " + store_.staging_);
      }
      data.remove_prefix(static_cast<size_t>(n));
    }
    return Ok();
  }

  DiskStore& store_;
  std::string head_;  // what is not in the file yet; all of it until there is a file
  Fd fd_;
  std::string path_;  // of the draft; empty before it and once committed
  HashingWriter hash_{nullptr};
  std::optional<BackgroundWriter> hashing_;  // of a large blob: into hash_
  uint64_t size_ = 0;
  bool failed_ = false;
};

DiskStore::DiskStore(const std::string& root, const DiskOptions& options)
    : blobs_(root + "/blobs/sha256"), staging_(root + "/staging"), options_(options) {}

Result<std::unique_ptr<DiskStore>> DiskStore::Open(const std::string& root, const DiskOptions& options) {
  std::unique_ptr<DiskStore> store(new DiskStore(root, options));
  for (const std::string& directory : {store->blobs_, store->staging_}) {
    struct stat st;
    if (stat(directory.c_str(), &st) == 0) continue;
    if (Status made = sys::MkdirAll(directory); !made) {
      Error error = std::move(made).error();
      if (error.hint.empty()) error.hint = "pass --root with a directory that you may write to";
      return error;
    }
  }
  TRY(RemoveDeadDrafts(store->staging_));
  return store;
}

std::string DiskStore::PathOf(const Digest& digest) const {
  std::string hex = digest.Hex();
  return fmt::format("{}/{}/{}", blobs_, hex.substr(0, 2), hex);
}

Result<std::optional<BlobStat>> DiskStore::Stat(const Digest& digest) {
  struct stat st;
  std::string path = PathOf(digest);
  if (stat(path.c_str(), &st) == 0) return std::optional(StatOf(digest, st));
  if (errno == ENOENT || errno == ENOTDIR) return std::optional<BlobStat>();
  return StoreError(errno, "stat " + path);
}

Result<std::unique_ptr<Reader>> DiskStore::Open(const Digest& digest) {
  Fd fd(open(PathOf(digest).c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) return std::make_unique<FileReader>(std::move(fd), digest);
  if (errno == ENOENT) return NotFound("blob {} is not in the store", digest.ToString());
  return StoreError(errno, "open blob " + digest.ToString());
}

Result<std::unique_ptr<BlobWriter>> DiskStore::Create() { return std::make_unique<DraftBlob>(*this); }

Status DiskStore::Remove(const Digest& digest) {
  std::string path = PathOf(digest);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return StoreError(errno, "remove " + path);
  return Ok();
}

Status DiskStore::ForEachStat(const std::function<Status(const BlobStat&)>& visit) {
  TRY_ASSIGN(Fd top, sys::OpenDir(blobs_));
  TRY_ASSIGN(std::vector<sys::DirEntry> directories, sys::ListDirectory(top.get()));
  for (const sys::DirEntry& directory : directories) {
    auto dir = sys::OpenDir(blobs_ + "/" + directory.name);
    if (!dir) {
      if (dir.error().code == Code::kNotFound) continue;  // not a directory: not ours
      return Error(std::move(dir).error());
    }
    TRY_ASSIGN(std::vector<sys::DirEntry> files, sys::ListDirectory(dir->get()));
    for (const sys::DirEntry& file : files) {
      auto digest = Digest::ParseHex(file.name);
      if (!digest) continue;
      struct stat st;
      if (fstatat(dir->get(), file.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return StoreError(errno, "stat blob " + digest->ToString());
      }
      TRY(visit(StatOf(*digest, st)));
    }
  }
  return Ok();
}

Status RemoveDeadDrafts(const std::string& staging) {
  TRY_ASSIGN(Fd dir, sys::OpenDir(staging));
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, sys::ListDirectory(dir.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with(kDraftPrefix)) continue;
    Fd fd(openat(dir.get(), entry.name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd || flock(fd.get(), LOCK_EX | LOCK_NB) != 0) continue;
    // A draft that was committed meanwhile has no name here any more, and names are not used twice.
    if (unlinkat(dir.get(), entry.name.c_str(), 0) == 0) {
      LOG_INFO("removed {}/{}, left by a process that died", staging, entry.name);
    }
  }
  return Ok();
}

Result<std::unique_ptr<BlobStore>> OpenDiskStore(const std::string& root, const DiskOptions& options) {
  return DiskStore::Open(root, options);
}

}  // namespace varve::cas
