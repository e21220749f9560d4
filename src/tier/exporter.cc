#include "tier/exporter.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "base/guarded.h"
#include "base/redact.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "tier/chain.h"
#include "tier/export_budget.h"
#include "tier/shrink.h"
#include "tier/signing.h"

namespace varve::tier {

namespace {

constexpr size_t kParallel = 8;

bool HasTopLayer(const Contents& there, const cache::StepRecord& record) {
  return std::ranges::all_of(record.outputs, [&](const cache::Rootfs& output) {
    return output.layers.empty() || there.layers.contains(output.layers.back());
  });
}

bool HasLayerOf(const std::vector<StoredLayer>& layers, const cache::StepRecord& record) {
  return std::ranges::any_of(layers, [&](const StoredLayer& stored) {
    return std::ranges::any_of(record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::find(output.layers, stored.layer) != output.layers.end();
    });
  });
}

// Ends a layer's tar when the time of its export is over.
class InTime final : public Writer {
 public:
  InTime(Writer& out, const ExportBudget& budget, bool& cut_off) : out_(out), budget_(budget), cut_off_(cut_off) {}
  Status Write(std::string_view data) override {
    cut_off_ = budget_.TimeIsOver();
    if (cut_off_) return Unavailable("there was no time left for it");
    return out_.Write(data);
  }

 private:
  Writer& out_;
  const ExportBudget& budget_;
  bool& cut_off_;
};

class Exporter {
 public:
  Exporter(ExportTarget& to, const Contents& there, const Offer& offer, const OnProgress& on_progress,
           std::stop_token stop)
      : to_(to), there_(there), offer_(offer), on_progress_(on_progress), stop_(std::move(stop)) {}

  Status Run() {
    TRY(FindNewRecords());
    FindDisowned();
    TRY_ASSIGN(bool trees_missing, TreesAreMissing());
    TRY_ASSIGN(std::set<DiffId> held, KeepLayers());
    ExportBudget budget(offer_, layers_, held, to_.rates, to_.options.evicts_by_itself, to_.clock);
    // Blobs before records (invariant I4).
    if (!offer_.chunked) TRY(SendBlobs(budget));
    if (offer_.chunked || !offer_.mounts.empty()) TRY(SendChunks(budget));
    if (Chooses()) DropRecordsThatBringNothing();
    left_out_ = budget.left_out();
    if (added_.records.empty() && added_.mounts.empty() && added_.disowned.empty() && !trees_missing &&
        there_.damaged.empty()) {
      return Ok();
    }
    if (trees_missing) TRY(SendTrees());
    return WriteGroup();
  }
  size_t left_out() const { return left_out_; }

 private:
  using LayerBlobs = std::map<DiffId, Offer::Blob>;

  Status FindNewRecords();
  void FindDisowned();
  Result<bool> TreesAreMissing();
  // Those of layers_ that are there as the offer wants them, which go into added_.
  Result<std::set<DiffId>> KeepLayers();
  Status SendBlobs(ExportBudget& budget);
  // Several at once; those that this machine does not have are left out. `send`: when they are made.
  Result<LayerBlobs> MakeBlobs(ExportBudget& budget, bool send);
  Status SendBlob(const DiffId& layer, const Offer::Blob& blob, std::stop_token stop) {
    return to_.wire.Send(blob.descriptor, blob.open, on_progress_, "sending layer " + layer.value.Short(), stop);
  }
  // False: the time was over.
  Result<bool> SendBlobInTime(ExportBudget& budget, const DiffId& layer, const Offer::Blob& blob);
  // Of a place that takes nothing back: what goes there is chosen before it is sent.
  bool Chooses() const { return to_.options.evicts_by_itself && to_.options.max_size > 0; }
  void LeaveOutWhatIsNotWorthIt(std::vector<StoredLayer>& layers);
  void DropRecordsThatBringNothing();
  Status SendChunks(ExportBudget& budget);
  // Those that changed, and those that the place lacks.
  Result<std::vector<const Offer::Mount*>> MountsToSend();
  Result<bool> IsThere(const StoredMount& mount);
  Status KeepWhatFits(std::vector<StoredMount>& mounts);
  Status AddChunkedLayers(ChunksAhead& chunks, ExportBudget& budget);
  Status SendTrees();
  Status WriteGroup();

