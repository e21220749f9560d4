#include "upkeep/leftovers.h"

#include <signal.h>

#include <cerrno>

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "cache/lock_file.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::upkeep {

namespace {

Result<std::vector<sys::DirEntry>> EntriesOf(const std::string& directory) {
  auto fd = sys::OpenDir(directory);
  if (!fd && fd.error().code == Code::kNotFound) return std::vector<sys::DirEntry>();
  if (!fd) return std::move(fd).error();
  return sys::ListDirectory(fd->get());
}

// WriteFileAtomically's "<name>.tmp-<pid>-<n>" of a process that is no more.
bool IsDeadDraft(const std::string& name) {
  size_t at = name.find(".tmp-");
  if (at == name.npos) return false;
  auto pid = ParseInt(Split(name.substr(at + 5), '-')[0]);
  return pid && *pid > 0 && kill(static_cast<pid_t>(*pid), 0) != 0 && errno == ESRCH;
}

Status AddDrafts(const std::string& directory, std::vector<std::string>& out) {
  TRY_ASSIGN(auto entries, EntriesOf(directory));
  for (const sys::DirEntry& entry : entries) {
    if (IsDeadDraft(entry.name)) out.push_back(directory + "/" + entry.name);
  }
  return Ok();
}

// Only its holder may remove a lock file (cache/lock_file.h).
Status RemoveLockFile(const std::string& path) {
  TRY_ASSIGN(auto held, cache::LockFile::Try(path, sys::LockMode::kExclusive));
  if (held) held->RemoveAndUnlock();
  return Ok();
}

// `dead_jobs`: files of killed jobs, which have to outlive what those jobs left: they lead here.
Result<std::vector<std::string>> Find(const std::string& root, const LeftoverOptions& options,
                                      std::vector<std::string>& dead_jobs) {
  std::vector<std::string> out;
  {
    // Under the lock no build can begin.
    std::stop_source at_once;
    if (!options.wait) at_once.request_stop();
    auto lock = cache::CollectionLock::Take(root, at_once.get_token());
    if (!lock && !options.wait && lock.error().code == Code::kCancelled) return out;
    if (!lock) return std::move(lock).error();
    TRY_ASSIGN(cache::LiveLeases leases, lock->Read());
    dead_jobs = std::move(leases.dead);
    TRY_ASSIGN(auto scratch, EntriesOf(root + "/tmp"));
    for (const sys::DirEntry& entry : scratch) {
      std::string path = root + "/tmp/" + entry.name;
      if (leases.jobs == 0 && path != options.mine) out.push_back(path);
    }
  }
  TRY_ASSIGN(auto locks, EntriesOf(root + "/locks"));
  for (const sys::DirEntry& entry : locks) {
    std::string path = root + "/locks/" + entry.name;
    auto held = cache::LockFile::Try(path, sys::LockMode::kExclusive);
    if (held && *held) out.push_back(path);
  }
  TRY_ASSIGN(auto mounts, EntriesOf(root + "/mounts"));
  for (const sys::DirEntry& entry : mounts) {
    if (entry.name.starts_with("removed-")) out.push_back(root + "/mounts/" + entry.name);
  }
  TRY(AddDrafts(root, out));
  // A killed job may have been writing anywhere.
  if (!options.thorough && dead_jobs.empty()) return out;
  TRY_ASSIGN(auto shards, EntriesOf(root + "/records"));
  for (const sys::DirEntry& shard : shards) TRY(AddDrafts(root + "/records/" + shard.name, out));
  for (const char* directory : {"/images", "/contexts"}) TRY(AddDrafts(root + directory, out));
  TRY_ASSIGN(auto top, EntriesOf(root));
  for (const sys::DirEntry& entry : top) {
    if (entry.name.find(".db.damaged-") != entry.name.npos) out.push_back(root + "/" + entry.name);
  }
  return out;
}

}  // namespace

Result<std::vector<std::string>> FindLeftovers(const std::string& root, const LeftoverOptions& options) {
  std::vector<std::string> dead_jobs;
  return Find(root, options, dead_jobs);
}

Status RemoveLeftovers(const std::string& root, const LeftoverOptions& options) {
  METRIC("upkeep.leftovers");
  std::vector<std::string> dead_jobs;
  TRY_ASSIGN(auto leftovers, Find(root, options, dead_jobs));
  for (const std::string& path : leftovers) {
    LOG_INFO("removed {}, left by a process that died", path);
    TRY(path.starts_with(root + "/locks/") ? RemoveLockFile(path) : sys::RemoveAll(path));
  }
  for (const std::string& path : dead_jobs) TRY(RemoveLockFile(path));
  return Ok();
}

}  // namespace varve::upkeep
