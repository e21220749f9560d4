#include "job/cache_offer.h"

#include <algorithm>
#include <map>
#include <set>

#include "archive/codec.h"
#include "base/metric.h"
#include "chunk/chunk_list.h"
#include "graph/reads.h"
#include "job/noting_trees.h"
#include "job/open_blob.h"
#include "tier/inline_records.h"
#include "tree/selection.h"

namespace varve::job {

namespace {

// The objects of a tree that `base` does not have in the same place. What is not stored is left out: who
// needs it runs the step.
Status NoteNew(tree::TreeStore& trees, const Digest& digest, const tree::Directory* base, NotedTrees& noted) {
  TRY_ASSIGN(auto directory, trees.Get(digest));
  if (!directory) return Ok();
  if (!noted.try_emplace(digest, tree::Encode(*directory)).second) return Ok();
  for (const tree::Node& node : directory->entries) {
    if (!node.IsDirectory()) continue;
    const tree::Node* below = base != nullptr ? base->Find(node.name) : nullptr;
    std::shared_ptr<const tree::Directory> base_child;
    if (below != nullptr && below->IsDirectory()) {
      if (below->digest == node.digest) continue;
      TRY_ASSIGN(base_child, trees.Get(below->digest));
    }
    TRY(NoteNew(trees, node.digest, base_child.get(), noted));
  }
  return Ok();
}

// The objects of `below` that file actions on it have changed, or would look at to put something there: with
// them a machine without the layers can run such a step again.
Status NoteWrittenOn(tree::TreeStore& trees, const Digest& below, const Digest& result, NotedTrees& noted) {
  NotingTrees noting(trees, noted);
  TRY_ASSIGN(auto before, noting.Get(below));
  TRY_ASSIGN(auto after, trees.Get(result));
  if (!before || !after) return Ok();
  for (const tree::Node& node : after->entries) {
    const tree::Node* old = node.IsDirectory() ? before->Find(node.name) : nullptr;
    if (old == nullptr || !old->IsDirectory() || old->digest == node.digest) continue;
    TRY(NoteWrittenOn(trees, old->digest, node.digest, noted));
  }
  return Ok();
}

std::string TargetOf(const graph::FileAction& action) {
  if (const auto* copy = std::get_if<graph::Copy>(&action)) return copy->dest;
  if (const auto* link = std::get_if<graph::MakeSymlink>(&action)) return link->path;
  if (const auto* file = std::get_if<graph::MakeFile>(&action)) return file->path;
  if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) return directory->path;
  return std::get<graph::Remove>(action).path;
}

// Of what the file actions of a step write on.
Status NoteBase(const graph::FileOp& op, const Digest& below, const Digest& result, tree::TreeStore& trees,
                NotedTrees& noted) {
  TRY(NoteWrittenOn(trees, below, result, noted));
  NotingTrees noting(trees, noted);
  for (const graph::FileAction& action : op.actions) {
    // An error is that of a step that cannot run.
    auto target = tree::ResolveLinks(noting, below, RelPath(TargetOf(action)), true);
    auto node = target ? tree::Lookup(noting, below, *target) : std::optional<tree::Node>();
    if (node && *node && (*node)->IsDirectory()) (void)noting.Get((*node)->digest);
    const graph::Owner* owner = graph::OwnerOf(action);
    if (owner == nullptr || !owner->given() || owner->names_of >= 0) continue;
    for (const char* names : {"etc/passwd", "etc/group"}) {
      (void)tree::ResolveLinks(noting, below, RelPath(names), true);
    }
  }
  return Ok();
}

// The tree of the image that the stack was built on, as far as this machine knows it.
Result<std::shared_ptr<const tree::Directory>> BaseTree(const cache::Rootfs& rootfs,
                                                        const std::vector<source::ResolvedImage>& images,
                                                        cache::LocalStore& local) {
  std::shared_ptr<const tree::Directory> found;
  for (const source::ResolvedImage& image : images) {
    bool below = image.diff_ids.size() <= rootfs.layers.size() &&
                 std::equal(image.diff_ids.begin(), image.diff_ids.end(), rootfs.layers.begin());
    if (!below || image.chain.empty()) continue;
    TRY_ASSIGN(auto root, local.GetChainTree(image.chain));
    if (!root) continue;
    TRY_ASSIGN(found, local.Get(*root));
  }
  return found;
}

Status NoteTrees(const BuiltSteps& built, const StepRecords& records, cache::LocalStore& local, tier::Offer& offer) {
  NotedTrees noted;
  NotedTrees written_on;  // apart: what is noted above is a whole tree's
  std::set<Digest> roots;
  NotingTrees noting(local, noted);
  for (graph::StepIndex i = 0; i < built.graph.steps.size(); ++i) {
    const graph::Step& step = built.graph.steps[i];
    const auto* op = std::get_if<graph::FileOp>(&step.op);
    auto result = records.find(i);
    for (const graph::InputUse& use : graph::InputUses(step)) {
      const graph::Ref& ref = step.inputs[static_cast<size_t>(use.input)];
      auto record = records.find(ref.step);
      if (use.lineage && op != nullptr && record != records.end() && result != records.end() &&
          ref.output < record->second.outputs.size() && !result->second.outputs.empty()) {
        const Digest& below = record->second.outputs[ref.output].tree_root;
        const Digest& above = result->second.outputs[0].tree_root;
        if (!below.empty() && !above.empty()) TRY(NoteBase(*op, below, above, local, written_on));
      }
      if (use.lineage || record == records.end() || ref.output >= record->second.outputs.size()) continue;
      const cache::Rootfs& read = record->second.outputs[ref.output];
      if (read.tree_root.empty()) continue;
      // What the selectors look at, base image or not; an error is that of a step that cannot run.
      (void)tree::SelectionDigest(noting, read.tree_root, use.selectors);
      if (!roots.insert(read.tree_root).second) continue;
      noted.erase(read.tree_root);  // looked at or not, its children have to be
      TRY_ASSIGN(auto base, BaseTree(read, built.images, local));
      TRY(NoteNew(local, read.tree_root, base.get(), noted));
    }
  }
  noted.merge(written_on);
  offer.roots.assign(roots.begin(), roots.end());
  offer.objects.assign(noted.begin(), noted.end());
  return Ok();
}

// BuildKit's meaning (reference cache.md §1): min is the result's layers, and others that are packed
// already; max is every step's. Of those auto chooses when it knows how fast the tier is.
Status ChooseLayers(const BuiltSteps& built, tier::Mode mode, const exporter::ExportStores& stores,
                    const std::set<DiffId>& packed_for_caches, tier::Offer& offer) {
  std::set<DiffId> elsewhere, result;
  for (const source::ResolvedImage& image : built.images) {
    if (!image.repository.empty()) elsewhere.insert(image.diff_ids.begin(), image.diff_ids.end());
  }
  for (const cache::Rootfs& rootfs : built.outcome.wanted) {
    result.insert(rootfs.layers.begin(), rootfs.layers.end());
  }
  auto packed = [&](const DiffId& layer) -> Result<bool> {
    if (packed_for_caches.contains(layer)) return false;
    TRY_ASSIGN(auto blobs, stores.local.FindLayerBlobs(layer));
    for (const cache::LayerBlob& blob : blobs) {
      TRY_ASSIGN(auto size, stores.blobs.Size(blob.blob));
      if (size) return true;
    }
    return false;
  };
  for (const tier::Offer::Record& offered : offer.records) {
    // A record is used whole: what a step gave beside the result goes with it. Its last layer alone does not tell: a
    // COPY of another stage may have made the same one.
    const bool of_result = std::ranges::any_of(offered.record.outputs, [&](const cache::Rootfs& output) {
      return !output.layers.empty() && !elsewhere.contains(output.layers.back()) &&
             std::ranges::all_of(output.layers, [&](const DiffId& layer) {
               return elsewhere.contains(layer) || result.contains(layer);
             });
    });
    for (const cache::Rootfs& output : offered.record.outputs) {
      for (const DiffId& layer : output.layers) {
        if (elsewhere.contains(layer) || offer.layers.contains(layer)) continue;
        bool wanted = mode != tier::Mode::kMin || of_result || result.contains(layer);
        if (!wanted) {
          TRY_ASSIGN(wanted, packed(layer));
        }
        if (wanted) offer.layers.insert(layer);
        if (wanted && result.contains(layer)) offer.result_layers.insert(layer);
      }
    }
  }
  return Ok();
}

exporter::Output OutputOf(const tier::Spec& spec) {
  exporter::Output output;
  output.compression = spec.compression == archive::Compression::kZstd   ? exporter::LayerCompression::kZstd
                       : spec.compression == archive::Compression::kGzip ? exporter::LayerCompression::kGzip
                                                                         : exporter::LayerCompression::kNone;
  output.compression_level = spec.compression_level;
  output.force_compression = spec.force_compression;
  return output;
}

}  // namespace

