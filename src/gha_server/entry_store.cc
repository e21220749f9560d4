#include "gha_server/entry_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"

namespace varve::gha_server {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return ErrnoError(error.value(), "create " + path);
  return Ok();
}

Status SyncFolder(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY | O_DIRECTORY));
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + path);
  return Ok();
}

void SetTime(const std::string& path, Timestamp time) {
  timespec times[2];
  times[0] = times[1] = {.tv_sec = time.nanos / kSecond, .tv_nsec = time.nanos % kSecond};
  utimensat(AT_FDCWD, path.c_str(), times, 0);  // a use that is forgotten costs an early eviction at most
}

Result<Entry> ReadEntry(const std::string& path) {
  TRY_ASSIGN(std::string text, ReadFile(path, 1 << 20));
  TRY_ASSIGN(Json json, Json::Parse(text));
  Entry entry{.id = json.GetInt("id"),
              .scope = json.GetString("scope"),
              .key = json.GetString("key"),
              .version = json.GetString("version"),
              .size = static_cast<uint64_t>(json.GetInt("size"))};
  TRY_ASSIGN(entry.created, ParseTime(json.GetString("created")));
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return ErrnoError(errno, "stat " + path);
  entry.used = {st.st_mtim.tv_sec * kSecond + st.st_mtim.tv_nsec};
  return entry;
}

std::string ToJson(const Entry& entry) {
  Json json;
  json.Set("id", entry.id).Set("scope", entry.scope).Set("key", entry.key).Set("version", entry.version);
  json.Set("size", entry.size).Set("created", FormatTime(entry.created));
  return json.Dump() + "\n";
}

}  // namespace

Result<std::unique_ptr<EntryStore>> EntryStore::Open(Options options, Clock& clock) {
  TRY(MakeFolder(options.dir + "/entries"));
  TRY_ASSIGN(auto lock, sys::FlockGuard::TryLock(options.dir + "/lock", sys::LockMode::kExclusive));
  if (!lock) {
    Error error = Invalid("{} is in use by another cache server", options.dir);
    error.hint = "end that one first, or give another --dir";
    return error;
  }
  std::error_code ignored;
  fs::remove_all(options.dir + "/uploads", ignored);
  TRY(MakeFolder(options.dir + "/uploads"));
  std::unique_ptr<EntryStore> store(new EntryStore(std::move(options), clock, std::move(*lock)));
  TRY(store->Load());
  return store;
}

Status EntryStore::Load() {
  auto state = state_.Lock();
  std::vector<fs::path> data;
  for (const auto& file : fs::directory_iterator(options_.dir + "/entries")) {
    if (file.path().extension() == ".data") data.push_back(file.path());
    if (file.path().extension() != ".json") continue;
    auto entry = ReadEntry(file.path());
    struct stat st;
    bool whole = entry && stat(EntryPath(entry->id, ".data").c_str(), &st) == 0 &&
                 static_cast<uint64_t>(st.st_size) == entry->size;
    if (!whole) {
      LOG_WARN("cache-server: {} is damaged, dropped", file.path().string());
      fs::remove(file.path());
      continue;
    }
    state->size += entry->size;
    state->last_id = std::max(state->last_id, entry->id);
    state->names[{entry->scope, entry->version, entry->key}] = entry->id;
    state->entries[entry->id] = std::move(*entry);
  }
  for (const fs::path& path : data) {
    auto id = ParseInt(path.stem().string());
    if (!id || !state->entries.contains(*id)) fs::remove(path);
  }
  // Ids are in addresses that outlive a restart, and in an evicted entry's: none is given twice.
  state->last_id = std::max(state->last_id, clock_.Now().seconds());
  Evict(*state, 0);
  return Ok();
}

std::string EntryStore::EntryPath(EntryId id, const char* suffix) const {
  return fmt::format("{}/entries/{}{}", options_.dir, id, suffix);
}

std::optional<Entry> EntryStore::Find(const std::vector<std::string>& scopes, const std::vector<KeyPattern>& keys,
                                      const std::string& version) {
  auto state = state_.Lock();
  for (const std::string& scope : scopes) {
    for (const KeyPattern& key : keys) {
      Entry* found = nullptr;
      for (auto it = state->names.lower_bound({scope, version, key.text}); it != state->names.end(); ++it) {
        const auto& [its_scope, its_version, its_key] = it->first;
        if (its_scope != scope || its_version != version || !its_key.starts_with(key.text)) break;
        Entry& entry = state->entries[it->second];
        if (its_key == key.text) {
          found = &entry;
          break;
        }
        if (!key.prefix) break;
        if (found == nullptr || std::tie(entry.created, entry.id) > std::tie(found->created, found->id)) {
          found = &entry;
        }
      }
      if (found == nullptr) continue;
      found->used = clock_.Now();
      SetTime(EntryPath(found->id, ".json"), found->used);
      return *found;
    }
  }
  return {};
}

std::vector<Entry> EntryStore::List(const std::vector<std::string>& scopes, const std::string& prefix) {
  auto state = state_.Lock();
  std::vector<Entry> entries;
  for (const auto& [id, entry] : state->entries) {
    if (entry.key.starts_with(prefix) && std::ranges::find(scopes, entry.scope) != scopes.end()) {
      entries.push_back(entry);
    }
  }
  return entries;
}

