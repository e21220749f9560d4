#include "gha/packs.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace varve::gha {

namespace {

constexpr uint64_t kMaxRun = 8 << 20, kMaxGap = 64 << 10;  // what one request of GetMany may bring

// So that no scope's keys begin as another's do.
std::string PrefixOf(const std::string& scope) {
  std::string prefix = "varve-";
  for (char c : scope) {
    if (c == '#' || c == ',' || c == '%') prefix += fmt::format("%{:02X}", c);
    else prefix += c;
  }
  return prefix + "#";
}

// Several values one after the other, opened as they are reached.
class JoinedReader final : public Reader {
 public:
  JoinedReader(const std::vector<const Packs::Value*>& values, uint64_t offset, uint64_t size)
      : values_(values), left_(size) {
    while (next_ < values_.size() && offset >= values_[next_]->size) offset -= values_[next_++]->size;
    skip_ = offset;
  }
  Result<size_t> Read(std::span<char> buffer) override {
    while (left_ > 0) {
      if (part_ == nullptr) {
        const Packs::Value& value = *values_[next_++];
        part_left_ = std::min(value.size - skip_, left_);
        TRY_ASSIGN(part_, value.open(skip_, part_left_));
        skip_ = 0;
      }
      if (part_left_ == 0) {
        part_.reset();
        continue;
      }
      TRY_ASSIGN(size_t n, part_->Read(buffer.first(std::min<uint64_t>(buffer.size(), part_left_))));
      if (n == 0) return Corrupt("{} is shorter than {} bytes", values_[next_ - 1]->key, values_[next_ - 1]->size);
      part_left_ -= n;
      left_ -= n;
      return n;
    }
    return size_t{0};
  }

 private:
  const std::vector<const Packs::Value*>& values_;
  size_t next_ = 0;
  uint64_t left_, skip_ = 0, part_left_ = 0;
  std::unique_ptr<Reader> part_;
};

}  // namespace

Packs::Packs(Client& client, Options options, net::Sleeper& sleeper)
    : client_(client), options_(std::move(options)), sleeper_(sleeper), version_(Digest::Of("varve packs 1").Hex()),
      prefix_(PrefixOf(options_.scope)) {
  const TokenScope* own = client_.claims().Writable();
  if (own != nullptr) own_ref_ = own->ref;
  read_refs_.push_back(own_ref_);
  for (const TokenScope& scope : client_.claims().scopes) {
    if (scope.read && scope.ref != own_ref_) read_refs_.push_back(scope.ref);
  }
}

Status Packs::Load(std::stop_token stop) {
  {
    std::lock_guard loading(loading_);
    if (state_.Lock()->loaded) return Ok();
  }
  return Reload(stop);
}

Status Packs::Reload(std::stop_token stop) {
  std::lock_guard loading(loading_);
  std::vector<Numbered> indexes(read_refs_.size());
  TRY(ParallelFor(read_refs_.size(), 4, [&](size_t i) -> Status {
    TRY_ASSIGN(indexes[i], Newest(read_refs_[i], stop));
    return Ok();
  }));
  auto state = state_.Lock();
  state->own = state->merged = indexes[0].index.values;
  state->theirs.clear();
  const std::set<std::string>& hidden = indexes[0].index.hidden;
  for (size_t i = 1; i < indexes.size(); ++i) {
    // Generations of different refs do not compare: the own ref's value counts.
    for (const auto& [key, place] : indexes[i].index.values) {
      state->theirs.insert(key);
      if (!hidden.contains(key)) state->merged.emplace(key, place);
    }
  }
  std::erase_if(state->merged, [&](const auto& entry) { return state->gone.contains(entry.second.pack); });
  state->loaded = true;
  return Ok();
}

Result<bool> Packs::Has(const std::string& key, std::stop_token stop) {
  TRY(Load(stop));
  return state_.Lock()->merged.contains(key);
}