exporter::ExportStores StoresOf(Workspace& workspace) {
  return {*workspace.layers, *workspace.local.store, *workspace.blobs,
          [&images = *workspace.images](const cache::LayerBlob& blob, std::stop_token token) {
            return images.FetchLayerBlob(blob, token);
          },
          SystemClock()};
}

Result<StepRecords> RecordsOf(const BuiltSteps& built, tier::Chain& chain, cache::LocalStore& local) {
  std::vector<graph::StepIndex> steps;
  std::vector<StepKey> keys;
  for (graph::StepIndex i = 0; i < built.graph.steps.size(); ++i) {
    if (graph::IsSource(built.graph.steps[i].op) || built.outcome.steps[i].key.empty()) continue;
    steps.push_back(i);
    keys.push_back(built.outcome.steps[i].key);
  }
  TRY_ASSIGN(auto stored, local.GetMany(keys));
  StepRecords records;
  for (size_t n = 0; n < steps.size(); ++n) {
    auto record = stored[n] ? std::move(stored[n]) : chain.Found(keys[n]);
    if (record) records.emplace(steps[n], std::move(*record));
  }
  return records;
}

Result<tier::Offer> MakeOffer(const BuiltSteps& built, const tier::Spec& spec, tier::Chain& chain,
                              const exporter::ExportStores& stores, const OnProgress& on_progress,
                              const std::set<DiffId>& packed_for_caches) {
  METRIC("tier.offer");
  TRY_ASSIGN(StepRecords records, RecordsOf(built, chain, stores.local));
  tier::Offer offer = OfferTerms(spec, chain, stores, on_progress);
  for (const auto& [step, record] : records) {
    if (std::ranges::any_of(record.outputs, tier::IsUnkept)) continue;  // of an inline cache
    offer.records.push_back({record, built.outcome.steps[step].status == engine::StepStatus::kRan});
  }
  TRY_ASSIGN(offer.disowned, stores.local.Disowned());
  TRY(ChooseLayers(built, spec.mode, stores, packed_for_caches, offer));
  TRY(NoteTrees(built, records, stores.local, offer));
  return offer;
}

