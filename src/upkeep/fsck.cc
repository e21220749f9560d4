#include "upkeep/fsck.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <set>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/image_files.h"
#include "sys/open.h"
#include "sys/remove.h"
#include "tree/layer_index.h"
#include "upkeep/damage.h"
#include "upkeep/leftovers.h"

namespace varve::upkeep {

namespace {

constexpr uint64_t kMaxManifest = 16 << 20;
constexpr std::string_view kDamagedLayer = "its layer was damaged (varve fsck)";

class Check {
 public:
  Check(const Stores& stores, const FsckOptions& options, std::stop_token stop)
      : stores_(stores), contents_(stores.local.contents()), options_(options), stop_(std::move(stop)) {}

  // From the ground up: what a later part relies on has been looked at before.
  Result<FsckReport> Run() {
    TRY(Part("databases", &Check::Databases));
    TRY(Part("records", &Check::Records));
    TRY(Part("blobs", &Check::Blobs));
    TRY(Part("layers", &Check::Layers));
    TRY(Part("trees", &Check::Trees));
    TRY(Part("images", &Check::Images));
    TRY(Part("leftovers", &Check::Leftovers));
    return std::move(report_);
  }

 private:
  Status Part(const std::string& name, Status (Check::*part)()) {
    if (stop_.stop_requested()) return Cancelled("fsck was cancelled");
    if (options_.on_progress) options_.on_progress(name);
    return (this->*part)();
  }

  void Found(std::string object, std::string problem, std::string mended) {
    LOG_INFO("fsck: {}: {} {}", object, problem, mended);
    report_.findings.push_back({std::move(object), std::move(problem), options_.repair ? std::move(mended) : ""});
  }

  Status Databases() {
    std::string before = stores_.local.Notice();
    TRY_ASSIGN(auto problems, contents_.CheckIndexes(options_.repair));
    for (const std::string& problem : problems) {
      Found("database", problem, "made anew from the files beside it");
    }
    std::string notice = stores_.local.Notice();
    // Damage that SQLite could not even read past was mended on the way, as any build would have.
    if (notice != before && problems.empty()) report_.findings.push_back({"database", notice, "made anew"});
    return Ok();
  }

  // --- Records
  // ---------------------------------------------------------------------------------------

  static std::string NameOf(const cache::StepRecord& record) {
    return fmt::format("record {} ({})", record.key.ToString(), record.name);
  }

  Status Records() {
    Counter damaged("cache.records.damaged");
    TRY_ASSIGN(auto uses, contents_.Records());
    std::set<StepKey> rows;
    for (const cache::RecordUse& use : uses) {
      int64_t before = damaged.value();
      TRY_ASSIGN(auto record, contents_.Read(use.key));
      // Reading mends: a damaged row is taken from its file, or dropped.
      if (damaged.value() != before) {
        std::string object = fmt::format("record {}", use.key.ToString());
        report_.findings.push_back({object, "it is damaged in the index", record ? "taken from its file" : "dropped"});
      }
      if (record) rows.insert(use.key);
    }
    report_.records = rows.size();
    TRY_ASSIGN(Fd top, sys::OpenDir(stores_.root + "/records"));
    TRY_ASSIGN(auto shards, sys::ListDirectory(top.get()));
    std::set<StepKey> files;
    for (const sys::DirEntry& shard : shards) {
      std::string directory = stores_.root + "/records/" + shard.name;
      auto fd = sys::OpenDir(directory);
      if (!fd) continue;
      TRY_ASSIGN(auto names, sys::ListDirectory(fd->get()));
      for (const sys::DirEntry& name : names) TRY(RecordFile(directory, name.name, rows, files));
    }
    for (const StepKey& key : rows) {
      if (files.contains(key)) continue;
      TRY_ASSIGN(auto record, contents_.Read(key));
      if (!record) continue;
      Found(NameOf(*record), "its file is missing", "written again");
      if (options_.repair) TRY(stores_.local.Put(*record));
    }
    return Ok();
  }

