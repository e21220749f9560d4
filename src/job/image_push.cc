#include "job/image_push.h"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "base/byte_progress.h"
#include "base/log.h"
#include "base/thread_pool.h"
#include "job/open_blob.h"
#include "oci/image_config.h"
#include "oci/manifest.h"

namespace varve::job {

namespace {

constexpr char kPushingLayers[] = "pushing layers";  // as BuildKit calls all of it: clients wait for the word

// As many as Docker sends at once; registries count connections of one client.
constexpr size_t kUploads = 5;

// Each blob once, though a manifest may name one for several layers, and platforms share layers.
void AddBlobs(const oci::Manifest& manifest, std::vector<oci::Descriptor>& blobs) {
  auto add = [&](const oci::Descriptor& blob) {
    bool known = std::ranges::find(blobs, blob.digest, &oci::Descriptor::digest) != blobs.end();
    if (!known) blobs.push_back(blob);
  };
  for (const oci::Descriptor& layer : manifest.layers) add(layer);
  add(manifest.config);
}

// Of a stored manifest, or of all that a stored index lists. What cannot be read any more is left out.
void AddStoredBlobs(const Digest& digest, cas::BlobStore& store, bool in_index, std::vector<oci::Descriptor>& blobs) {
  auto text = store.Get(digest, oci::kMaxManifestSize);
  if (!text) return;
  if (auto manifest = oci::ParseManifest(*text)) return AddBlobs(*manifest, blobs);
  auto index = oci::ParseIndex(*text);
  if (!index || in_index) return;
  for (const oci::Descriptor& entry : index->manifests) {
    AddStoredBlobs(entry.digest, store, true, blobs);
  }
}

oci::Reference ByDigest(oci::Reference name, const Digest& digest) {
  name.tag.clear();
  name.digest = digest;
  return name;
}

}  // namespace

Result<ImagePusher::Repositories> ImagePusher::Elsewhere(const exporter::ImageSet& set, const oci::Reference& name,
                                                         cas::BlobStore& blobs, cache::LocalStore& local) {
  Repositories found;
  {
    auto pushed = pushed_.Lock();
    if (auto host = pushed->find(name.domain); host != pushed->end()) found = host->second;
  }
  for (const exporter::Image& image : set.images) {
    TRY_ASSIGN(oci::ImageConfig config, oci::ImageConfig::Parse(image.config));
    for (const DiffId& layer : config.diff_ids()) {
      TRY_ASSIGN(auto known, local.FindLayerBlobs(layer));
      for (const cache::LayerBlob& blob : known) {
        auto from = oci::ParseReference(blob.repository);
        if (from && from->domain == name.domain) found[blob.blob].insert(from->path);
      }
    }
  }
  TRY_ASSIGN(auto images, local.ListImages());
  for (const cache::StoredImage& stored : images) {
    auto other = oci::ParseReference(stored.name);
    if (!other || other->domain != name.domain || other->path == name.path) continue;
    // An image that cannot be read any more is no reason not to push another.
    std::vector<oci::Descriptor> theirs;
    AddStoredBlobs(stored.manifest, blobs, false, theirs);
    for (const oci::Descriptor& blob : theirs) found[blob.digest].insert(other->path);
  }
  return found;
}

Status ImagePusher::Push(const exporter::ImageSet& set, const oci::Reference& name, bool insecure, bool by_digest,
                         cas::BlobStore& blobs, cache::LocalStore& local, engine::StepSink& sink,
                         std::stop_token stop) {
  TRY_ASSIGN(registry::Client * client, client_for_(name.domain, insecure));
  TRY_ASSIGN(const Repositories elsewhere, Elsewhere(set, name, blobs, local));
  const OnProgress tell = [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
    sink.Progress(id, current, total, done);
  };
  std::map<Digest, const exporter::AbsentBlob*> absent;
  for (const exporter::Image& image : set.images) {
    for (const auto& [digest, blob] : image.absent) absent.emplace(digest, &blob);
  }
  std::vector<oci::Descriptor> wanted;
  for (const exporter::Image& image : set.images) AddBlobs(image.manifest, wanted);
  for (const exporter::Image& image : set.attestations) AddBlobs(image.manifest, wanted);
  // The first failure ends the other uploads, and is the one to tell.
  Guarded<std::optional<Error>> failure;
  std::stop_source give_up;
  std::stop_callback cancelled(stop, [&] { give_up.request_stop(); });
  tell(kPushingLayers, 0, 0, false);
  Status sent = ParallelFor(wanted.size(), kUploads, [&](size_t i) -> Status {
    const oci::Descriptor& blob = wanted[i];
    std::vector<std::string> mount_from;
    if (auto others = elsewhere.find(blob.digest); others != elsewhere.end()) {
      mount_from.assign(others->second.begin(), others->second.end());
    }
    const std::string what = "blob " + blob.digest.Short();
    const std::string id = "pushing " + what;
    auto away = absent.find(blob.digest);
    if (away != absent.end()) {
      auto from = oci::ParseReference(away->second->repository);
      if (from && from->domain == name.domain) mount_from.push_back(from->path);
    }
    auto open = [&](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
      // The registry has it neither in this repository nor in one that it may be taken from.
      if (away != absent.end()) TRY(away->second->bring(give_up.get_token()));
      TRY_ASSIGN(auto reader, OpenBlobAt(blobs, blob.digest, offset));
      tell(id, offset, blob.size, false);
      return std::make_unique<ProgressReader>(std::move(reader), ByteProgress(tell, id, blob.size, offset));
    };
    auto pushed = client->PushBlob(name, blob, open, mount_from, give_up.get_token());
    if (!pushed) {
      auto first = failure.Lock();
      if (!*first) *first = pushed.error();
      give_up.request_stop();
      return std::move(pushed).error();
    }
    switch (*pushed) {
      case registry::Pushed::kUploaded:
        tell(id, blob.size, blob.size, true);
        break;
      case registry::Pushed::kExisted:
        tell(what + " is there already", 0, 0, true);
        break;
      case registry::Pushed::kMounted:
        tell(what + " mounted from another repository", 0, 0, true);
        break;
    }
    (*pushed_.Lock())[name.domain][blob.digest].insert(name.path);
    return Ok();
  });
  if (auto first = failure.Lock(); *first) return **first;
  TRY(std::move(sent));
  tell(kPushingLayers, 0, 0, true);
  auto push_manifest = [&](const oci::Reference& target, const std::string& media_type,
                           const std::string& text) -> Status {
    TRY(client->PushManifest(target, media_type, text, stop));
    const std::string exactly = target.digest ? "" : "@" + Digest::Of(text).ToString();
    tell("pushing manifest for " + target.Familiar() + exactly, text.size(), text.size(), true);
    return Ok();
  };
  if (!set.index) {
    const exporter::Image& only = set.images[0];
    return push_manifest(by_digest ? ByDigest(name, only.manifest_digest) : name, only.manifest.media_type,
                         only.manifest_text);
  }
  for (const auto* images : {&set.images, &set.attestations}) {
    for (const exporter::Image& image : *images) {
      TRY(push_manifest(ByDigest(name, image.manifest_digest), image.manifest.media_type, image.manifest_text));
    }
  }
  return push_manifest(by_digest ? ByDigest(name, set.descriptor.digest) : name, set.index->media_type, set.index_text);
}

}  // namespace varve::job