  Result<bool> Holds(const StoredLayer& layer) {
    for (const oci::Descriptor& blob : layer.Blobs()) {
      TRY_ASSIGN(bool held, to_.wire.Holds(blob, stop_));
      if (!held) return false;
    }
    return true;
  }
  Result<bool> HoldsLayersOf(const cache::StepRecord& record) {
    for (const cache::Rootfs& output : record.outputs) {
      for (const DiffId& layer : output.layers) {
        auto known = there_.layers.find(layer);
        if (known == there_.layers.end()) continue;
        TRY_ASSIGN(bool held, Holds(*known->second));
        if (!held) return false;
      }
    }
    return true;
  }

  ExportTarget& to_;
  const Contents& there_;
  const Offer& offer_;
  const OnProgress& on_progress_;
  const std::stop_token stop_;
  Group added_;
  std::set<DiffId> layers_;          // of the records in added_, those that the offer has
  std::set<StepKey> there_already_;  // of the records in added_
  size_t left_out_ = 0;
};

// Records that the tier lacks, or has without a layer that this build can give.
Status Exporter::FindNewRecords() {
  for (const Offer::Record& offered : offer_.records) {
    auto known = there_.records.find(offered.record.key);
    bool there_already = known != there_.records.end() && !offer_.replace;
    if (there_already && known->second->outputs != offered.record.outputs) {
      // Another result of the same inputs: others may build on it, so it stays unless this build had to
      // run the step, or it never had its layer.
      if (!offered.fresh && HasTopLayer(there_, *known->second)) continue;
      there_already = false;
    }
    bool layers_missing = false;
    for (const cache::Rootfs& output : offered.record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (offer_.layers.contains(layer) && !there_.layers.contains(layer)) layers_missing = true;
      }
    }
    // A step that ran although its record is there may have run because a blob is not.
    if (there_already && !layers_missing && (offered.fresh || to_.options.evicts_by_itself)) {
      TRY_ASSIGN(bool whole, HoldsLayersOf(offered.record));
      layers_missing = !whole;
    }
    if (there_already && !layers_missing && !offer_.force_compression) continue;
    if (there_already) there_already_.insert(offered.record.key);
    added_.records.push_back(offered.record);
    for (const cache::Rootfs& output : offered.record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (offer_.layers.contains(layer)) layers_.insert(layer);
      }
    }
  }
  return Ok();
}

// Those of which somebody could find a record there.
void Exporter::FindDisowned() {
  std::set<Digest> has_records;
  auto note = [&](const cache::StepRecord& record) {
    if (record.trace) has_records.insert(record.trace->weak_key);
  };
  for (const auto& [key, record] : there_.records) note(*record);
  std::ranges::for_each(added_.records, note);
  for (const auto& [weak_key, why] : offer_.disowned) {
    if (!has_records.contains(weak_key) || there_.disowned.contains(weak_key)) continue;
    added_.disowned.push_back({weak_key, RedactedText(why)});
  }
}

Result<bool> Exporter::TreesAreMissing() {
  std::set<const TreePack*> packs;
  for (const Digest& root : offer_.roots) {
    auto pack = there_.trees.find(root);
    if (pack == there_.trees.end() || offer_.replace) return true;
    packs.insert(pack->second);
  }
  for (const TreePack* pack : packs) {
    TRY_ASSIGN(bool held, to_.wire.Holds(pack->blob, stop_));
    if (!held) return true;
  }
  return false;
}

Result<std::set<DiffId>> Exporter::KeepLayers() {
  if (offer_.replace) return std::set<DiffId>();
  std::vector<DiffId> wanted(layers_.begin(), layers_.end());
  std::vector<char> held(wanted.size());
  auto find = [&](size_t i) -> Status {
    auto known = there_.layers.find(wanted[i]);
    if (known == there_.layers.end()) return Ok();
    if (offer_.force_compression && known->second->blob.media_type != offer_.media_type) return Ok();
    TRY_ASSIGN(held[i], Holds(*known->second));
    return Ok();
  };
  TRY(ParallelFor(wanted.size(), kParallel, find));
  std::set<DiffId> kept;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (!held[i]) continue;
    kept.insert(wanted[i]);
    added_.layers.push_back(*there_.layers.at(wanted[i]));
  }
  return kept;
}

