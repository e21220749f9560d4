#include "cache/lease.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/log.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::cache {

namespace {

constexpr std::array<std::string_view, 4> kKindNames = {"record", "tree", "layer", "blob"};
constexpr std::string_view kHeader = "varve job 1 ";
constexpr std::string_view kJobPrefix = "job-";

std::string CollectLockPath(const std::string& root) { return root + "/jobs/collect.lock"; }

// The shared side of the collection lock. Collections hold it for milliseconds at a time, so that
// pauses are shorter than LockFile::Wait's.
Result<sys::FlockGuard> ExcludeCollections(const std::string& root) {
  return sys::FlockGuard::Lock(CollectLockPath(root), sys::LockMode::kShared);
}

Error LeaseError(Error error) {
  if (error.code == Code::kResource) {
    error.hint = "free some disk space, for example with varve prune";
  }
  return std::move(error).With("lease");
}

// Lines that are not whole, or of a kind that a later version knows, hold nothing: their writer was
// killed in the middle, before anything relied on them.
void ParseJob(std::string_view text, LiveLeases& leases) {
  ++leases.jobs;
  size_t end = text.find('\n');
  if (end == text.npos || !text.starts_with(kHeader)) return;
  if (auto start = ParseInt(text.substr(kHeader.size(), end - kHeader.size()))) {
    Timestamp began{*start};
    if (!leases.oldest_start || began < *leases.oldest_start) leases.oldest_start = began;
  }
  for (size_t at = end + 1; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    std::string_view line = text.substr(at, end - at);
    size_t space = line.find(' ');
    if (space == line.npos) continue;
    auto digest = Digest::ParseHex(line.substr(space + 1));
    for (size_t kind = 0; digest && kind < kKindNames.size(); ++kind) {
      if (line.substr(0, space) != kKindNames[kind]) continue;
      leases.held.emplace(static_cast<LeaseKind>(kind), *digest);
    }
  }
}

}  // namespace

Result<std::unique_ptr<JobLease>> JobLease::Begin(const std::string& root, Clock& clock) {
  static std::atomic<unsigned> counter{0};
  Timestamp now = clock.Now();
  std::string id = fmt::format("{}{}-{}-{}", kJobPrefix, now.nanos, getpid(), counter++);
  // Under the lock, so that a collection sees no file that is not locked or has no header yet.
  TRY_ASSIGN(sys::FlockGuard no_collection, ExcludeCollections(root));
  std::string path = fmt::format("{}/jobs/{}", root, id);
  TRY_ASSIGN(std::optional<LockFile> file, LockFile::Try(path, sys::LockMode::kExclusive));
  if (!file) return Internal("the job file {} is taken", path);
  if (Status written = FdWriter(file->fd()).Write(fmt::format("{}{}\n", kHeader, now.nanos)); !written) {
    file->RemoveAndUnlock();
    return LeaseError(std::move(written).error());
  }
  return std::unique_ptr<JobLease>(new JobLease(root, id, std::move(*file)));
}

JobLease::~JobLease() { file_.RemoveAndUnlock(); }

Status JobLease::Add(LeaseKind kind, std::span<const Digest> digests) {
  auto held = held_.Lock();
  std::string lines;
  std::vector<Digest> added;
  for (const Digest& digest : digests) {
    if (held->contains({kind, digest})) continue;
    lines += fmt::format("{} {}\n", kKindNames[static_cast<size_t>(kind)], digest.Hex());
    added.push_back(digest);
  }
  if (added.empty()) return Ok();
  TRY_ASSIGN(sys::FlockGuard no_collection, ExcludeCollections(root_));
  off_t before = lseek(file_.fd(), 0, SEEK_CUR);
  if (Status written = FdWriter(file_.fd()).Write(lines); !written) {
    // Half a line must not be continued by the next Add.
    if (ftruncate(file_.fd(), before) != 0 || lseek(file_.fd(), before, SEEK_SET) != before) {
      LOG_WARN("cannot take back a partial lease of {}", id_);
    }
    return LeaseError(std::move(written).error());
  }
  for (const Digest& digest : added) held->emplace(kind, digest);
  return Ok();
}

Status JobLease::Add(const std::vector<DiffId>& layers) {
  std::vector<Digest> digests;
  for (const DiffId& layer : layers) digests.push_back(layer.value);
  return Add(LeaseKind::kLayer, digests);
}

std::vector<Digest> JobLease::Held(LeaseKind kind) {
  std::vector<Digest> out;
  for (const auto& [of, digest] : *held_.Lock()) {
    if (of == kind) out.push_back(digest);
  }
  return out;
}

bool JobLives(const std::string& root, const std::string& job) {
  if (!job.starts_with(kJobPrefix) || job.find('/') != job.npos) return false;
  Fd file(open(fmt::format("{}/jobs/{}", root, job).c_str(), O_RDONLY | O_CLOEXEC));
  // Shared and for a moment: a collection that looks right now takes the dead job for a live one.
  return file && flock(file.get(), LOCK_SH | LOCK_NB) != 0;
}

Result<CollectionLock> CollectionLock::Take(const std::string& root, std::stop_token stop) {
  TRY_ASSIGN(LockFile lock, LockFile::Wait(CollectLockPath(root), sys::LockMode::kExclusive, stop));
  return CollectionLock(root, std::move(lock));
}

Result<LiveLeases> CollectionLock::Read(std::string_view except) {
  LiveLeases leases;
  TRY_ASSIGN(Fd dir, sys::OpenDir(root_ + "/jobs"));
  TRY_ASSIGN(std::vector<sys::DirEntry> entries, sys::ListDirectory(dir.get()));
  for (const sys::DirEntry& entry : entries) {
    if (!entry.name.starts_with(kJobPrefix) || entry.name == except) continue;
    std::string path = fmt::format("{}/jobs/{}", root_, entry.name);
    // A job that ends right now takes its file along: read before looking at the lock.
    auto text = ReadFile(path, 1 << 30);
    if (!text && text.error().code == Code::kNotFound) continue;
    if (!text) return Error(std::move(text).error());
    TRY_ASSIGN(std::optional<LockFile> dead, LockFile::Try(path, sys::LockMode::kExclusive));
    if (dead) {
      leases.dead.push_back(path);
    } else {
      ParseJob(*text, leases);
    }
  }
  return leases;
}

}  // namespace varve::cache
