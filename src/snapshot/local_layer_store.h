// The LayerStore on a directory; see layer_store.h for the contract and the files.
#pragma once

#include "base/guarded.h"
#include "snapshot/layer_store.h"
#include "sys/flock.h"
#include "sys/tempdir.h"

namespace varve::snapshot {

class LocalLayerStore final : public LayerStore {
 public:
  static Result<std::unique_ptr<LocalLayerStore>> Open(const std::string& root);
  ~LocalLayerStore() override;

  Result<bool> Has(const DiffId& layer) override;
  Result<Layer> Stat(const DiffId& layer) override;
  Result<tree::LayerIndex> Index(const DiffId& layer) override;
  std::string Directory(const DiffId& layer) const override;
  Result<std::unique_ptr<LayerDraft>> NewDraft() override;
  Result<Layer> Commit(std::unique_ptr<LayerDraft> draft, const KnownDigests& known,
                       std::stop_token stop) override;
  Result<Layer> Unpack(const DiffId& expected, const std::vector<DiffId>& below, Reader& tar,
                       std::stop_token stop) override;
  Status WriteTar(const DiffId& layer, Writer& out, std::stop_token stop) override;
  Status Remove(const DiffId& layer) override;
  Status ForEach(const std::function<Status(const Layer&)>& visit) override;

 private:
  // A directory in <root>/staging. Its name holds the process, whose lock file tells that it lives.
  class Draft;

  explicit LocalLayerStore(std::string root) : root_(std::move(root)) {}
  std::string PathOf(const DiffId& layer) const;
  Status RemoveLeftovers();
  Result<std::string> NewStagingPath();
  // Writes index and size beside fs/ and renames the draft to its name.
  Result<Layer> Publish(Draft& draft, const DiffId& diff_id, uint64_t tar_size,
                        const tree::LayerIndex& index);

  const std::string root_;
  std::optional<sys::FlockGuard> alive_;
  std::string staging_;             // <root>/staging/<pid>-<start>
};

// In unpack.cc: writes the entries of a tar into `directory` in overlay form and lists them.
Result<tree::LayerIndex> UnpackInto(const std::string& directory, LayerStore& store,
                                    const std::vector<DiffId>& below, Reader& tar,
                                    std::stop_token stop);

}  // namespace varve::snapshot