Status Exporter::SendBlobs(ExportBudget& budget) {
  TRY_ASSIGN(auto blobs, MakeBlobs(budget, !Chooses()));
  std::vector<StoredLayer> made;
  for (const auto& [layer, blob] : blobs) made.push_back({layer, blob.descriptor});
  if (Chooses()) {
    LeaveOutWhatIsNotWorthIt(made);
    for (const StoredLayer& stored : made) TRY(SendBlob(stored.layer, blobs.at(stored.layer), stop_));
  }
  std::ranges::move(made, std::back_inserter(added_.layers));
  return Ok();
}

Result<Exporter::LayerBlobs> Exporter::MakeBlobs(ExportBudget& budget, bool send) {
  Guarded<LayerBlobs> made;
  auto make = [&](size_t i) -> Status {
    const DiffId& layer = budget.at(i).layer;
    ExportBudget::Turn turn(budget, i);
    if (budget.TimeIsOver()) {
      turn.LeaveOut();
      return Ok();
    }
    auto blob = offer_.make_blob(layer, stop_);
    if (!blob && blob.error().code == Code::kNotFound) return Ok();
    if (!blob) return Error(std::move(blob).error());
    if (!turn.Take(blob->descriptor.size)) return Ok();
    if (send) {
      TRY_ASSIGN(bool sent, SendBlobInTime(budget, layer, *blob));
      if (!sent) {
        budget.CutOff(i);
        return Ok();
      }
      budget.Sent(i);
    }
    made.Lock()->emplace(layer, std::move(*blob));
    return Ok();
  };
  TRY(ParallelFor(budget.size(), kParallel, [&](size_t i) {
    Status status = make(i);
    if (!status) budget.GiveUp();
    return status;
  }));
  return std::move(*made.Lock());
}

Result<bool> Exporter::SendBlobInTime(ExportBudget& budget, const DiffId& layer, const Offer::Blob& blob) {
  if (!budget.has_time_limit()) {
    TRY(SendBlob(layer, blob, stop_));
    return true;
  }
  bool cut_off = false;
  Status sent = Within(std::max(budget.TimeLeft(), Nanos(1)), stop_, [&](std::stop_token both) {
    Status status = SendBlob(layer, blob, both);
    cut_off = !status && both.stop_requested() && !stop_.stop_requested();
    return status;
  });
  if (cut_off) return false;
  TRY(std::move(sent));
  return true;
}

void Exporter::LeaveOutWhatIsNotWorthIt(std::vector<StoredLayer>& layers) {
  Group wanted = added_;
  wanted.layers.insert(wanted.layers.end(), layers.begin(), layers.end());
  std::set<StepKey> of_result;
  for (const Offer::Record& offered : offer_.records) {
    bool beyond = std::ranges::any_of(offered.record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::any_of(output.layers, [&](const DiffId& layer) {
        return offer_.layers.contains(layer) && !offer_.result_layers.contains(layer);
      });
    });
    if (!beyond) of_result.insert(offered.record.key);
  }
  std::set<DiffId> worth =
      WorthSending(there_.groups, wanted, offer_.result_layers, of_result, to_.options.max_size, to_.clock.Now());
  Group left_out;
  std::erase_if(layers, [&](const StoredLayer& stored) {
    if (worth.contains(stored.layer)) return false;
    left_out.layers.push_back(stored);
    return true;
  });
  if (left_out.layers.empty()) return;
  auto of_the_result = [&](const DiffId& layer) { return offer_.result_layers.contains(layer); };
  bool least = std::ranges::all_of(added_.layers, of_the_result, &StoredLayer::layer) &&
               std::ranges::all_of(layers, of_the_result, &StoredLayer::layer);
  to_.note(fmt::format("{} of {} layers ({}) were not sent, since max-size={} is reached{}", left_out.layers.size(),
                       left_out.layers.size() + added_.layers.size() + layers.size(), FormatBytes(BytesOf({left_out})),
                       FormatBytes(to_.options.max_size), least ? ": the export was one of mode=min" : ""));
}

// A record that was here without its layers, and stays so, is nothing new.
void Exporter::DropRecordsThatBringNothing() {
  std::erase_if(added_.records, [&](const cache::StepRecord& record) {
    return there_already_.contains(record.key) && !HasLayerOf(added_.layers, record);
  });
}

