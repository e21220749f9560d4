#include "gha/packs.h"

#include <algorithm>
#include <random>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"

namespace varve::gha {

namespace {

constexpr uint64_t kMaxRun = 8 << 20, kMaxGap = 64 << 10;  // what one request of GetMany may bring
constexpr Nanos kFirstPause{100'000'000}, kLongestPause{2'000'000'000};

std::string ShortHash(const std::string& text) { return Digest::Of(text).Hex().substr(0, 8); }

uint32_t Chance() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return static_cast<uint32_t>(engine());
}

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

// The index ------------------------------------------------------------------------------------

std::string Packs::IndexPrefix(const std::string& ref) const {
  return fmt::format("{}index-{}-", prefix_, ShortHash(ref));
}

std::string Packs::IndexKey(uint64_t number) const { return fmt::format("{}{:010}", IndexPrefix(own_ref_), number); }

std::string Packs::Write(const Index& index) {
  std::map<std::string, size_t> packs, positions;
  for (const auto& [key, place] : index.values) {
    packs.try_emplace(place.pack, packs.size());
    positions.emplace(key, positions.size());
  }
  std::vector<std::string> names(packs.size());
  for (const auto& [name, i] : packs) names[i] = name;
  Json values = Json::EmptyArray();
  for (const auto& [key, place] : index.values) {
    Json value, needs = Json::EmptyArray();
    for (const std::string& need : place.needs) {
      auto position = positions.find(need);
      if (position != positions.end()) needs.Append(position->second);
    }
    value.Append(key).Append(packs[place.pack]).Append(place.offset).Append(place.size);
    value.Append(place.digest.ToString()).Append(place.generation).Append(std::move(needs));
    values.Append(std::move(value));
  }
  Json json, left_out = Json::EmptyArray();
  for (uint64_t number : index.left_out) left_out.Append(number);
  json.Set("format", 1).Set("packs", Json::Strings(names)).Set("values", std::move(values));
  json.Set("leftOut", std::move(left_out));
  json.Set("hidden", Json::Strings({index.hidden.begin(), index.hidden.end()}));
  return json.Dump();
}

Result<Packs::Index> Packs::Parse(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json || json->GetInt("format") != 1) return Corrupt("the index of a cache is damaged, or of a later varve");
  std::vector<std::string> packs = json->GetStrings("packs");
  const Json::Array& values = json->GetArray("values");
  auto number_of = [](const Json& value) -> std::optional<uint64_t> {
    if (!value.is_int() || value.as_int() < 0) return std::nullopt;
    return static_cast<uint64_t>(value.as_int());
  };
  auto key_of = [](const Json& value) -> std::string {
    bool named = value.is_array() && value.as_array().size() >= 6 && value.as_array()[0].is_string();
    return named ? value.as_array()[0].as_string() : "";
  };
  Index index;
  for (const Json& value : values) {
    const std::string key = key_of(value);
    if (key.empty()) return Corrupt("the index of a cache is damaged");
    const Json::Array& parts = value.as_array();
    auto pack = number_of(parts[1]), offset = number_of(parts[2]), size = number_of(parts[3]),
         generation = number_of(parts[5]);
    if (!pack || *pack >= packs.size() || !offset || !size || !generation || !parts[4].is_string()) {
      return Corrupt("the index of a cache is damaged");
    }
    TRY_ASSIGN(Digest digest, Digest::Parse(parts[4].as_string()));
    Place& place = index.values[key] = {.pack = packs[*pack], .offset = *offset, .size = *size,
                                        .digest = digest, .generation = *generation};
    if (parts.size() < 7 || !parts[6].is_array()) continue;
    for (const Json& need : parts[6].as_array()) {
      auto position = number_of(need);
      if (!position || *position >= values.size()) return Corrupt("the index of a cache is damaged");
      place.needs.push_back(key_of(values[*position]));
    }
  }
  for (const Json& left_out : json->GetArray("leftOut")) {
    if (auto number = number_of(left_out)) index.left_out.insert(*number);
  }
  for (std::string& key : json->GetStrings("hidden")) index.hidden.insert(std::move(key));
  return index;
}

void Packs::Merge(Places& into, const Places& from) {
  for (const auto& [key, place] : from) {
    auto [it, added] = into.try_emplace(key, place);
    if (!added && place.generation > it->second.generation) it->second = place;
  }
}

bool Packs::Covers(const Places& places, const Places& part) {
  return std::ranges::all_of(part, [&](const auto& entry) {
    auto it = places.find(entry.first);
    return it != places.end() && it->second.generation >= entry.second.generation;
  });
}

void Packs::Remove(Places& from, const std::vector<std::string>& keys) {
  std::set<std::string> orphans;
  for (const std::string& key : keys) {
    auto it = from.find(key);
    if (it == from.end()) continue;
    orphans.insert(it->second.needs.begin(), it->second.needs.end());
    from.erase(it);
  }
  for (const auto& [key, place] : from) {
    for (const std::string& need : place.needs) orphans.erase(need);
  }
  for (const std::string& orphan : orphans) from.erase(orphan);
}

Result<Packs::Numbered> Packs::Fetch(FoundEntry entry, std::stop_token stop) {
  auto number = ParseInt(std::string_view(entry.key).substr(entry.key.rfind('-') + 1));
  if (!number) return Corrupt("{} is no index", entry.key);
  Numbered numbered{.number = static_cast<uint64_t>(*number)};
  auto text = client_.ReadSmall(entry, options_.max_index, stop);
  if (!text && text.error().code == Code::kNotFound) return numbered;  // evicted since it was found
  if (!text) return std::move(text).error();
  auto index = Parse(*text);
  if (index) {
    numbered.index = std::move(*index);
  } else {
    // The next index starts from nothing: what the damaged one named is uploaded again when it is needed.
    LOG_WARN("gha: {}: {}", entry.key, index.error().message);
  }
  return numbered;
}

Result<Packs::Numbered> Packs::Newest(const std::string& ref, std::stop_token stop) {
  const std::string prefix = IndexPrefix(ref);
  TRY_ASSIGN(auto found, client_.Find({prefix}, version_, stop));
  if (!found || !found->key.starts_with(prefix)) return Numbered();
  while (true) {
    auto number = ParseInt(std::string_view(found->key).substr(prefix.size()));
    if (!number) return Corrupt("{} is no index", found->key);
    std::vector<std::string> later;
    for (int64_t i = 9; i > 0; --i) later.push_back(fmt::format("{}{:010}", prefix, *number + i));
    TRY_ASSIGN(auto next, client_.Find(later, version_, stop));
    if (!next) break;
    found = std::move(next);
  }
  {
    auto state = state_.Lock();
    auto known = state->newest.find(ref);
    bool same = known != state->newest.end() && found->key == fmt::format("{}{:010}", prefix, known->second.number);
    if (same) return known->second;
  }
  TRY_ASSIGN(Numbered newest, Fetch(std::move(*found), stop));
  state_.Lock()->newest[ref] = newest;
  return newest;
}

Result<std::optional<Packs::Index>> Packs::Exactly(uint64_t number, std::stop_token stop) {
  std::string key = IndexKey(number);
  TRY_ASSIGN(auto found, client_.Find({key}, version_, stop));
  if (!found || found->key != key) return std::optional<Index>();
  TRY_ASSIGN(Numbered numbered, Fetch(std::move(*found), stop));
  return std::optional<Index>(std::move(numbered.index));
}

Packs::Index Packs::Changed(const Numbered& base, uint64_t target, const Places& mine,
                            const std::vector<std::string>& removed) {
  Index index = base.index;
  for (uint64_t number = base.number + 1; number < target; ++number) index.left_out.insert(number);
  auto state = state_.Lock();
  index.hidden.insert(removed.begin(), removed.end());
  std::erase_if(index.hidden, [&](const std::string& key) { return !state->theirs.contains(key); });
  Remove(index.values, removed);
  Merge(index.values, mine);
  std::erase_if(index.values, [&](const auto& entry) { return state->gone.contains(entry.second.pack); });
  return index;
}

Status Packs::WriteIndex(Places mine, const std::vector<std::string>& removed, std::stop_token stop) {
  std::set<uint64_t> skipped;
  std::set<uint64_t> taken_in;  // numbers that others left out, and whose values are in `mine`
  uint64_t waiting_for = 0;
  Nanos waited{0}, pause = kFirstPause;
  TRY_ASSIGN(Numbered newest, Newest(own_ref_, stop));
  while (true) {
    uint64_t target = newest.number + 1;
    while (skipped.contains(target)) ++target;
    for (auto& [key, place] : mine) place.generation = target;
    Index whole = Changed(newest, target, mine, removed);
    for (uint64_t number : taken_in) whole.left_out.erase(number);
    std::string text = Write(whole);
    if (text.size() > options_.max_index) return Resource("the index of {} is too large", options_.scope);
    auto open = [&text](uint64_t offset, uint64_t size) -> Result<std::unique_ptr<Reader>> {
      return std::make_unique<StringReader>(std::string_view(text).substr(offset, size));
    };
    TRY_ASSIGN(bool saved, client_.Save(IndexKey(target), version_, text.size(), open, stop));
    if (!saved) {
      if (waiting_for != target) {
        waiting_for = target;
        waited = Nanos(0);
        pause = kFirstPause;
      }
      if (waited >= options_.patience) {
        skipped.insert(target);
        continue;
      }
      // Up to half of the pause by chance: many writers would find the next number taken together.
      Nanos time = pause - pause * static_cast<int64_t>(Chance() % 512) / 1024;
      if (!sleeper_.Sleep(time, stop)) return Cancelled("writing the index of {} was cancelled", options_.scope);
      waited += time;
      pause = std::min(pause * 2, kLongestPause);
      TRY_ASSIGN(newest, Newest(own_ref_, stop));
      continue;
    }
    state_.Lock()->newest[own_ref_] = {target, std::move(whole)};
    // Committed. Now for writers that were slower than our patience, or quicker than theirs.
    TRY_ASSIGN(newest, Newest(own_ref_, stop));
    bool built_on = newest.number >= target && !newest.index.left_out.contains(target);
    bool complete = built_on || Covers(newest.index.values, mine);
    if (!complete) taken_in.insert(target);
    for (auto it = skipped.begin(); it != skipped.end();) {
      TRY_ASSIGN(auto late, Exactly(*it, stop));
      if (!late) {
        ++it;
        continue;
      }
      Places theirs;
      for (const auto& [key, place] : late->values) {
        if (place.generation == *it) theirs[key] = place;
      }
      if (newest.index.left_out.contains(*it) && !Covers(newest.index.values, theirs)) {
        complete = false;
        taken_in.insert(*it);
        theirs.merge(mine);  // what we wrote ourselves is not theirs: theirs of an equal key came first
        mine = std::move(theirs);
      }
      it = skipped.erase(it);
    }
    if (!complete) continue;
    auto state = state_.Lock();
    state->own = newest.index.values;
    for (const std::string& key : removed) state->merged.erase(key);
    for (const auto& [key, place] : state->own) state->merged[key] = place;
    return Ok();
  }
}

// Values ---------------------------------------------------------------------------------------

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
  return known;
}

