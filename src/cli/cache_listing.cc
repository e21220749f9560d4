#include "cli/cache_listing.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/clock.h"
#include "base/json.h"
#include "base/strings.h"
#include "tier/shrink.h"

namespace varve::cli {

namespace {

using Blobs = std::multimap<DiffId, const tier::StoredLayer*>;

Blobs BlobsByLayer(const tier::Group& group) {
  Blobs blobs;
  for (const tier::StoredLayer& layer : group.layers) blobs.emplace(layer.layer, &layer);
  return blobs;
}

std::vector<const cache::StepRecord*> NewestFirst(const tier::Group& group) {
  std::vector<const cache::StepRecord*> records;
  for (const cache::StepRecord& record : group.records) records.push_back(&record);
  std::ranges::stable_sort(records, [](const auto* a, const auto* b) { return a->created > b->created; });
  return records;
}

std::vector<std::string> SignersOf(const tier::Group& group, const cache::StepRecord& record) {
  std::vector<std::string> names;
  if (auto of = group.signatures.find(tier::StatementOf(record)); of != group.signatures.end()) {
    for (const tier::Signature& signature : of->second) names.push_back(signature.key);
  }
  return names;
}

// Of the layer that the step made: of its blob, or of its tar where it is chunks, since others have some of their
// packs too; nothing where the tier does not have it.
std::optional<uint64_t> BytesHere(const Blobs& blobs, const cache::StepRecord& record) {
  std::optional<uint64_t> bytes;
  for (const cache::Rootfs& output : record.outputs) {
    if (output.layers.empty()) continue;
    auto blob = blobs.find(output.layers.back());
    if (blob == blobs.end()) continue;
    const tier::StoredLayer& layer = *blob->second;
    bytes = bytes.value_or(0) + (layer.chunked() ? layer.tar_size : layer.blob.size);
  }
  return bytes;
}

Json StepJson(const tier::Group& group, const Blobs& blobs, const cache::StepRecord& record) {
  Json json;
  json.Set("Step", record.name).Set("Key", record.key.ToString());
  json.Set("CreatedAt", FormatTime(record.created));
  json.Set("Seconds", static_cast<double>(record.wall.count()) / 1e9);
  auto bytes = BytesHere(blobs, record);
  json.Set("HasLayer", bytes.has_value()).SetIf(bytes.has_value(), "Bytes", bytes.value_or(0));
  auto signers = SignersOf(group, record);
  json.SetIf(!signers.empty(), "SignedBy", Json::Strings(signers));
  return json;
}

struct Use {
  size_t groups = 0, records = 0, layers = 0, mounts = 0, packs = 0;
  uint64_t record_bytes = 0, layer_bytes = 0, mount_bytes = 0, pack_bytes = 0;
  uint64_t Total() const { return record_bytes + layer_bytes + mount_bytes + pack_bytes; }
};

Use UseOf(const tier::StoredGroups& stored, const tier::Group& merged) {
  Use use{.groups = stored.groups.size(), .records = merged.records.size(), .mounts = merged.mounts.size()};
  for (const tier::GroupEntry& entry : stored.entries) use.record_bytes += entry.records.size + entry.manifest.size;
  // What chunked layers share counts once, and what mounts share with them for the layers.
  std::set<Digest> seen;
  auto count = [&](const tier::StoredLayer& tar, uint64_t& bytes) {
    for (const oci::Descriptor& blob : tar.Blobs()) {
      if (seen.insert(blob.digest).second) bytes += blob.size;
    }
  };
  std::set<DiffId> layers;
  for (const tier::StoredLayer& layer : merged.layers) {
    layers.insert(layer.layer);
    count(layer, use.layer_bytes);
  }
  use.layers = layers.size();
  for (const tier::StoredMount& mount : merged.mounts) count(mount.tar, use.mount_bytes);
  for (const tier::TreePack& pack : merged.trees) {
    ++use.packs;
    use.pack_bytes += pack.blob.size;
  }
  return use;
}

}  // namespace

std::string ListingTable(const tier::Group& group, Timestamp now) {
  Blobs blobs = BlobsByLayer(group);
  std::string out;
  for (const cache::StepRecord* record : NewestFirst(group)) {
    if (out.empty()) {
      out = fmt::format("{:<14} {:<16} {:>8} {:>10} {:<18} {}\n", "KEY", "MADE", "TOOK", "LAYER", "SIGNED BY", "STEP");
    }
    auto bytes = BytesHere(blobs, *record);
    auto signers = SignersOf(group, *record);
    out += fmt::format("{:<14} {:<16} {:>8} {:>10} {:<18} {}\n", record->key.value.Short(),
                       FormatTimeAgo(record->created, now), FormatDuration(record->wall),
                       bytes ? FormatBytes(*bytes) : "-", signers.empty() ? "-" : Join(signers, ","), record->name);
  }
  return out.empty() ? "there are no records\n" : out;
}

std::string ListingJson(const tier::Group& group) {
  Blobs blobs = BlobsByLayer(group);
  std::string out;
  for (const cache::StepRecord* record : NewestFirst(group)) out += StepJson(group, blobs, *record).Dump() + "\n";
  return out;
}

Result<std::string> RecordsJson(const tier::Group& group, const std::string& step) {
  Blobs blobs = BlobsByLayer(group);
  std::string out;
  for (const cache::StepRecord* record : NewestFirst(group)) {
    bool named = record->key.value.Hex().starts_with(step) || record->key.ToString().starts_with(step) ||
                 record->name.find(step) != std::string::npos;
    if (!named) continue;
    Json json = StepJson(group, blobs, *record);
    Json outputs = Json::EmptyArray();
    for (const cache::Rootfs& output : record->outputs) {
      Json layers = Json::EmptyArray();
      for (const DiffId& layer : output.layers) {
        Json item = Json().Set("DiffID", layer.ToString());
        // Without one: a layer of the base image, or one that was not sent.
        if (auto blob = blobs.find(layer); blob != blobs.end()) {
          item.Set("Blob", blob->second->blob.digest.ToString());
          item.Set("MediaType", blob->second->blob.media_type).Set("Bytes", blob->second->blob.size);
        }
        layers.Append(std::move(item));
      }
      outputs.Append(Json().Set("Tree", output.tree_root.ToString()).Set("Layers", std::move(layers)));
    }
    json.Set("Outputs", std::move(outputs)).Set("Slot", record->slot);
    auto preimage = Json::Parse(record->preimage);
    json.Set("KeyOf", preimage ? std::move(*preimage) : Json(record->preimage));
    out += json.Dump({.indent = 2}) + "\n";
  }
  if (!out.empty()) return out;
  Error error = NotFound("no step has the key or the name \"{}\"", step);
  error.hint = "varve cache ls lists them";
  return error;
}

std::string UseText(const tier::StoredGroups& stored, const tier::Group& merged) {
  Use use = UseOf(stored, merged);
  auto line = [](std::string_view what, size_t count, uint64_t bytes) {
    return fmt::format("{:<16} {:>8} {:>12}\n", what, count, FormatBytes(bytes));
  };
  return fmt::format("{:<16} {:>8} {:>12}\n", "WHAT", "COUNT", "SIZE") + line("layers", use.layers, use.layer_bytes) +
         (use.mounts > 0 ? line("cache mounts", use.mounts, use.mount_bytes) : "") +
         line("file trees", use.packs, use.pack_bytes) + line("step records", use.records, use.record_bytes) +
         fmt::format("total {:>32}, {} group{}\n", FormatBytes(use.Total()), use.groups, use.groups == 1 ? "" : "s");
}

std::string UseJson(const tier::StoredGroups& stored, const tier::Group& merged) {
  Use use = UseOf(stored, merged);
  return Json()
             .Set("Layers", use.layers)
             .Set("LayerBytes", use.layer_bytes)
             .Set("Mounts", use.mounts)
             .Set("MountBytes", use.mount_bytes)
             .Set("Trees", use.packs)
             .Set("TreeBytes", use.pack_bytes)
             .Set("Records", use.records)
             .Set("RecordBytes", use.record_bytes)
             .Set("Groups", use.groups)
             .Set("DamagedGroups", stored.damaged.size())
             .Set("Bytes", use.Total())
             .Dump() +
         "\n";
}

std::string NeededBy(const tier::BlobDamage& damage) {
  if (damage.needed.empty()) return "";
  return " (needed by " + Join(std::vector(damage.needed.begin(), damage.needed.end()), ", ") + ")";
}

std::string CheckedText(const CheckedCache& checked, const std::string& cache) {
  std::string out;
  for (const tier::BlobDamage& damage : checked.damage) {
    out += fmt::format("{}: {}{}\n", damage.blob.digest.ToString(), damage.why, NeededBy(damage));
  }
  for (const auto& [step, why] : checked.unsigned_steps) out += fmt::format("{}: {}\n", step, why);
  if (checked.sound() && checked.blobs == 0) return fmt::format("{}: there are no records\n", cache);
  out += fmt::format("{}: {} blobs checked", cache, checked.blobs);
  if (checked.sound()) return out + ", nothing is wrong\n";
  return out + fmt::format(", {} damaged; {} groups damaged; {} steps not signed\n", checked.damage.size(),
                           checked.damaged_groups.size(), checked.unsigned_steps.size());
}

std::string CheckedJson(const CheckedCache& checked) {
  Json damage = Json::EmptyArray(), groups = Json::EmptyArray(), not_signed = Json::EmptyArray();
  for (const tier::BlobDamage& one : checked.damage) {
    damage.Append(Json()
                      .Set("Blob", one.blob.digest.ToString())
                      .Set("Problem", one.why)
                      .Set("NeededBy", Json::Strings(std::vector(one.needed.begin(), one.needed.end()))));
  }
  for (const tier::DamagedGroup& group : checked.damaged_groups) {
    groups.Append(Json().Set("Manifest", group.manifest.ToString()).Set("Problem", group.why));
  }
  for (const auto& [step, why] : checked.unsigned_steps) {
    not_signed.Append(Json().Set("Step", step).Set("Problem", why));
  }
  Json json = Json().Set("Blobs", checked.blobs);
  json.Set("Damaged", std::move(damage)).Set("DamagedGroups", std::move(groups));
  json.Set("NotSigned", std::move(not_signed));
  return json.Dump() + "\n";
}

}  // namespace varve::cli