  Status RecordFile(const std::string& directory, const std::string& name, const std::set<StepKey>& rows,
                    std::set<StepKey>& files) {
    if (!name.ends_with(".json")) return Ok();  // see Leftovers
    std::string path = directory + "/" + name;
    auto key = Digest::ParseHex(name.substr(0, name.size() - 5));
    auto text = ReadFile(path);
    if (!text && text.error().code == Code::kNotFound) return Ok();
    auto record = text ? cache::DecodeRecord(*text) : Result<cache::StepRecord>(Error(text.error()));
    bool sound = key && record && record->key.value == *key;
    if (sound) {
      files.insert(record->key);
      if (rows.contains(record->key)) return Ok();
      // One that was put while we looked is in the index by now, and one that was dropped has no file.
      TRY_ASSIGN(auto indexed, contents_.Read(record->key));
      if (indexed || access(path.c_str(), F_OK) != 0) return Ok();
      // No damage: a process was killed between the file and the row.
      LOG_INFO("fsck: {}: entered in the index", NameOf(*record));
      ++report_.records;
      return stores_.local.Put(*record);
    }
    std::string problem = record ? "it has another record's name" : record.error().message;
    std::optional<cache::StepRecord> row;
    if (key && rows.contains(StepKey(*key))) {
      TRY_ASSIGN(row, contents_.Read(StepKey(*key)));
      files.insert(StepKey(*key));
    }
    Found("record file " + path, problem, row ? "written again from the index" : "removed");
    if (!options_.repair) return Ok();
    if (row) return stores_.local.Put(*row);
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, path);
    return Ok();
  }

  // --- Blobs and layers
  // ------------------------------------------------------------------------------

  Status Blobs() {
    std::vector<Digest> bad;
    TRY(stores_.blobs.ForEachStat([&](const cas::BlobStat& stat) -> Status {
      ++report_.blobs;
      if (stop_.stop_requested()) return Cancelled("fsck was cancelled");
      if (options_.quick) return Ok();
      auto reader = stores_.blobs.Open(stat.digest);
      HashingWriter hash(nullptr);
      auto read = reader ? Copy(**reader, hash) : Result<uint64_t>(Error(reader.error()));
      if (!read && read.error().code == Code::kNotFound) return Ok();
      if (read && hash.Finish() == stat.digest) return Ok();
      Found("blob " + stat.digest.ToString(), read ? "its bytes have another digest" : read.error().message, "removed");
      bad.push_back(stat.digest);
      return Ok();
    }));
    if (!options_.repair) return Ok();
    for (const Digest& blob : bad) TRY(stores_.blobs.Remove(blob));
    return Ok();
  }

  Status Layers() {
    TRY_ASSIGN(Fd top, sys::OpenDir(stores_.root + "/layers"));
    TRY_ASSIGN(auto names, sys::ListDirectory(top.get()));
    for (const sys::DirEntry& name : names) {
      if (stop_.stop_requested()) return Cancelled("fsck was cancelled");
      std::string path = stores_.root + "/layers/" + name.name;
      auto digest = Digest::ParseHex(name.name);
      if (!digest) {
        Found(path, "it is no layer", "removed");
        if (options_.repair) TRY(sys::RemoveAll(path));
        continue;
      }
      ++report_.layers;
      DiffId layer(*digest);
      auto sound = stores_.layers.Verify(layer, options_.quick);
      if (!sound && sound.error().code == Code::kNotFound) continue;
      if (sound && *sound) continue;
      Found("layer " + layer.ToString(), sound ? "its files are not what it was made with" : sound.error().message,
            "removed; the steps that need it run again");
      bad_layers_.insert(layer);
    }
    TRY_ASSIGN(auto notes, contents_.Layers());
    for (const cache::LayerUse& note : notes) {
      // A note without its layer is no fault: records may come before their layers.
      bool there = access((stores_.root + "/layers/" + note.layer.Hex()).c_str(), F_OK) == 0;
      if (options_.repair && !there) TRY(contents_.ForgetLayer(note.layer));
    }
    return options_.repair ? RemoveBadLayers() : Ok();
  }

  Status RemoveBadLayers() {
    TRY_ASSIGN(auto used, RemoveLayers(stores_, bad_layers_, std::string(kDamagedLayer), "", stop_));
    for (const DiffId& layer : used) {
      report_.findings.push_back(
          {"layer " + layer.ToString(), "a running build uses it: check again when it is done", ""});
    }
    return Ok();
  }

  // --- Trees
  // -----------------------------------------------------------------------------------------

  Status Trees() {
    TRY_ASSIGN(auto damaged, contents_.DamagedTrees());
    for (const Digest& digest : damaged) {
      Found("tree object " + digest.ToString(), "it is not what its digest says", "removed");
    }
    if (options_.repair) TRY(contents_.RemoveTrees(damaged, Timestamp{INT64_MAX}));
    TRY_ASSIGN(auto all, contents_.TreesPutBefore(Timestamp{INT64_MAX}));
    report_.trees = all.size();
    if (options_.quick) return Ok();
    TRY_ASSIGN(auto uses, contents_.Records());
    for (const cache::RecordUse& use : uses) {
      if (stop_.stop_requested()) return Cancelled("fsck was cancelled");
      TRY_ASSIGN(auto record, contents_.Read(use.key));
      if (record) TRY(RecordTrees(*record));
    }
    return Ok();
  }