Result<std::map<Digest, Packs::Place>> Packs::Upload(std::vector<const Value*> values, std::stop_token stop) {
  // Small values side by side, so that they are read with one request.
  std::ranges::stable_sort(values, {}, [](const Value* value) { return value->size; });
  uint64_t total = 0;
  for (const Value* value : values) total += value->size;
  const uint64_t target = std::max(options_.pack_size, total / std::max<size_t>(options_.max_packs, 1) + 1);
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
  std::vector<std::string> names(groups.size());
  TRY(ParallelFor(groups.size(), 4, [&](size_t i) -> Status {
    TRY_ASSIGN(names[i], SavePack(groups[i], stop));
    return Ok();
  }));
  std::map<Digest, Place> places;
  for (size_t i = 0; i < groups.size(); ++i) {
    state_.Lock()->gone.erase(names[i]);  // it may be the very pack that was evicted
    uint64_t offset = 0;
    for (const Value* value : groups[i]) {
      places[value->digest] = {.pack = names[i], .offset = offset, .size = value->size, .digest = value->digest};
      offset += value->size;
    }
  }
  return places;
}

Status Packs::Change(const std::vector<Value>& values, const std::vector<std::string>& removed,
                     std::stop_token stop) {
  std::lock_guard writing(writing_);
  TRY(Load(stop));
  TRY_ASSIGN(auto places, KnownPlaces(values, stop));
  std::map<Digest, const Value*> fresh;
  for (const Value& value : values) {
    if (value.open && !places.contains(value.digest)) fresh.try_emplace(value.digest, &value);
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