// Layers and cache mounts.
Status Exporter::SendChunks(ExportBudget& budget) {
  TRY_ASSIGN(auto mounts, MountsToSend());
  const bool layers = offer_.chunked && budget.size() > 0;
  if (!layers && mounts.empty()) return Ok();
  std::unique_ptr<ChunksAhead> chunks = std::move(to_.chunks);
  if (chunks == nullptr) {
    chunks.reset(
        new ChunksAhead{ChunkSender(to_.wire, to_.lists, to_.options.local.scratch, offer_.chunk_level, stop_), {}});
    TRY(chunks->sender.Know(there_.Tars()));
  }
  ChunkSender& sender = chunks->sender;
  if (layers) TRY(AddChunkedLayers(*chunks, budget));
  for (const Offer::Mount* mount : mounts) {
    Status sent = sender.AddMount(mount->key, mount->created, mount->write);
    if (sent) continue;
    if (sent.error().code == Code::kUnavailable || stop_.stop_requested()) return sent;
    // Somebody removed it, or writes to it at this moment: the tier keeps what it has.
    to_.note(fmt::format("cache mount {} was not sent: {}", mount->id, sent.error().message));
  }
  TRY_ASSIGN(auto sent, sender.Finish());
  std::vector<StoredLayer> chunked;
  for (StoredLayer& layer : sent.layers) {
    // What was sent ahead may turn out to be there, or to be of no record.
    const bool held = std::ranges::find(added_.layers, layer.layer, &StoredLayer::layer) != added_.layers.end();
    if (layers_.contains(layer.layer) && !held) chunked.push_back(std::move(layer));
  }
  if (Chooses()) LeaveOutWhatIsNotWorthIt(chunked);
  for (StoredLayer& layer : chunked) {
    TRY(sender.SendHeld(layer));
    added_.layers.push_back(std::move(layer));
  }
  std::vector<StoredMount> fresh;
  for (StoredMount& mount : sent.mounts) {
    TRY_ASSIGN(bool is_there, IsThere(mount));
    if (!is_there) fresh.push_back(std::move(mount));
  }
  if (Chooses()) TRY(KeepWhatFits(fresh));
  for (StoredMount& mount : fresh) {
    TRY(sender.SendHeld(mount.tar));
    added_.mounts.push_back(std::move(mount));
  }
  return Ok();
}

Result<std::vector<const Offer::Mount*>> Exporter::MountsToSend() {
  std::vector<const Offer::Mount*> mounts;
  for (const Offer::Mount& mount : offer_.mounts) {
    auto known = there_.mounts.find(mount.key);
    bool stays = !mount.changed && known != there_.mounts.end();
    if (stays && to_.options.evicts_by_itself) {
      TRY_ASSIGN(stays, Holds(known->second->tar));
    }
    if (!stays) mounts.push_back(&mount);
  }
  return mounts;
}

// The same chunks make the same packs, also of a mount whose packs are gone.
Result<bool> Exporter::IsThere(const StoredMount& mount) {
  auto known = there_.mounts.find(mount.key);
  if (known == there_.mounts.end()) return false;
  const StoredLayer& tar = known->second->tar;
  if (tar.layer != mount.tar.layer || tar.packs != mount.tar.packs) return false;
  return to_.options.evicts_by_itself ? Holds(tar) : true;
}

// What was used last goes first. Room is made, in what the list names, by older mounts and by the layers that
// are worth least, and not by layers that this very export brings.
Status Exporter::KeepWhatFits(std::vector<StoredMount>& mounts) {
  const uint64_t max_size = to_.options.max_size;
  std::set<StepKey> made;
  for (const cache::StepRecord& record : added_.records) made.insert(record.key);
  Group wanted = added_;
  std::vector<StoredMount> fitting, left_out;
  std::ranges::stable_sort(mounts, std::greater(), &StoredMount::created);
  for (StoredMount& mount : mounts) {
    wanted.mounts = fitting;
    wanted.mounts.push_back(mount);
    if (to_.options.sign) TRY(SignGroup(wanted, *to_.options.sign));
    std::vector<Group> all = there_.groups;
    all.push_back(wanted);
    Group one = MergeGroups(all);
    Shrink(one, max_size, to_.clock.Now(), made);
    auto same = [&](const StoredMount& stays) {
      return stays.key == mount.key && stays.tar.layer == mount.tar.layer && stays.tar.packs == mount.tar.packs;
    };
    (std::ranges::any_of(one.mounts, same) ? fitting : left_out).push_back(std::move(mount));
  }
  mounts = std::move(fitting);
  if (left_out.empty()) return Ok();
  std::vector<std::string> ids;
  for (const StoredMount& mount : left_out) {
    ids.push_back(std::ranges::find(offer_.mounts, mount.key, &Offer::Mount::key)->id);
  }
  to_.note(fmt::format("cache mounts were not sent, since max-size={} is reached, of which mounts take half: {} ({})",
                       FormatBytes(max_size), Join(ids, ", "), FormatBytes(BytesOf({{.mounts = left_out}}))));
  return Ok();
}

