#include "tier/chunked.h"

#include <algorithm>
#include <unordered_map>

#include "base/log.h"
#include "base/metric.h"
#include "base/thread_pool.h"
#include "chunk/assemble.h"
#include "chunk/encoder.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;
constexpr uint64_t kMaxListBlob = 64 << 20;
// Lists that an export reads to know what is there; beyond that, chunks may be sent twice.
constexpr uint64_t kMaxKnown = 32 << 20;
// A build after a build, each adds a pack of the little that changed. Beyond this many small packs the
// smallest are not relied on any more: what of them is still needed is sent again, in one pack.
constexpr size_t kMaxSmallPacks = 32;
constexpr uint64_t kSmallPack = 4 << 20;
// Below that the packs are fetched without looking for older layers: reading those costs a second for
// each half gigabyte.
constexpr uint64_t kWorthLooking = 1 << 20;
constexpr size_t kMaxSimilar = 2;

class Limited final : public Writer {
 public:
  explicit Limited(uint64_t limit) : limit_(limit) {}
  Status Write(std::string_view data) override {
    if (data.size() > limit_ - text.size()) return Corrupt("a part of a pack is longer than it should be");
    text.append(data);
    return Ok();
  }
  std::string text;

 private:
  const uint64_t limit_;
};

bool Unusable(const Error& error) { return error.code == Code::kNotFound || error.code == Code::kCorrupt; }

oci::Descriptor DescriptorOf(const chunk::Pack& pack) {
  return {.media_type = std::string(chunk::kPackMediaType), .digest = pack.digest, .size = pack.size};
}

// The chunks that local layers have. An error of theirs is not one of the fetch.
void TakeFromLocal(chunk::Assembly& assembly, const std::vector<DiffId>& similar, const LocalTars& local,
                   std::stop_token stop) {
  METRIC("tier.similar");
  for (size_t i = 0; i < std::min(kMaxSimilar, similar.size()); ++i) {
    if (assembly.missing() < kWorthLooking) return;
    auto splitter = assembly.TakeFrom();
    Status taken = local.write_tar(similar[i], *splitter, stop);
    if (taken) taken = splitter->Finish();
    if (!taken) LOG_INFO("layer {} for its chunks: {}", similar[i].ToString(), taken.error().message);
  }
}

Status FetchRanges(chunk::Assembly& assembly, const chunk::ChunkList& list, Wire& wire, std::stop_token stop) {
  METRIC("tier.chunks");
  std::vector<chunk::Range> ranges = assembly.Missing();
  if (wire.HasParts()) {
    return ParallelFor(ranges.size(), kParallel, [&](size_t i) -> Status {
      const chunk::Pack& pack = list.packs[ranges[i].pack];
      Limited part(ranges[i].size);
      TRY(wire.GetPart(DescriptorOf(pack), ranges[i].offset, ranges[i].size, part, stop));
      Status unpacked = assembly.Unpack(ranges[i], part.text);
      if (!unpacked && unpacked.error().code == Code::kCorrupt) wire.Distrust(pack.digest);
      return unpacked;
    });
  }
  std::map<uint32_t, std::vector<const chunk::Range*>> by_pack;
  for (const chunk::Range& range : ranges) by_pack[range.pack].push_back(&range);
  std::vector<std::vector<const chunk::Range*>> packs;
  for (auto& [pack, of_it] : by_pack) packs.push_back(std::move(of_it));
  return ParallelFor(packs.size(), kParallel, [&](size_t i) -> Status {
    const chunk::Pack& pack = list.packs[packs[i][0]->pack];
    Limited whole(pack.size);
    TRY(wire.Get(DescriptorOf(pack), whole, stop));
    if (Digest::Of(whole.text) != pack.digest) {
      wire.Distrust(pack.digest);
      return Corrupt("pack {} arrived damaged", pack.digest.ToString());
    }
    for (const chunk::Range* range : packs[i]) {
      if (range->offset + range->size > whole.text.size()) return Corrupt("a chunk list does not fit its packs");
      TRY(assembly.Unpack(*range, std::string_view(whole.text).substr(range->offset, range->size)));
    }
    return Ok();
  });
}

}  // namespace