Result<bool> Packs::Holds(const std::string& key, std::stop_token stop) {
  TRY(Load(stop));
  std::string pack;
  {
    auto state = state_.Lock();
    auto it = state->merged.find(key);
    if (it == state->merged.end()) return false;
    pack = it->second.pack;
  }
  TRY_ASSIGN(auto found, FindPack(pack, stop));
  return found.has_value();
}

Result<std::vector<Packs::Stat>> Packs::List(const std::string& prefix, std::stop_token stop) {
  TRY(Load(stop));
  auto state = state_.Lock();
  std::vector<Stat> stats;
  for (auto it = state->merged.lower_bound(prefix); it != state->merged.end() && it->first.starts_with(prefix); ++it) {
    stats.push_back({it->first, it->second.size, it->second.digest});
  }
  return stats;
}

Result<std::optional<FoundEntry>> Packs::FindPack(const std::string& pack, std::stop_token stop) {
  {
    auto state = state_.Lock();
    if (state->gone.contains(pack)) return std::optional<FoundEntry>();
    auto it = state->found.find(pack);
    if (it != state->found.end()) return std::optional<FoundEntry>(it->second);
  }
  TRY_ASSIGN(auto found, client_.Find({pack}, version_, stop));
  if (!found || found->key != pack) {
    Forget(pack);
    return std::optional<FoundEntry>();
  }
  state_.Lock()->found[pack] = *found;
  return found;
}

void Packs::Remember(const std::string& pack, const FoundEntry& entry) {
  auto state = state_.Lock();
  auto it = state->found.find(pack);
  if (it != state->found.end()) it->second.url = entry.url;
}

void Packs::Forget(const std::string& pack) {
  auto state = state_.Lock();
  state->gone.insert(pack);
  state->found.erase(pack);
  std::erase_if(state->merged, [&](const auto& entry) { return entry.second.pack == pack; });
}

Result<bool> Packs::Read(const std::string& key, Writer& out, std::stop_token stop) {
  TRY(Load(stop));
  Place place;
  {
    auto state = state_.Lock();
    auto it = state->merged.find(key);
    if (it == state->merged.end()) return false;
    place = it->second;
  }
  TRY_ASSIGN(auto pack, FindPack(place.pack, stop));
  if (!pack) return false;
  HashingWriter hashing(&out);
  Status read = client_.Read(*pack, place.offset, place.size, hashing, stop);
  Remember(place.pack, *pack);
  if (!read && read.error().code == Code::kNotFound) {
    Forget(place.pack);
    if (hashing.size() == 0) return false;
    return Unavailable("{} was evicted from the cache while it was read", key);
  }
  TRY(read);
  if (hashing.Finish() != place.digest) {
    state_.Lock()->damaged.insert(place.pack);
    Forget(place.pack);
    return Corrupt("{} in {} has other bytes than its index says", key, place.pack);
  }
  return true;
}

Status Packs::GetRun(const std::string& pack, const std::vector<std::pair<size_t, Place>>& run,
                     std::vector<std::optional<std::string>>& out, std::stop_token stop) {
  TRY_ASSIGN(auto entry, FindPack(pack, stop));
  if (!entry) return Ok();
  const uint64_t begin = run.front().second.offset;
  uint64_t end = begin;
  for (const auto& [i, place] : run) end = std::max(end, place.offset + place.size);
  StringWriter bytes;
  Status read = client_.Read(*entry, begin, end - begin, bytes, stop);
  Remember(pack, *entry);
  if (!read && read.error().code == Code::kNotFound) {
    Forget(pack);
    return Ok();
  }
  TRY(read);
  for (const auto& [i, place] : run) {
    std::string value = bytes.text.substr(place.offset - begin, place.size);
    if (Digest::Of(value) == place.digest) {
      out[i] = std::move(value);
    } else {
      LOG_WARN("gha: {} holds other bytes than its index says", pack);
      state_.Lock()->damaged.insert(pack);
      Forget(pack);
    }
  }
  return Ok();
}