void KeepOnly(tier::Offer& offer, const std::set<DiffId>& layers) {
  std::erase_if(offer.records, [&](const tier::Offer::Record& offered) {
    return std::ranges::any_of(offered.record.outputs, [&](const cache::Rootfs& output) {
      return std::ranges::any_of(
          output.layers, [&](const DiffId& layer) { return offer.layers.contains(layer) && !layers.contains(layer); });
    });
  });
  for (auto* all : {&offer.layers, &offer.result_layers}) {
    std::erase_if(*all, [&](const DiffId& layer) { return !layers.contains(layer); });
  }
}

tier::Offer OfferTerms(const tier::Spec& spec, tier::Chain& chain, const exporter::ExportStores& stores,
                       const OnProgress& on_progress) {
  tier::Offer offer;
  exporter::Output output = OutputOf(spec);
  offer.force_compression = spec.force_compression;
  offer.max_bytes = spec.max_export;
  offer.max_time = spec.max_time;
  offer.only_worth_moving = spec.mode == tier::Mode::kAuto;
  offer.media_type = spec.compression == archive::Compression::kZstd   ? oci::kOciLayerZstd
                     : spec.compression == archive::Compression::kGzip ? oci::kOciLayerGzip
                                                                       : oci::kOciLayer;
  offer.make_blob = [&chain, stores, output, &on_progress](const DiffId& layer,
                                                           std::stop_token stop) -> Result<tier::Offer::Blob> {
    tier::Offer::Blob blob;
    TRY_ASSIGN(bool here, stores.layers.Has(layer));
    if (here) {
      TRY_ASSIGN(blob.descriptor, exporter::MakeLayerBlob(layer, output, stores, on_progress, stop));
    } else {
      // A hit of one tier on its way to another: its blob passes through, and is not unpacked.
      TRY_ASSIGN(auto fetched, chain.FetchLayer(layer, on_progress, stop));
      if (!fetched) return NotFound("layer {} is nowhere to be had", layer.ToString());
      blob.descriptor = {.media_type = fetched->media_type, .digest = fetched->blob, .size = fetched->size};
    }
    blob.open = [&blobs = stores.blobs, digest = blob.descriptor.digest](uint64_t offset) {
      return OpenBlobAt(blobs, digest, offset);
    };
    return blob;
  };
  offer.chunked = spec.chunked;
  offer.chunk_level = spec.compression_level;
  if (spec.chunked) offer.media_type = chunk::kListMediaType;
  offer.write_tar = [stores, make = offer.make_blob](const DiffId& layer, Writer& out, std::stop_token stop) -> Status {
    TRY_ASSIGN(bool here, stores.layers.Has(layer));
    if (here) {
      TRY_ASSIGN(here, stores.layers.Reproducible(layer));
    }
    if (here) return stores.layers.WriteTar(layer, out, stop);
    TRY_ASSIGN(auto blob, make(layer, stop));
    TRY_ASSIGN(auto packed, stores.blobs.OpenVerified(blob.descriptor.digest));
    TRY_ASSIGN(auto tar, archive::MakeDecompressor(*packed));
    HashingWriter hashed(&out);
    TRY(Copy(*tar, hashed));
    if (hashed.Finish() == layer.value) return Ok();
    return Corrupt("the blob of layer {} holds another one", layer.ToString());
  };
  return offer;
}

}  // namespace varve::job