Result<std::optional<EntryId>> EntryStore::Reserve(const std::string& scope, const std::string& key,
                                                   const std::string& version) {
  auto state = state_.Lock();
  Name name{scope, version, key};
  if (state->names.contains(name)) return std::optional<EntryId>();
  Timestamp now = clock_.Now();
  if (auto it = state->reserved.find(name); it != state->reserved.end()) {
    std::shared_ptr<Upload> other = state->uploads[it->second];
    if (now.nanos - other->entry().created.nanos < options_.reservation_life.count()) {
      return std::optional<EntryId>();
    }
    std::error_code ignored;
    fs::remove_all(other->folder(), ignored);
    state->uploads.erase(it->second);
    state->reserved.erase(it);
  }
  EntryId id = ++state->last_id;
  std::string folder = fmt::format("{}/uploads/{}", options_.dir, id);
  TRY(MakeFolder(folder));
  Entry entry{.id = id, .scope = scope, .key = key, .version = version, .created = now, .used = now};
  state->uploads[id] = std::make_shared<Upload>(id, std::move(entry), folder);
  state->reserved[name] = id;
  return std::optional<EntryId>(id);
}

std::shared_ptr<Upload> EntryStore::FindUpload(EntryId id) {
  auto state = state_.Lock();
  auto it = state->uploads.find(id);
  return it == state->uploads.end() ? nullptr : it->second;
}

std::shared_ptr<Upload> EntryStore::FindUpload(const std::string& scope, const std::string& key,
                                               const std::string& version) {
  auto state = state_.Lock();
  auto it = state->reserved.find({scope, version, key});
  return it == state->reserved.end() ? nullptr : state->uploads[it->second];
}

Status EntryStore::Commit(Upload& upload, uint64_t size) {
  if (size > options_.max_size) {
    return Resource("an entry of {} does not fit into a cache of {}", FormatBytes(size),
                    FormatBytes(options_.max_size));
  }
  TRY(upload.Close(size));
  Entry entry = upload.entry();
  entry.size = size;
  entry.created = entry.used = clock_.Now();
  std::string data = EntryPath(entry.id, ".data"), description = EntryPath(entry.id, ".json");
  {
    int create = size == 0 ? O_CREAT : 0;  // nothing was written of an empty entry
    TRY_ASSIGN(Fd fd, OpenFile(upload.DataPath(), O_RDWR | create, 0600));
    if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + upload.DataPath());
  }
  if (rename(upload.DataPath().c_str(), data.c_str()) != 0) return ErrnoError(errno, "rename to " + data);
  TRY(WriteFileAtomically(description, ToJson(entry), 0600, true));
  TRY(SyncFolder(options_.dir + "/entries"));
  SetTime(description, entry.used);

  auto state = state_.Lock();
  state->uploads.erase(entry.id);
  state->reserved.erase({entry.scope, entry.version, entry.key});
  std::error_code ignored;
  fs::remove_all(upload.folder(), ignored);
  state->names[{entry.scope, entry.version, entry.key}] = entry.id;
  state->size += size;
  EntryId id = entry.id;
  state->entries[id] = std::move(entry);
  Evict(*state, id);
  return Ok();
}

void EntryStore::Evict(State& state, EntryId spare) {
  while (state.size > options_.max_size) {
    const Entry* oldest = nullptr;
    for (const auto& [id, entry] : state.entries) {
      if (id == spare) continue;
      if (oldest == nullptr || entry.used < oldest->used) oldest = &entry;
    }
    if (oldest == nullptr) return;
    Drop(state, *oldest);
  }
}

void EntryStore::Drop(State& state, const Entry& entry) {
  // The description first: without it the data is nobody's, and the next start removes it.
  unlink(EntryPath(entry.id, ".json").c_str());
  unlink(EntryPath(entry.id, ".data").c_str());
  state.size -= entry.size;
  state.names.erase({entry.scope, entry.version, entry.key});
  state.evicted.push_back(entry);
  state.entries.erase(EntryId(entry.id));
}

bool EntryStore::Drop(EntryId id) {
  auto state = state_.Lock();
  auto it = state->entries.find(id);
  if (it == state->entries.end()) return false;
  Drop(*state, it->second);
  return true;
}

Result<EntryStore::Content> EntryStore::Read(EntryId id) {
  auto state = state_.Lock();
  auto it = state->entries.find(id);
  if (it == state->entries.end()) return NotFound("no entry {}", id);
  TRY_ASSIGN(Fd fd, OpenFile(EntryPath(id, ".data"), O_RDONLY));
  struct stat st;
  if (fstat(fd.get(), &st) != 0 || static_cast<uint64_t>(st.st_size) < it->second.size) {
    return NotFound("the data of entry {} is damaged", id);  // a reply would promise more than there is
  }
  return Content{it->second, std::move(fd)};
}

uint64_t EntryStore::size() { return state_.Lock()->size; }

std::vector<Entry> EntryStore::TakeEvicted() { return std::exchange(state_.Lock()->evicted, {}); }

}  // namespace varve::gha_server