Result<std::vector<std::optional<std::string>>> Packs::GetMany(const std::vector<std::string>& keys,
                                                               std::stop_token stop) {
  TRY(Load(stop));
  std::map<std::string, std::vector<std::pair<size_t, Place>>> by_pack;
  {
    auto state = state_.Lock();
    for (size_t i = 0; i < keys.size(); ++i) {
      auto it = state->merged.find(keys[i]);
      if (it != state->merged.end()) by_pack[it->second.pack].emplace_back(i, it->second);
    }
  }
  std::vector<std::pair<std::string, std::vector<std::pair<size_t, Place>>>> runs;
  for (auto& [pack, places] : by_pack) {
    std::ranges::sort(places, {}, [](const auto& entry) { return entry.second.offset; });
    uint64_t begin = 0, end = 0;
    for (auto& [i, place] : places) {
      bool joins = !runs.empty() && runs.back().first == pack && place.offset <= end + kMaxGap &&
                   place.offset + place.size - begin <= kMaxRun;
      if (!joins) {
        runs.emplace_back(pack, std::vector<std::pair<size_t, Place>>());
        begin = end = place.offset;
      }
      runs.back().second.emplace_back(i, place);
      end = std::max(end, place.offset + place.size);
    }
  }
  std::vector<std::optional<std::string>> values(keys.size());
  TRY(ParallelFor(runs.size(), 4, [&](size_t i) { return GetRun(runs[i].first, runs[i].second, values, stop); }));
  return values;
}

Result<std::string> Packs::SavePack(const std::vector<const Value*>& values, std::stop_token stop) {
  uint64_t size = 0;
  std::string content;
  for (const Value* value : values) {
    size += value->size;
    content += fmt::format("{} {}\n", value->digest.ToString(), value->size);
  }
  OpenRange open = [&values](uint64_t offset, uint64_t length) -> Result<std::unique_ptr<Reader>> {
    return std::make_unique<JoinedReader>(values, offset, length);
  };
  const std::string name = fmt::format("{}pack-{}", prefix_, Digest::Of(content).Hex());
  std::string key = name;
  while (true) {
    if (!state_.Lock()->damaged.contains(key)) {
      TRY_ASSIGN(bool saved, client_.Save(key, version_, size, open, stop));
      if (saved) return key;
      TRY_ASSIGN(auto found, client_.Find({key}, version_, stop));
      if (found && found->key == key) return key;  // somebody uploaded the same
    }
    // Damaged, or reserved and perhaps never to be committed: its bytes under another name.
    key = fmt::format("{}-{:08x}", name, Chance());
  }
}

// Of the values that the indexes name, and whose bytes are really there: one look-up a pack.
Result<std::map<Digest, Packs::Place>> Packs::KnownPlaces(const std::vector<Value>& values, std::stop_token stop) {
  std::set<Digest> wanted;
  for (const Value& value : values) wanted.insert(value.digest);
  std::set<std::string> names;
  {
    auto state = state_.Lock();
    for (const auto& [key, place] : state->merged) {
      if (wanted.contains(place.digest)) names.insert(place.pack);
    }
  }
  std::vector<std::string> packs(names.begin(), names.end());
  TRY(ParallelFor(packs.size(), 8, [&](size_t i) -> Status {
    auto found = FindPack(packs[i], stop);  // forgets what is gone
    if (!found) return std::move(found).error();
    return Ok();
  }));
  std::map<Digest, Place> known;
  auto state = state_.Lock();
  for (const auto& [key, place] : state->merged) {
    if (wanted.contains(place.digest)) known.try_emplace(place.digest, place);
  }
  for (const auto& [digest, place] : state->ahead) {
    if (wanted.contains(digest)) known.try_emplace(digest, place);
  }
  return known;
}

Result<std::map<Digest, Packs::Place>> Packs::UploadPack(const std::vector<const Value*>& values,
                                                         std::stop_token stop) {
  TRY_ASSIGN(std::string pack, SavePack(values, std::move(stop)));
  state_.Lock()->gone.erase(pack);  // it may be the very pack that was evicted
  std::map<Digest, Place> places;
  uint64_t offset = 0;
  for (const Value* value : values) {
    places[value->digest] = {.pack = pack, .offset = offset, .size = value->size, .digest = value->digest};
    offset += value->size;
  }
  return places;
}

