// The index of gha::Packs: its text, and how it is read and replaced (packs.h).
#include <algorithm>
#include <random>

#include "base/json.h"
#include "base/log.h"
#include "base/strings.h"
#include "gha/packs.h"

namespace varve::gha {

namespace {

constexpr Nanos kFirstPause{100'000'000}, kLongestPause{2'000'000'000};

std::string ShortHash(const std::string& text) { return Digest::Of(text).Hex().substr(0, 8); }

}  // namespace

uint32_t Packs::Chance() {
  thread_local std::minstd_rand engine{std::random_device{}()};
  return static_cast<uint32_t>(engine());
}

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
    Place& place = index.values[key] = {
        .pack = packs[*pack], .offset = *offset, .size = *size, .digest = digest, .generation = *generation};
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

}  // namespace varve::gha
