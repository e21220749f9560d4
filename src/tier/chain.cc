#include "tier/chain.h"

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace varve::tier {

namespace {

// Bytes a second below which a download is given up: the step is run instead.
constexpr int64_t kLeastRate = 256 << 10;

class Removing {
 public:
  Removing(Guarded<std::set<DiffId>>& set, std::condition_variable& changed, const DiffId& layer)
      : set_(set), changed_(changed), layer_(layer) {}
  ~Removing() {
    set_.Lock()->erase(layer_);
    changed_.notify_all();
  }

 private:
  Guarded<std::set<DiffId>>& set_;
  std::condition_variable& changed_;
  const DiffId layer_;
};

}  // namespace

Status Within(Nanos limit, std::stop_token stop, const std::function<Status(std::stop_token)>& work) {
  if (limit.count() <= 0) return work(stop);
  std::stop_source both;
  std::stop_callback forward(stop, [&] { both.request_stop(); });
  Guarded<bool> done;
  std::condition_variable wake;
  std::jthread timer([&] {
    auto state = done.Lock();
    if (!state.WaitFor(wake, limit, [&] { return *state; })) both.request_stop();
  });
  Status status = work(both.get_token());
  *done.Lock() = true;
  wake.notify_all();
  timer.join();
  if (!status && both.stop_requested() && !stop.stop_requested()) {
    return Unavailable("no answer within {}", FormatDuration(limit));
  }
  return status;
}

Chain::Chain(cache::LocalStore& local, cas::BlobStore& blobs, Clock& clock, std::vector<Member> members,
             std::stop_token stop)
    : local_(local), blobs_(blobs), clock_(clock), stop_(std::move(stop)), count_(members.size()) {
  auto states = members_.Lock();
  for (Member& member : members) states->push_back({.member = std::move(member)});
}

bool Chain::AskWithin(size_t member, Nanos limit, std::stop_token stop,
                      const std::function<Status(Tier&, std::stop_token)>& request) {
  std::shared_ptr<Tier> tier;
  {
    auto states = members_.Lock();
    if ((*states)[member].failure) return false;
    tier = (*states)[member].member.tier;
  }
  Nanos began = clock_.Monotonic();
  Status answered = Within(limit, stop, [&](std::stop_token both) { return request(*tier, both); });
  auto states = members_.Lock();
  State& state = (*states)[member];
  state.time += clock_.Monotonic() - began;
  if (answered) return true;
  if (answered.error().code == Code::kCancelled && stop.stop_requested()) return false;
  if (!state.failure) {
    LOG_WARN("cache {}: {}", state.member.name, answered.error().message);
    Counter("tier.failed").Add();
    state.failure = std::move(answered).error();
  }
  return false;
}

Result<std::vector<std::optional<cache::StepRecord>>> Chain::GetMany(const std::vector<StepKey>& keys) {
  std::vector<std::optional<cache::StepRecord>> records(keys.size());
  auto here = local_.GetMany(keys);
  if (here && here->size() == keys.size()) {
    records = std::move(*here);
  } else if (!here && count_ == 0) {
    return here;
  }
  for (size_t member = 0; member < count_; ++member) {
    std::vector<size_t> missing;
    std::vector<StepKey> asked;
    {
      auto dropped = dropped_.Lock();
      for (size_t i = 0; i < keys.size(); ++i) {
        if (records[i] || dropped->contains(keys[i])) continue;
        missing.push_back(i);
        asked.push_back(keys[i]);
      }
    }
    if (asked.empty()) break;
    Nanos limit = (*members_.Lock())[member].member.timeout;
    std::vector<std::optional<cache::StepRecord>> answers;
    bool answered = AskWithin(member, limit, stop_, [&](Tier& tier, std::stop_token stop) -> Status {
      TRY_ASSIGN(answers, tier.GetMany(asked, local_, stop));
      return Ok();
    });
    if (!answered || answers.size() != asked.size()) continue;
    auto found = found_.Lock();
    for (size_t n = 0; n < missing.size(); ++n) {
      if (!answers[n]) continue;
      Counter("tier.hits").Add();
      found->insert_or_assign(asked[n], FoundRecord{member, *answers[n]});
      records[missing[n]] = std::move(answers[n]);
    }
  }
  return records;
}

Status Chain::Put(const cache::StepRecord& record) {
  found_.Lock()->erase(record.key);
  return local_.Put(record);
}

Status Chain::Drop(const StepKey& key) {
  found_.Lock()->erase(key);
  dropped_.Lock()->insert(key);
  return local_.Drop(key);
}

Result<std::vector<cache::StepRecord>> Chain::Earlier(const std::string& slot, const Digest& op_digest, size_t limit) {
  TRY_ASSIGN(auto earlier, local_.Earlier(slot, op_digest, limit));
  auto states = members_.Lock();
  for (const State& state : *states) {
    if (earlier.size() >= limit) break;
    for (cache::StepRecord& record : state.member.tier->Earlier(slot, op_digest, limit - earlier.size())) {
      bool known = std::ranges::find(earlier, record.key, &cache::StepRecord::key) != earlier.end();
      if (!known) earlier.push_back(std::move(record));
    }
  }
  return earlier;
}

Result<std::vector<cache::StepRecord>> Chain::Traced(const Digest& weak_key, size_t limit) {
  TRY_ASSIGN(auto traced, local_.Traced(weak_key, limit));
  std::set<Digest> runs;
  for (const cache::StepRecord& record : traced) runs.insert(cache::RunOf(record));
  auto states = members_.Lock();
  auto dropped = dropped_.Lock();
  for (const State& state : *states) {
    if (state.failure) continue;  // its layers could not be had
    for (cache::StepRecord& record : state.member.tier->Traced(weak_key, limit)) {
      if (dropped->contains(record.key) || !runs.insert(cache::RunOf(record)).second) continue;
      traced.push_back(std::move(record));
    }
  }
  std::ranges::stable_sort(traced, std::ranges::greater(), &cache::StepRecord::created);
  if (traced.size() > limit) traced.resize(limit);
  return traced;
}

Result<std::optional<std::string>> Chain::WhyDisowned(const Digest& weak_key) {
  TRY_ASSIGN(auto why, local_.WhyDisowned(weak_key));
  if (why) return why;
  {
    auto states = members_.Lock();
    for (const State& state : *states) {
      if (!why && !state.failure) why = state.member.tier->WhyDisowned(weak_key);
    }
  }
  if (!why) return why;
  Counter("tier.disowned").Add();
  if (Status kept = local_.Disown(weak_key, *why); !kept) LOG_WARN("{}", kept.error().message);
  return why;
}

std::vector<cache::TierTrouble> Chain::TroubleWith(const StepKey& key) {
  using Trouble = cache::TierTrouble::Kind;
  std::vector<cache::TierTrouble> refused, failed;
  auto states = members_.Lock();
  for (const State& state : *states) {
    const Member& member = state.member;
    if (auto why = member.tier->WhyRefused(key)) refused.push_back({Trouble::kUntrusted, member.name, *why});
    if (state.failure) failed.push_back({Trouble::kFailed, member.name, state.failure->message});
  }
  refused.insert(refused.end(), failed.begin(), failed.end());
  return refused;
}

Result<std::optional<cache::LayerBlob>> Chain::FindHere(const DiffId& layer) {
  TRY_ASSIGN(auto known, local_.FindLayerBlobs(layer));
  for (const cache::LayerBlob& blob : known) {
    TRY_ASSIGN(auto size, blobs_.Size(blob.blob));
    if (size) return std::optional(blob);
  }
  return std::optional<cache::LayerBlob>();
}

Result<std::optional<cache::LayerBlob>> Chain::FetchLayer(const DiffId& layer, const OnProgress& on_progress,
                                                          std::stop_token stop) {
  {
    auto fetching = fetching_.Lock();
    fetching.Wait(fetched_, [&] { return !fetching->contains(layer); });
    fetching->insert(layer);
  }
  Removing removing(fetching_, fetched_, layer);
  TRY_ASSIGN(auto here, FindHere(layer));
  if (here) return here;
  for (size_t member = 0; member < count_; ++member) {
    auto blob = FetchFrom(member, layer, on_progress, stop);
    if (!blob || *blob) return blob;
    // Not "nobody has it": that would drop the record.
    if (stop.stop_requested()) return Cancelled("fetching {} was cancelled", layer.ToString());
  }
  return std::optional<cache::LayerBlob>();
}

std::optional<cache::LayerBlob> Chain::DescribeLayer(const DiffId& layer, std::stop_token stop) {
  for (size_t member = 0; member < count_; ++member) {
    const Member of = (*members_.Lock())[member].member;
    std::optional<oci::Descriptor> found;
    AskWithin(member, of.timeout, stop, [&](Tier& tier, std::stop_token token) -> Status {
      TRY_ASSIGN(found, tier.FindLayer(layer, token));
      return Ok();
    });
    // What is stored as chunks is made when it is fetched.
    if (!found || !oci::IsLayer(found->media_type)) continue;
    cache::LayerBlob blob{.blob = found->digest, .media_type = found->media_type, .size = found->size};
    constexpr std::string_view kRegistry = "registry:";
    if (of.name.starts_with(kRegistry)) {
      auto reference = oci::ParseReference(std::string_view(of.name).substr(kRegistry.size()));
      if (reference) blob.repository = reference->Name();
    }
    return blob;
  }
  return std::nullopt;
}

Result<std::optional<cache::LayerBlob>> Chain::FetchFrom(size_t member, const DiffId& layer,
                                                         const OnProgress& on_progress, std::stop_token stop) {
  TRY_ASSIGN(auto blob,
             Bring(
                 member, "layer " + layer.value.Short(),
                 [&](Tier& tier, std::stop_token token) { return tier.FindLayer(layer, token); }, on_progress, stop));
  if (!blob) return std::optional<cache::LayerBlob>();
  Counter("tier.layers").Add();
  Counter("tier.layer_bytes").Add(static_cast<int64_t>(blob->size));
  cache::LayerBlob fetched{.blob = blob->digest, .media_type = blob->media_type, .size = blob->size};
  TRY(local_.PutLayerBlob(layer, fetched));
  return std::optional(std::move(fetched));
}

Result<bool> Chain::FetchMount(const std::string& key, const std::string& id,
                               const std::function<Status(Reader& tar)>& take, const OnProgress& on_progress,
                               std::stop_token stop) {
  for (size_t member = 0; member < count_; ++member) {
    if (!(*members_.Lock())[member].member.mounts.Takes(id)) continue;
    TRY_ASSIGN(auto blob,
               Bring(
                   member, "cache mount " + id,
                   [&](Tier& tier, std::stop_token token) { return tier.FindMount(key, token); }, on_progress, stop));
    if (!blob) continue;
    Counter("tier.mounts").Add();
    // Of no use to anybody once it is unpacked.
    Status taken = [&]() -> Status {
      TRY_ASSIGN(auto tar, blobs_.OpenVerified(blob->digest));
      return take(*tar);
    }();
    if (Status removed = blobs_.Remove(blob->digest); !removed) LOG_WARN("{}", removed.error().message);
    TRY(std::move(taken));
    return true;
  }
  return false;
}

Result<std::optional<oci::Descriptor>> Chain::Bring(
    size_t member, const std::string& what,
    const std::function<Result<std::optional<oci::Descriptor>>(Tier&, std::stop_token)>& find,
    const OnProgress& on_progress, std::stop_token stop) {
  METRIC("tier.fetch");
  Nanos limit = (*members_.Lock())[member].member.timeout;
  std::optional<oci::Descriptor> blob;
  bool answered = AskWithin(member, limit, stop, [&](Tier& tier, std::stop_token token) -> Status {
    TRY_ASSIGN(blob, find(tier, token));
    return Ok();
  });
  if (!answered || !blob) return std::optional<oci::Descriptor>();
  limit += Nanos(static_cast<int64_t>(blob->size) * (1'000'000'000 / kLeastRate));
  std::optional<oci::Descriptor> fetched;
  std::optional<Error> local_error;
  AskWithin(member, limit, stop, [&](Tier& tier, std::stop_token token) -> Status {
    auto writer = blobs_.Create();
    if (!writer) {
      local_error = std::move(writer).error();
      return Ok();
    }
    std::string id = "fetching " + what;
    ProgressWriter counting(**writer, ByteProgress(on_progress, id, blob->size));
    Status got = tier.Fetch(*blob, counting, token);
    // One blob that is gone or damaged is its own misfortune, not the tier's.
    if (!got && (got.error().code == Code::kNotFound || got.error().code == Code::kCorrupt)) {
      tier.Distrust(*blob);
      LOG_WARN("{}: {}", what, got.error().message);
      Counter("tier.blobs_gone").Add();
      return Ok();
    }
    TRY(std::move(got));
    if (auto committed = (*writer)->Commit(blob->digest); !committed) {
      if (committed.error().code == Code::kCorrupt) {
        LOG_WARN("{}: {}", what, committed.error().message);
        tier.Distrust(*blob);
        Counter("tier.blobs_gone").Add();
      } else {
        local_error = std::move(committed).error();
      }
      return Ok();
    }
    if (on_progress) on_progress(id, blob->size, blob->size, true);
    fetched = blob;
    return Ok();
  });
  if (local_error) return std::move(*local_error);
  return fetched;
}

bool Chain::Ask(size_t member, const std::function<Status(Tier&, std::stop_token)>& request) {
  Nanos limit = (*members_.Lock())[member].member.timeout;
  return AskWithin(member, limit, stop_, request);
}

void Chain::NoteFound(size_t member, const cache::StepRecord& record) {
  Counter("tier.hits").Add();
  found_.Lock()->insert_or_assign(record.key, FoundRecord{member, record});
}

std::string Chain::TierOf(const StepKey& key) {
  auto found = found_.Lock();
  auto it = found->find(key);
  return it == found->end() ? "" : (*members_.Lock())[it->second.member].member.name;
}

std::optional<cache::StepRecord> Chain::Found(const StepKey& key) {
  auto found = found_.Lock();
  auto it = found->find(key);
  return it == found->end() ? std::nullopt : std::optional(it->second.record);
}

Status Chain::KeepFound(const std::function<bool(std::vector<cache::Rootfs>&)>& here) {
  std::vector<cache::StepRecord> records;
  {
    auto all = found_.Lock();
    for (const auto& [key, found] : *all) records.push_back(found.record);
  }
  for (cache::StepRecord& record : records) {
    if (here(record.outputs)) TRY(local_.Put(record));
  }
  return Ok();
}

bool Chain::Failed(const std::string& name) {
  auto states = members_.Lock();
  return std::ranges::any_of(*states, [&](const State& state) { return state.member.name == name && state.failure; });
}

std::vector<Report> Chain::Reports() {
  std::vector<Report> reports;
  auto states = members_.Lock();
  for (State& state : *states) {
    reports.push_back({.name = state.member.name,
                       .traffic = state.member.tier->traffic(),
                       .time = state.time,
                       .failure = state.failure,
                       .notices = state.member.tier->TakeNotices()});
  }
  return reports;
}

}  // namespace varve::tier