// One after the other. What a layer takes is counted as its chunks that are not there, before they are
// compressed: an export stays below max-export, and not just below it.
Status Exporter::AddChunkedLayers(ChunksAhead& chunks, ExportBudget& budget) {
  ChunkSender& sender = chunks.sender;
  for (size_t i = 0; i < budget.size(); ++i) {
    const DiffId& layer = budget.at(i).layer;
    ExportBudget::Turn turn(budget, i);
    if (chunks.layers.contains(layer)) {
      turn.Take(0);
      continue;
    }
    if (budget.TimeIsOver()) {
      turn.LeaveOut();
      continue;
    }
    auto write = [&](Writer& out, std::stop_token token) { return offer_.write_tar(layer, out, token); };
    uint64_t size = budget.at(i).bytes;
    if (offer_.max_bytes) {
      auto counted = sender.NewBytes(write);
      if (!counted && counted.error().code == Code::kNotFound) continue;
      TRY_ASSIGN(size, std::move(counted));
    }
    if (!turn.Take(size)) continue;
    const uint64_t before = to_.wire.bytes_written;
    bool cut_off = false;
    Status added = sender.AddLayer(layer, [&](Writer& out, std::stop_token token) {
      InTime in_time(out, budget, cut_off);
      return write(in_time, token);
    });
    if (cut_off) {
      budget.CutOff(i);
      continue;
    }
    if (!added && added.error().code == Code::kNotFound) continue;
    TRY(std::move(added));
    budget.Sent(i);
    uint64_t bytes = to_.wire.bytes_written - before;
    if (on_progress_) on_progress_("sending layer " + layer.value.Short(), bytes, bytes, true);
  }
  return Ok();
}

Status Exporter::SendTrees() {
  TRY_ASSIGN(std::string pack, EncodeTrees(offer_.objects));
  TreePack& trees = added_.trees.emplace_back(Describe(pack, kTreesMediaType), offer_.roots);
  return to_.wire.Send(trees.blob, OpenText(std::move(pack)), stop_);
}

Status Exporter::WriteGroup() {
  const uint64_t max_size = to_.options.max_size;
  std::set<StepKey> made;
  for (const cache::StepRecord& record : added_.records) made.insert(record.key);
  if (to_.options.sign) TRY(SignGroup(added_, *to_.options.sign));
  std::vector<Digest> replaced = there_.damaged;
  std::vector<Group> all = there_.groups;
  if (offer_.replace) {
    for (Group& group : all) {
      DropRecords(group, [&](const cache::StepRecord& record) { return made.contains(record.key); });
    }
  }
  all.push_back(std::move(added_));
  const bool too_large = max_size > 0 && (BytesOf(all) > max_size || BytesOfMounts(all) > max_size / 2);
  if (offer_.replace || all.size() > kMaxGroups || too_large) {
    for (const GroupEntry& entry : there_.entries) replaced.push_back(entry.manifest.digest);
    Group one = MergeGroups(all);
    if (max_size > 0) Shrink(one, max_size, to_.clock.Now(), made);
    all = {std::move(one)};
  }
  return to_.wire.PutGroup(all.back(), replaced, stop_);
}

}  // namespace

Result<Exported> Export(ExportTarget& to, const Contents& there, const Offer& offer, const OnProgress& on_progress,
                        std::stop_token stop) {
  Exporter exporter(to, there, offer, on_progress, std::move(stop));
  TRY(exporter.Run());
  return Exported{.left_out = exporter.left_out()};
}

}  // namespace varve::tier
