// The LayerStore on a directory; see layer_store.h for the contract and the files.
#pragma once

#include <unordered_map>

#include "base/guarded.h"
#include "snapshot/layer_meta.h"
#include "snapshot/layer_store.h"
#include "snapshot/lazy_layers.h"
#include "snapshot/staging.h"

namespace varve::snapshot {

class LocalLayerStore final : public LayerStore {
 public:
  // `boot` stands for this start of the machine; tests give their own.
  static Result<std::unique_ptr<LocalLayerStore>> Open(const std::string& root, std::string boot);

  Result<bool> Has(const DiffId& layer) override;
  Result<Layer> Stat(const DiffId& layer) override;
  Result<tree::LayerIndex> Index(const DiffId& layer) override;
  Result<std::string> EncodedIndex(const DiffId& layer) override;
  Result<std::string> Directory(const DiffId& layer) override;
  Result<std::optional<Found>> Find(const DiffId& layer, const RelPath& path) override;
  Result<LayerFiles> Files(const DiffId& layer) override;
  Result<std::optional<DiffId>> RestOf(const DiffId& layer) override;
  Result<std::vector<DiffId>> UsersOf(const DiffId& rest) override;
  Result<std::unique_ptr<LayerDraft>> NewDraft() override;
  Result<Layer> Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known, const OnNamed& on_named,
                       std::stop_token stop) override;
  Result<Layer> CommitWritten(std::unique_ptr<LayerDraft> draft, WrittenLayer written,
                              const OnNamed& on_named) override;
  Result<Layer> Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                       std::stop_token stop) override;
  Status WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) override;
  Result<bool> Reproducible(const DiffId& layer) override;
  Result<bool> Verify(const DiffId& layer, bool quick) override;
  Status Remove(const DiffId& layer) override;
  Status RemoveUnused() override;
  Status ForEach(const std::function<Status(const Layer&)>& visit) override;
  Status Sync() override;

 private:
  class Draft;

  LocalLayerStore(std::string root, std::string boot, std::unique_ptr<Staging> staging)
      : root_(std::move(root)), boot_(std::move(boot)), staging_(std::move(staging)), lazy_(root_, *staging_) {}
  std::string PathOf(const DiffId& layer) const;
  std::string FilesOf(const DiffId& layer) const;
  // The files as they are, or for a lazy layer as its list says.
  Result<ListedLayer> List(const DiffId& layer, std::stop_token stop) const;
  bool HasAllFiles(const DiffId& layer, tree::LayerIndex index) const;
  Result<LayerMeta> Meta(const DiffId& layer) const;
  Result<Layer> Describe(const DiffId& layer, const LayerMeta& meta) const;
  Result<uint64_t> ReadSize(const DiffId& layer) const;
  bool SizeFits(const DiffId& layer, const LayerMeta& meta) const;
  // Whether the files of a layer from another boot are what they should be. Then the layer is
  // marked, else removed.
  std::optional<Layer> FindSound(const DiffId& layer, const Result<LayerMeta>& meta) const;
  Result<bool> CheckAfterBoot(const DiffId& layer);
  Result<bool> FilesAreIntact(const DiffId& layer, const LayerMeta& meta);
  Result<bool> FitsIndex(const DiffId& layer, tree::LayerIndex index);
  Result<std::unique_ptr<Draft>> MakeDraft();
  // Writes what belongs beside fs/ and renames the draft to its name.
  struct Contents;
  Result<Layer> Publish(Draft& draft, const DiffId& diff_id, const Contents& contents);

  const std::string root_;
  const std::string boot_;
  const std::unique_ptr<Staging> staging_;
  LazyLayers lazy_;
  Guarded<std::unordered_map<DiffId, Layer>> trusted_;  // seen, and not in need of a check
};

}  // namespace varve::snapshot