Result<std::shared_ptr<const chunk::ChunkList>> ChunkLists::Get(const StoredLayer& tar, std::stop_token stop) {
  {
    auto lists = lists_.Lock();
    auto it = lists->find(tar.blob.digest);
    if (it != lists->end()) return it->second;
  }
  TRY_ASSIGN(std::string text, wire_.GetSmall(tar.blob, kMaxListBlob, stop));
  TRY_ASSIGN(auto list, chunk::Decode(text));
  if (list.digest != tar.layer.value || list.size != tar.tar_size) {
    return Corrupt("a chunk list is that of another layer");
  }
  auto shared = std::make_shared<const chunk::ChunkList>(std::move(list));
  lists_.Lock()->insert_or_assign(tar.blob.digest, shared);
  return shared;
}

Status FetchChunked(const StoredLayer& tar, const std::vector<DiffId>& similar, const LocalTars& local,
                    ChunkLists& lists, Wire& wire, Writer& out, std::stop_token stop) {
  TRY_ASSIGN(auto list, lists.Get(tar, stop));
  TRY_ASSIGN(auto assembly, chunk::Assembly::Start(*list, local.scratch));
  TakeFromLocal(*assembly, similar, local, stop);
  TRY(FetchRanges(*assembly, *list, wire, stop));
  return assembly->Join(out);
}

ChunkSender::ChunkSender(Wire& wire, ChunkLists& lists, std::string scratch, std::optional<int> level,
                         std::stop_token stop)
    : wire_(wire), lists_(lists), stop_(stop), spool_(std::move(scratch)),
      packer_({.level = level},
              [this](const chunk::Pack& pack, std::string bytes) { return SendPack(pack, std::move(bytes)); }) {}

Status ChunkSender::SendPack(const chunk::Pack& pack, std::string bytes) {
  if (!wire_.KeepsUntilReplace()) return wire_.Send(DescriptorOf(pack), OpenText(std::move(bytes)), stop_);
  TRY_ASSIGN(OpenAt open, spool_.Add(bytes));
  held_.Lock()->insert_or_assign(pack.digest, std::move(open));
  return Ok();
}

// What is held for a tar is sent or not: it shares packs with others only where it has chunks of theirs.
Status ChunkSender::EndOfTar() { return wire_.KeepsUntilReplace() ? packer_.EndOfPack() : Ok(); }

Status ChunkSender::Know(const std::vector<const StoredLayer*>& tars) {
  METRIC("tier.known_chunks");
  std::vector<const StoredLayer*> chosen;
  uint64_t bytes = 0;
  for (const StoredLayer* tar : tars) {
    if (!tar->chunked() || bytes + tar->blob.size > kMaxKnown) continue;
    bytes += tar->blob.size;
    chosen.push_back(tar);
  }
  std::vector<std::shared_ptr<const chunk::ChunkList>> lists(chosen.size());
  TRY(ParallelFor(chosen.size(), kParallel, [&](size_t i) -> Status {
    auto list = lists_.Get(*chosen[i], stop_);
    if (list) lists[i] = *list;
    else if (!Unusable(list.error())) return Error(std::move(list).error());
    return Ok();
  }));
  std::map<Digest, chunk::Pack> packs;
  for (const auto& list : lists) {
    if (list == nullptr) continue;
    for (const chunk::Pack& pack : list->packs) packs.emplace(pack.digest, pack);
  }
  std::vector<chunk::Pack> sorted;
  for (const auto& [digest, pack] : packs) sorted.push_back(pack);
  std::ranges::stable_sort(sorted, std::greater(), &chunk::Pack::size);
  auto small = std::ranges::find_if(sorted, [](const chunk::Pack& pack) { return pack.size < kSmallPack; });
  size_t relied = static_cast<size_t>(small - sorted.begin()) + kMaxSmallPacks;
  if (sorted.size() > relied) sorted.resize(relied);
  Guarded<std::set<Digest>> usable;
  TRY(ParallelFor(sorted.size(), kParallel, [&](size_t i) -> Status {
    TRY_ASSIGN(bool held, wire_.Holds(DescriptorOf(sorted[i]), stop_));
    if (held) usable.Lock()->insert(sorted[i].digest);
    return Ok();
  }));
  auto held = usable.Lock();
  for (const auto& list : lists) {
    if (list == nullptr) continue;
    packer_.Know(*list, [&](const chunk::Pack& pack) { return held->contains(pack.digest); });
  }
  return Ok();
}