  // What the layers give together must be the tree that later keys are computed from.
  Status RecordTrees(const cache::StepRecord& record) {
    for (const cache::Rootfs& output : record.outputs) {
      if (output.tree_root.empty()) continue;
      auto folded = Fold(output.layers);
      if (!folded) continue;  // evicted, or damaged and found before
      if (*folded == output.tree_root) continue;
      Found(NameOf(record), "its tree is not what its layers give", "dropped");
      if (options_.repair) TRY(contents_.DropRecord(record.key, "its tree was wrong (varve fsck)"));
      return Ok();
    }
    return Ok();
  }

  // The tree of a stack, from the indexes of its layers; nothing when one is not here.
  std::optional<Digest> Fold(const std::vector<DiffId>& layers) {
    Digest root = tree::EmptyTree();
    ChainId chain;
    for (const DiffId& layer : layers) {
      chain = ExtendChain(chain, layer);
      auto known = folded_.find(chain);
      if (known != folded_.end()) {
        if (!known->second) return std::nullopt;
        root = *known->second;
        continue;
      }
      std::optional<Digest>& result = folded_[chain];
      if (bad_layers_.contains(layer)) return std::nullopt;
      auto text = ReadFile(fmt::format("{}/layers/{}/index", stores_.root, layer.Hex()), uint64_t{1} << 32);
      auto index = text ? tree::DecodeLayerIndex(*text) : Result<tree::LayerIndex>(Error(text.error()));
      if (!index) return std::nullopt;
      auto applied = tree::ApplyLayer(memory_, root, *index);
      if (!applied) return std::nullopt;
      result = root = *applied;
    }
    return root;
  }

  // --- Images
  // ----------------------------------------------------------------------------------------

  Status Images() {
    TRY_ASSIGN(auto names, cache::DamagedImageFiles(stores_.root));
    for (const std::string& path : names) {
      Found("image file " + path, "it is damaged", "removed");
      if (options_.repair && unlink(path.c_str()) != 0 && errno != ENOENT) {
        return ErrnoError(errno, path);
      }
    }
    TRY_ASSIGN(auto images, stores_.local.ListImages());
    for (const cache::StoredImage& image : images) {
      ++report_.images;
      auto missing = Missing(image.manifest);
      if (!missing) continue;
      Found("image " + image.name, fmt::format("blob {} of it is not here", missing->ToString()),
            "its name is forgotten: build it again");
      if (options_.repair) TRY(stores_.local.RemoveImage(image.name));
    }
    return Ok();
  }

  // The first manifest or config that is not there; layers may be unpacked instead of blobs.
  std::optional<Digest> Missing(const Digest& manifest) {
    auto text = stores_.blobs.Get(manifest, kMaxManifest);
    auto json = text ? Json::Parse(*text) : Result<Json>(Error(text.error()));
    if (!json) return manifest;
    for (const Json& item : json->GetArray("manifests")) {
      auto digest = Digest::Parse(item.GetString("digest"));
      auto has = digest ? stores_.blobs.Has(*digest) : Result<bool>(false);
      // Platforms that were not pulled are not here, and need not be.
      if (digest && has && *has) {
        if (auto missing = Missing(*digest)) return missing;
      }
    }
    if (const Json* config = json->Find("config")) {
      auto digest = Digest::Parse(config->GetString("digest"));
      auto has = digest ? stores_.blobs.Has(*digest) : Result<bool>(false);
      if (digest && (!has || !*has)) return *digest;
    }
    return std::nullopt;
  }

  Status Leftovers() {
    TRY_ASSIGN(auto leftovers, FindLeftovers(stores_.root, {.thorough = true}));
    for (const std::string& path : leftovers) {
      Found(path, "a process that died left it", "removed");
    }
    if (!options_.repair) return Ok();
    TRY(stores_.layers.RemoveUnused());
    return RemoveLeftovers(stores_.root, {.thorough = true});
  }

  const Stores& stores_;
  cache::StoreContents& contents_;
  const FsckOptions& options_;
  const std::stop_token stop_;
  std::set<DiffId> bad_layers_;
  std::map<ChainId, std::optional<Digest>> folded_;
  tree::MemoryTreeStore memory_;
  FsckReport report_;
};

}  // namespace

Result<FsckReport> Fsck(const Stores& stores, const FsckOptions& options, std::stop_token stop) {
  METRIC("upkeep.fsck");
  return Check(stores, options, std::move(stop)).Run();
}

}  // namespace varve::upkeep
