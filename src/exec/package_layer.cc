#include "exec/package_layer.h"

#include <fcntl.h>

#include <algorithm>

#include "base/fd.h"
#include "base/io.h"
#include "packages/package_file.h"
#include "sys/open.h"

namespace varve::exec {

namespace {

Result<std::string> ReadFrom(const std::string& directory, const tree::LayerEntry& entry) {
  TRY_ASSIGN(Fd root, sys::OpenDir(directory));
  TRY_ASSIGN(Fd file, sys::OpenInRoot(root.get(), entry.path, O_RDONLY | O_NOFOLLOW));
  FdReader reader(file.get());
  return ReadAll(reader, kMaxPackageFile);
}

std::string NameOf(const tree::LayerEntry& entry) {
  const std::string& path = entry.path.str();
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<engine::PackageLayer> ReadPackageLayer(snapshot::LayerStore& layers, const DiffId& layer,
                                              const std::string& manager) {
  TRY_ASSIGN(tree::LayerIndex index, layers.Index(layer));
  return PackagesIn(std::move(index), manager, [&](const tree::LayerEntry& file) -> Result<std::string> {
    TRY_ASSIGN(const std::string directory, layers.Directory(layer));
    return ReadFrom(directory, file);
  });
}

Result<engine::PackageLayer> PackagesIn(tree::LayerIndex index, const std::string& manager, const ReadEntry& read) {
  engine::PackageLayer out;
  for (tree::LayerEntry& entry : index) {
    if (entry.whiteout || entry.opaque) return engine::PackageLayer();
    if (entry.node.type == tree::NodeType::kDirectory) continue;
    std::string name = NameOf(entry);
    auto kind = packages::KindOf(name);
    if (!kind && !packages::IsCompanion(name)) {
      return engine::PackageLayer{
          .digest = {}, .files = {}, .refused = fmt::format("the COPY below has {} as well", entry.path.str())};
    }
    bool counts = kind && packages::Reads(manager, *kind) && entry.node.type == tree::NodeType::kFile;
    if (!counts) continue;
    TRY_ASSIGN(std::string text, read(entry));
    if (Digest::Of(text) != entry.node.digest) {
      return Corrupt("{} is not what its layer's index says", entry.path.str());
    }
    packages::Canonical canonical = packages::CanonicalForm(*kind, text);
    if (!canonical.refused.empty()) {
      out.refused = fmt::format("{}: {}", entry.path.str(), canonical.refused);
      continue;
    }
    entry.node.digest = Digest::Of(canonical.form);
    entry.node.size = 0;
    out.files.push_back(entry.path.str());
  }
  out.digest = Digest::Of(tree::EncodeLayerIndex(index));
  return out;
}

Result<bool> LayerTouches(snapshot::LayerStore& layers, const DiffId& layer, const std::vector<std::string>& paths) {
  TRY_ASSIGN(tree::LayerIndex index, layers.Index(layer));
  return std::ranges::any_of(index, [&](const tree::LayerEntry& entry) {
    return std::ranges::any_of(paths, [&](const std::string& path) {
      const std::string& at = entry.path.str();
      bool hides = entry.whiteout || entry.opaque;
      return at == path || (hides && path.starts_with(at + "/"));
    });
  });
}

}  // namespace varve::exec