Result<uint64_t> ChunkSender::NewBytes(const WriteTar& write) {
  METRIC("tier.count_chunks");
  uint64_t bytes = 0;
  std::set<Digest> counted;
  chunk::Splitter splitter([&](chunk::Part, const Digest& digest, std::string_view chunk) -> Status {
    if (!packer_.Has(digest) && counted.insert(digest).second) bytes += chunk.size();
    return Ok();
  });
  TRY(write(splitter, stop_));
  TRY(splitter.Finish());
  return bytes;
}

Status ChunkSender::AddLayer(const DiffId& layer, const WriteTar& write) {
  METRIC("tier.chunk_layer");
  chunk::Encoder encoder(packer_);
  TRY(write(encoder, stop_));
  TRY_ASSIGN(auto stream, encoder.Finish(layer.value));
  TRY(EndOfTar());
  layers_.push_back(std::move(stream));
  return Ok();
}

Status ChunkSender::AddMount(const std::string& key, Timestamp created, const WriteTar& write) {
  METRIC("tier.chunk_mount");
  chunk::Encoder encoder(packer_);
  HashingWriter hashed(&encoder);
  TRY(write(hashed, stop_));
  TRY_ASSIGN(auto stream, encoder.Finish(hashed.Finish()));
  TRY(EndOfTar());
  mounts_.push_back({key, created, std::move(stream)});
  return Ok();
}

Result<StoredLayer> ChunkSender::SendList(const chunk::Stream& stream) {
  chunk::ChunkList list = packer_.ListOf(stream);
  TRY_ASSIGN(std::string text, chunk::Encode(list));
  StoredLayer stored{
      .layer = DiffId(stream.digest), .blob = Describe(text, chunk::kListMediaType), .tar_size = stream.size};
  for (const chunk::Pack& pack : list.packs) stored.packs.push_back(DescriptorOf(pack));
  if (wire_.KeepsUntilReplace()) held_.Lock()->insert_or_assign(stored.blob.digest, OpenText(std::move(text)));
  else TRY(wire_.Send(stored.blob, OpenText(std::move(text)), stop_));
  return stored;
}

Status ChunkSender::SendHeld(const StoredLayer& tar) {
  for (const oci::Descriptor& blob : tar.Blobs()) {
    OpenAt open;
    {
      auto held = held_.Lock();
      auto it = held->find(blob.digest);
      if (it == held->end()) continue;
      open = std::move(it->second);
      held->erase(it);  // others that need it have it
    }
    TRY(wire_.Send(blob, open, stop_));
  }
  return Ok();
}

Result<ChunkSender::Sent> ChunkSender::Finish() {
  TRY(packer_.Finish());
  Sent sent;
  sent.layers.resize(layers_.size());
  sent.mounts.resize(mounts_.size());
  TRY(ParallelFor(layers_.size() + mounts_.size(), kParallel, [&](size_t i) -> Status {
    if (i < layers_.size()) {
      TRY_ASSIGN(sent.layers[i], SendList(layers_[i]));
      return Ok();
    }
    const Mount& mount = mounts_[i - layers_.size()];
    StoredMount& stored = sent.mounts[i - layers_.size()];
    stored.key = mount.key;
    stored.created = mount.created;
    TRY_ASSIGN(stored.tar, SendList(mount.stream));
    return Ok();
  }));
  return sent;
}

}  // namespace varve::tier