Result<bool> Packs::UploadAhead(const Value& value, std::stop_token stop) {
  std::map<Digest, Value> pack;
  {
    auto state = state_.Lock();
    if (state->ahead.contains(value.digest) || !state->kept.emplace(value.digest, value).second) return false;
    state->kept_bytes += value.size;
    const uint64_t enough = (options_.pack_size / 16) << std::min<size_t>(state->uploads_ahead, 16);
    if (state->uploads_ahead >= options_.max_packs || state->kept_bytes < enough) return true;
    ++state->uploads_ahead;
    pack = std::exchange(state->kept, {});
    state->kept_bytes = 0;
  }
  std::vector<const Value*> values;
  for (const auto& [digest, kept] : pack) values.push_back(&kept);
  auto places = UploadPack(values, std::move(stop));
  auto state = state_.Lock();
  if (!places) {
    for (const Value* kept : values) state->kept_bytes += kept->size;
    state->kept.merge(pack);
    return std::move(places).error();
  }
  state->ahead.merge(*places);
  return true;
}

Result<std::map<Digest, Packs::Place>> Packs::Upload(std::vector<const Value*> values, std::stop_token stop) {
  // Small values side by side, so that they are read with one request.
  std::ranges::stable_sort(values, {}, [](const Value* value) { return value->size; });
  uint64_t total = 0;
  for (const Value* value : values) total += value->size;
  const size_t ahead = state_.Lock()->uploads_ahead;
  const size_t most =
      std::clamp<size_t>(options_.max_packs * 3 / 2 - ahead, 1, std::max<size_t>(options_.max_packs, 1));
  const uint64_t target = std::max(options_.pack_size, total / most + 1);
  std::vector<std::vector<const Value*>> groups;
  uint64_t filled = target;
  for (const Value* value : values) {
    if (filled >= target) {
      groups.emplace_back();
      filled = 0;
    }
    groups.back().push_back(value);
    filled += value->size;
  }
  Guarded<std::map<Digest, Place>> places;
  TRY(ParallelFor(groups.size(), 4, [&](size_t i) -> Status {
    TRY_ASSIGN(auto of_pack, UploadPack(groups[i], stop));
    places.Lock()->merge(of_pack);
    return Ok();
  }));
  return std::move(*places.Lock());
}

Status Packs::Change(const std::vector<Value>& values, const std::vector<std::string>& removed, std::stop_token stop) {
  std::lock_guard writing(writing_);
  TRY(Load(stop));
  TRY_ASSIGN(auto places, KnownPlaces(values, stop));
  std::map<Digest, Value> kept;
  {
    auto state = state_.Lock();
    kept = std::exchange(state->kept, {});
    state->kept_bytes = 0;
  }
  std::map<Digest, const Value*> fresh;
  for (const Value& value : values) {
    if (places.contains(value.digest)) continue;
    auto same = kept.find(value.digest);
    if (value.open) fresh.try_emplace(value.digest, &value);
    else if (same != kept.end()) fresh.try_emplace(value.digest, &same->second);
  }
  std::vector<const Value*> uploads;
  for (const auto& [digest, value] : fresh) uploads.push_back(value);
  TRY_ASSIGN(auto uploaded, Upload(std::move(uploads), stop));
  const bool uploaded_any = !uploaded.empty();
  places.merge(uploaded);

  // All of them, also those that the index has: another job may be taking them away.
  Places mine;
  bool changes = !removed.empty() || uploaded_any;
  for (const Value& value : values) {
    auto place = places.find(value.digest);
    if (place == places.end()) continue;
    Place& mine_place = mine[value.key] = place->second;
    mine_place.needs = value.needs;
    auto state = state_.Lock();
    auto own = state->own.find(value.key);
    changes = changes || own == state->own.end() || own->second.digest != value.digest ||
              state->gone.contains(own->second.pack);
  }
  if (!changes) return Ok();
  return WriteIndex(std::move(mine), removed, stop);
}

}  // namespace varve::gha
