#include "exec/job.h"

#include "cache/lease.h"
#include "sys/open.h"

namespace varve::exec {

Result<InputFiles> OpenInput(const Job& job, const engine::RunInput& input) {
  InputFiles files;
  files.path = job.directories.DirectoryOf(input.step);
  if (files.path.empty()) return OpenLayers(job, input.rootfs.layers);
  TRY_ASSIGN(files.root, sys::OpenDir(files.path));
  return files;
}

Result<InputFiles> OpenLayers(const Job& job, const std::vector<DiffId>& layers) {
  InputFiles files;
  TRY_ASSIGN(std::string scratch, job.scratch.Path());
  TRY_ASSIGN(files.mount_point, sys::TempDir::Create(scratch, "input-"));
  TRY_ASSIGN(files.mount, snapshot::MountRootfs(job.layers, layers, nullptr, files.mount_point.path()));
  files.path = files.mount->path();
  TRY_ASSIGN(files.root, sys::OpenDir(files.path));
  return files;
}

Result<snapshot::Layer> CommitLeased(const Job& job, std::unique_ptr<snapshot::LayerDraft> draft,
                                     const snapshot::LayerStore::KnownDigests& known, std::stop_token stop) {
  auto lease = [&](const DiffId& layer) { return job.lease.Add(layer); };
  return job.layers.Commit(std::move(draft), known, lease, stop);
}

Result<snapshot::Layer> CommitLeased(const Job& job, std::unique_ptr<snapshot::LayerDraft> draft,
                                     snapshot::WrittenLayer written) {
  auto lease = [&](const DiffId& layer) { return job.lease.Add(layer); };
  return job.layers.CommitWritten(std::move(draft), std::move(written), lease);
}

Result<cache::Rootfs> WithLayer(const Job& job, const cache::Rootfs& base, const DiffId& layer) {
  TRY_ASSIGN(tree::LayerIndex index, job.layers.Index(layer));
  return WithLayer(job, base, layer, index);
}

Result<cache::Rootfs> WithLayer(const Job& job, const cache::Rootfs& base, const DiffId& layer,
                                const tree::LayerIndex& index) {
  cache::Rootfs out = base;
  out.layers.push_back(layer);
  const Digest& below = base.tree_root.empty() ? tree::EmptyTree() : base.tree_root;
  TRY_ASSIGN(out.tree_root, tree::ApplyLayer(job.trees, below, index));
  return out;
}

}  // namespace varve::exec
