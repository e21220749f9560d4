#include "source/image.h"

#include <fcntl.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>

#include "archive/codec.h"
#include "base/fd.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "base/small_blob.h"
#include "base/thread_pool.h"
#include "tree/layer_index.h"

namespace varve::source {

namespace {

constexpr const char* kMemo = "image";
constexpr int64_t kFreshFor = int64_t{3600} * 1'000'000'000;
constexpr size_t kDownloads = 6;
// Of a LayerBlob's repository.
constexpr std::string_view kLayoutPrefix = "oci-layout:";
constexpr std::string_view kStored = "content-store:";  // of a client; there is no telling which

std::string MemoKey(const std::string& reference, const oci::Platform& platform) {
  return reference + " " + platform.ToString();
}

// Whoever sends a blob may not know when to end.
class BoundedWriter final : public Writer {
 public:
  BoundedWriter(Writer& out, uint64_t size) : out_(out), left_(size) {}
  Status Write(std::string_view data) override {
    if (data.size() > left_) return Corrupt("a blob is longer than its descriptor says");
    left_ -= data.size();
    return out_.Write(data);
  }

 private:
  Writer& out_;
  uint64_t left_;
};

// Descriptors and documents of one image; `fetch` gets what the blob store lacks.
using FetchDocument = std::function<Result<std::string>(const oci::Descriptor&, bool is_manifest)>;

Error WrongPlatform(const std::string& name, const oci::Platform& wanted, const std::vector<std::string>& there) {
  Error error = Invalid("image {} is not available for {}", name, wanted.ToString());
  std::string list;
  for (const std::string& platform : there) list += (list.empty() ? "" : ", ") + platform;
  error.hint = list.empty() ? "the index names no platform" : "it is there for " + list;
  return error;
}

}  // namespace

struct ImageStore::Impl {
  Distribution& registry;
  cache::LocalStore& local;
  cas::BlobStore& blobs;
  snapshot::LayerStore& layers;
  Clock& clock;

  // One entry per question of this process; a second asker waits for the first.
  struct Asked {
    bool done = false;
    std::optional<Result<ResolvedImage>> answer;
  };
  Guarded<std::map<std::string, std::shared_ptr<Asked>>> asked;
  std::condition_variable answered;
  Guarded<std::vector<std::shared_ptr<RemoteBlobs>>> stores;  // that images were resolved in

  Result<std::string> Document(const oci::Descriptor& descriptor, bool is_manifest, const FetchDocument& fetch) {
    TRY_ASSIGN(auto size, blobs.Size(descriptor.digest));
    if (size) {
      auto text = blobs.Get(descriptor.digest, oci::kMaxManifestSize);
      if (text) return text;
      TRY(blobs.Remove(descriptor.digest));
    }
    if (!fetch) return NotFound("document {} is not in the store", descriptor.digest.ToString());
    TRY_ASSIGN(std::string text, fetch(descriptor, is_manifest));
    TRY(blobs.Put(text));
    return text;
  }

  // From the descriptor of a manifest or index to the image for one platform.
  Result<ResolvedImage> Load(const std::string& name, oci::Descriptor descriptor, const oci::Platform& platform,
                             const FetchDocument& fetch) {
    const Digest named = descriptor.digest;
    TRY_ASSIGN(std::string text, Document(descriptor, true, fetch));
    TRY_ASSIGN(Json json, Json::Parse(text));
    if (oci::KindOf(json) == oci::DocumentKind::kIndex) {
      TRY_ASSIGN(oci::Index index, oci::ParseIndex(text));
      const oci::Descriptor* found = index.Find(platform);
      if (found == nullptr) {
        std::vector<std::string> there;
        for (const auto& d : index.manifests) {
          if (d.platform && d.platform->os != "unknown") there.push_back(d.platform->ToString());
        }
        return WrongPlatform(name, platform, there);
      }
      descriptor = *found;
      TRY_ASSIGN(text, Document(descriptor, true, fetch));
    }
    ResolvedImage image{.reference = name, .manifest_digest = descriptor.digest, .named_digest = named};
    TRY_ASSIGN(image.manifest, oci::ParseManifest(text));
    TRY_ASSIGN(std::string config, Document(image.manifest.config, false, fetch));
    TRY_ASSIGN(image.config, oci::ImageConfig::Parse(config));
    image.diff_ids = image.config.diff_ids();
    if (image.diff_ids.size() != image.manifest.layers.size()) {
      return Corrupt("image {} has {} layers, but its config names {}", name, image.manifest.layers.size(),
                     image.diff_ids.size());
    }
    image.chain = oci::ChainOf(image.diff_ids);
    return image;
  }

  FetchDocument FetchFrom(const oci::Reference& reference, std::stop_token stop) {
    return [this, reference, stop](const oci::Descriptor& descriptor, bool is_manifest) {
      return is_manifest ? registry.FetchManifest(reference, descriptor, stop)
                         : registry.FetchSmallBlob(reference, descriptor, stop);
    };
  }

  // An image that was built here. A reference that is pinned ("app:1@sha256:…", as lowering pins what it
  // resolved) means the stored one as long as the name still leads to that digest.
  // `why_not`: why an image of that name does not do.
  Result<std::optional<ResolvedImage>> FromStore(const oci::Reference& reference, const oci::Platform& platform,
                                                 std::optional<Error>* why_not) {
    oci::Reference name = reference;
    name.digest.reset();
    TRY_ASSIGN(auto stored, local.GetImage(name.WithDefaultTag().String()));
    if (!stored) return std::optional<ResolvedImage>();
    auto image = Load(reference.String(), {.digest = stored->manifest}, platform, nullptr);
    bool meant = image && (!reference.digest || *reference.digest == image->manifest_digest ||
                           *reference.digest == stored->manifest);
    if (!image) *why_not = std::move(image).error();
    if (!meant) return std::optional<ResolvedImage>();
    return std::optional(std::move(*image));
  }

  Result<ResolvedImage> Ask(const oci::Reference& reference, const oci::Platform& platform, graph::ResolveMode mode,
                            std::stop_token stop) {
    std::string name = reference.String();
    std::optional<Error> not_stored;
    if (mode != graph::ResolveMode::kPull) {
      TRY_ASSIGN(auto image, FromStore(reference, platform, &not_stored));
      if (image) return std::move(*image);
    }
    std::string key = MemoKey(name, platform);
    TRY_ASSIGN(auto memo, local.GetMemo(kMemo, key));
    auto recall = [&]() -> Result<ResolvedImage> {
      // "MANIFEST NAMED"; of earlier versions the first alone.
      const size_t blank = memo->value.find(' ');
      TRY_ASSIGN(Digest digest, Digest::Parse(memo->value.substr(0, blank)));
      TRY_ASSIGN(ResolvedImage image, Load(name, {.digest = digest}, platform, nullptr));
      image.named_digest = Digest();
      if (blank != std::string::npos) {
        TRY_ASSIGN(image.named_digest, Digest::Parse(memo->value.substr(blank + 1)));
      }
      image.repository = reference.Name();
      return image;
    };
    bool fresh = memo && (reference.digest || clock.Now().nanos - memo->time.nanos < kFreshFor);
    if (fresh && mode != graph::ResolveMode::kPull) {
      if (auto image = recall(); image && !image->named_digest.empty()) return image;
    }
    if (mode == graph::ResolveMode::kLocal) {
      if (memo) return recall();
      return NotFound("image {} is not on this machine", reference.Familiar());
    }
    METRIC("source.resolve_image");
    auto descriptor = registry.Resolve(reference, stop);
    if (!descriptor) {
      Error error = std::move(descriptor).error();
      // Of an image that was built here, and that no registry has: what is wrong with it tells more.
      if (not_stored && not_stored->code == Code::kInvalid) return *not_stored;
      if (error.code != Code::kUnavailable || !memo) return error;
      TRY_ASSIGN(ResolvedImage image, recall());
      image.notice =
          fmt::format("{}: using {} as it was on {}", error.message, reference.Familiar(), FormatTime(memo->time));
      return image;
    }
    TRY_ASSIGN(ResolvedImage image, Load(name, *descriptor, platform, FetchFrom(reference, stop)));
    image.repository = reference.Name();
    for (size_t i = 0; i < image.diff_ids.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      TRY(local.PutLayerBlob(
          image.diff_ids[i],
          {.blob = layer.digest, .media_type = layer.media_type, .size = layer.size, .repository = image.repository}));
    }
    TRY(local.PutMemo(kMemo, key,
                      {image.manifest_digest.ToString() + " " + image.named_digest.ToString(), clock.Now()}));
    return image;
  }

  // The blob stays where it is: an export that needs it copies it.
  Status NoteLayoutBlobs(const ResolvedImage& image) {
    std::error_code ignored;
    const std::string place =
        image.store ? std::string(kStored)
                    : std::string(kLayoutPrefix) + std::filesystem::absolute(image.layout, ignored).string();
    for (size_t i = 0; i < image.diff_ids.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      TRY(local.PutLayerBlob(
          image.diff_ids[i],
          {.blob = layer.digest, .media_type = layer.media_type, .size = layer.size, .repository = place}));
    }
    return Ok();
  }

  Status CopyFromLayout(const std::string& directory, const Digest& blob) {
    TRY_ASSIGN(Fd fd, OpenFile(directory + "/blobs/sha256/" + blob.Hex(), O_RDONLY));
    FdReader in(fd.get());
    TRY_ASSIGN(auto writer, blobs.Create());
    TRY(Copy(in, *writer));
    TRY(writer->Commit(blob));
    return Ok();
  }

  // --- Pulling -------------------------------------------------------------------------------------

  using Fetch = std::function<Status(Writer& out)>;

  Status Download(const ResolvedImage& image, const oci::Descriptor& blob, const OnProgress& on_progress,
                  std::stop_token stop) {
    if (image.store == nullptr) return Download(image.repository, blob, on_progress, stop);
    return Download(blob, on_progress, [&](Writer& out) { return image.store->Read(blob.digest, out, stop); });
  }

  Status Download(const std::string& repository, const oci::Descriptor& blob, const OnProgress& on_progress,
                  std::stop_token stop) {
    TRY_ASSIGN(oci::Reference reference, oci::ParseReference(repository));
    return Download(blob, on_progress, [&](Writer& out) { return registry.FetchBlob(reference, blob, out, stop); });
  }

  Status Download(const oci::Descriptor& blob, const OnProgress& on_progress, const Fetch& fetch) {
    TRY_ASSIGN(auto size, blobs.Size(blob.digest));
    if (size) return Ok();
    TRY_ASSIGN(auto writer, blobs.Create());
    std::string id = "sha256:" + blob.digest.Short();
    BoundedWriter bounded(*writer, blob.size);
    ProgressWriter progress(bounded, ByteProgress(on_progress, id, blob.size == oci::kUnknownSize ? 0 : blob.size));
    TRY(fetch(progress));
    const uint64_t arrived = writer->size();
    Counter("source.pulled_bytes").Add(static_cast<int64_t>(arrived));
    TRY(writer->Commit(blob.digest));
    if (on_progress) on_progress(id, arrived, arrived, true);
    return Ok();
  }

  Result<std::unique_ptr<Reader>> OpenLayer(const ResolvedImage& image, const oci::Descriptor& blob) {
    if (image.layout.empty()) return blobs.OpenVerified(blob.digest);
    struct File final : Reader {
      explicit File(Fd f) : fd(std::move(f)) {}
      Result<size_t> Read(std::span<char> buffer) override { return FdReader(fd.get()).Read(buffer); }
      Fd fd;
    };
    TRY_ASSIGN(Fd fd, OpenFile(image.layout + "/blobs/sha256/" + blob.digest.Hex(), O_RDONLY));
    return std::unique_ptr<Reader>(std::make_unique<File>(std::move(fd)));
  }

  Status UnpackLayer(const ResolvedImage& image, size_t i, const OnProgress& on_progress, std::stop_token stop) {
    const oci::Descriptor& blob = image.manifest.layers[i];
    TRY_ASSIGN(auto packed, OpenLayer(image, blob));
    TRY_ASSIGN(auto tar, archive::MakeDecompressor(*packed));
    std::vector<DiffId> below(image.diff_ids.begin(), image.diff_ids.begin() + static_cast<ptrdiff_t>(i));
    std::string id = "extracting sha256:" + blob.digest.Short();
    if (on_progress) on_progress(id, 0, 0, false);
    auto layer = layers.Unpack(image.diff_ids[i], below, *tar, stop);
    if (!layer) {
      return Error(std::move(layer).error())
          .With(fmt::format("layer {}/{} of {}", i + 1, image.diff_ids.size(), image.reference));
    }
    TRY(local.NoteLayer(layer->diff_id, layer->tar_size));
    if (on_progress) on_progress(id, layer->tar_size, layer->tar_size, true);
    return Ok();
  }
};

ImageStore::ImageStore(Distribution& registry, cache::LocalStore& local, cas::BlobStore& blobs,
                       snapshot::LayerStore& layers, Clock& clock)
    : impl_(new Impl{registry, local, blobs, layers, clock, {}, {}}) {}

Result<ResolvedImage> ImageStore::Resolve(const std::string& text, const oci::Platform& platform,
                                          graph::ResolveMode mode, std::stop_token stop) {
  TRY_ASSIGN(oci::Reference parsed, oci::ParseReference(text));
  oci::Reference reference = parsed.WithDefaultTag();
  std::string key = MemoKey(reference.String(), platform);
  if (mode == graph::ResolveMode::kPull) key += " pull";
  std::shared_ptr<Impl::Asked> asked;
  {
    auto all = impl_->asked.Lock();
    auto& slot = (*all)[key];
    if (slot != nullptr) {
      asked = slot;
      all.Wait(impl_->answered, [&] { return asked->done; });
      return *asked->answer;
    }
    asked = slot = std::make_shared<Impl::Asked>();
  }
  auto answer = impl_->Ask(reference, platform, mode, stop);
  {
    auto all = impl_->asked.Lock();
    asked->answer = answer;
    asked->done = true;
    if (!answer) all->erase(key);
  }
  impl_->answered.notify_all();
  return answer;
}

Result<ResolvedImage> ImageStore::ResolveLayout(const std::string& directory, const std::string& reference,
                                                const oci::Platform& platform) {
  auto text = ReadFile(directory + "/index.json", oci::kMaxManifestSize);
  if (!text) return Error(std::move(text).error()).With("OCI layout " + directory);
  TRY_ASSIGN(oci::Index index, oci::ParseIndex(*text));
  const oci::Descriptor* found = nullptr;
  for (const oci::Descriptor& d : index.manifests) {
    const std::string* tag = d.Annotation("org.opencontainers.image.ref.name");
    bool match = reference.empty() || d.digest.ToString() == reference || (tag && *tag == reference);
    if (match && (found == nullptr || !reference.empty())) found = &d;
  }
  if (found == nullptr) {
    return NotFound("OCI layout {} has no image \"{}\"", directory, reference);
  }
  auto fetch = [&](const oci::Descriptor& d, bool) {
    return ReadFile(directory + "/blobs/sha256/" + d.digest.Hex(), oci::kMaxManifestSize);
  };
  TRY_ASSIGN(ResolvedImage image, impl_->Load(directory, *found, platform, fetch));
  image.layout = directory;
  TRY(impl_->NoteLayoutBlobs(image));
  return image;
}

Result<ResolvedImage> ImageStore::ResolveStored(std::shared_ptr<RemoteBlobs> store, const Digest& digest,
                                                const oci::Platform& platform, std::stop_token stop) {
  auto fetch = [&](const oci::Descriptor& document, bool) -> Result<std::string> {
    TRY_ASSIGN(auto text, ReadSmallBlob(*store, document.digest, oci::kMaxManifestSize, stop));
    if (!text) return NotFound("the OCI layout has no blob {}", document.digest.ToString());
    return std::move(*text);
  };
  const std::string name = digest.ToString();
  TRY_ASSIGN(ResolvedImage image, impl_->Load(name, {.digest = digest}, platform, fetch));
  impl_->stores.Lock()->push_back(store);
  image.store = std::move(store);
  TRY(impl_->NoteLayoutBlobs(image));
  return image;
}

Result<cache::Rootfs> ImageStore::Pull(const ResolvedImage& image, const OnProgress& on_progress,
                                       std::stop_token stop) {
  METRIC("source.pull");
  size_t n = image.diff_ids.size();
  std::vector<bool> here(n);
  for (size_t i = 0; i < n; ++i) {
    TRY_ASSIGN(here[i], impl_->layers.Has(image.diff_ids[i]));
  }
  // Downloads run ahead; layers are unpacked in their order, since a layer may lean on those below.
  struct Downloads {
    std::vector<std::optional<Status>> done;
  };
  Guarded<Downloads> downloads;
  downloads.Lock()->done.resize(n);
  std::condition_variable arrived;
  std::stop_source cancel;
  std::stop_callback forward(stop, [&] { cancel.request_stop(); });
  ThreadPool pool(kDownloads);
  bool remote = !image.repository.empty() || image.store != nullptr;
  for (size_t i = 0; i < n && remote; ++i) {
    if (here[i]) continue;
    pool.Submit([&, i] {
      Status status = impl_->Download(image, image.manifest.layers[i], on_progress, cancel.get_token());
      downloads.Lock()->done[i] = std::move(status);
      arrived.notify_all();
    });
  }
  auto run = [&]() -> Status {
    for (size_t i = 0; i < n; ++i) {
      if (here[i]) continue;
      if (remote) {
        auto state = downloads.Lock();
        state.Wait(arrived, [&] { return state->done[i].has_value(); });
        TRY(std::move(*state->done[i]));
      }
      TRY(impl_->UnpackLayer(image, i, on_progress, cancel.get_token()));
    }
    return Ok();
  };
  Status status = run();
  if (!status) {
    cancel.request_stop();
    return Error(std::move(status).error());
  }
  cache::Rootfs rootfs{image.diff_ids, tree::EmptyTree()};
  for (const DiffId& layer : image.diff_ids) {
    TRY_ASSIGN(auto index, impl_->layers.Index(layer));
    TRY_ASSIGN(rootfs.tree_root, tree::ApplyLayer(impl_->local, rootfs.tree_root, index));
  }
  if (!image.chain.empty()) TRY(impl_->local.PutChainTree(image.chain, rootfs.tree_root));
  return rootfs;
}

Result<std::optional<cache::Rootfs>> ImageStore::FindLocally(const ResolvedImage& image) {
  for (const DiffId& layer : image.diff_ids) {
    TRY_ASSIGN(bool here, impl_->layers.Has(layer));
    if (!here) return std::optional<cache::Rootfs>();
  }
  if (image.diff_ids.empty()) return std::optional(cache::Rootfs{{}, tree::EmptyTree()});
  TRY_ASSIGN(auto tree_root, impl_->local.GetChainTree(image.chain));
  if (!tree_root) return std::optional<cache::Rootfs>();
  return std::optional(cache::Rootfs{image.diff_ids, *tree_root});
}

void LimitLayers(ResolvedImage& image, uint32_t layers) {
  if (layers >= image.diff_ids.size()) return;
  image.diff_ids.resize(layers);
  image.manifest.layers.resize(layers);
  image.chain = oci::ChainOf(image.diff_ids);
}

Result<uint64_t> ImageStore::FetchBlob(const graph::BlobSource& blob, const ContentStores& stores,
                                       const OnProgress& on_progress, std::stop_token stop) {
  if (!blob.layout) {
    TRY(impl_->Download(blob.repository, {.digest = blob.digest, .size = oci::kUnknownSize}, on_progress,
                        std::move(stop)));
    TRY_ASSIGN(auto size, impl_->blobs.Size(blob.digest));
    return size.value_or(0);
  }
  if (!stores)
    return Invalid("the blob {} is in a content store of a client, and this build has none", blob.digest.ToString());
  TRY_ASSIGN(auto store, stores(blob.store, blob.session));
  TRY_ASSIGN(auto size, store->Size(blob.digest, stop));
  if (!size) return NotFound("the content store of the client has no blob {}", blob.digest.ToString());
  TRY(impl_->Download({.digest = blob.digest, .size = *size}, on_progress,
                      [&](Writer& out) { return store->Read(blob.digest, out, stop); }));
  return *size;
}

Status ImageStore::FetchBlobTo(const std::string& path, const graph::BlobSource& blob, const ContentStores& stores,
                               const OnProgress& on_progress, std::stop_token stop) {
  TRY(FetchBlob(blob, stores, on_progress, std::move(stop)));
  TRY_ASSIGN(auto body, impl_->blobs.OpenVerified(blob.digest));
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  FdWriter out(fd.get());
  TRY(Copy(*body, out));
  return Ok();
}

Status ImageStore::FetchLayerBlob(const cache::LayerBlob& blob, std::stop_token stop) {
  if (blob.repository.starts_with(kLayoutPrefix)) {
    return impl_->CopyFromLayout(blob.repository.substr(kLayoutPrefix.size()), blob.blob);
  }
  oci::Descriptor descriptor{.media_type = blob.media_type, .digest = blob.blob, .size = blob.size};
  if (blob.repository == kStored) {
    for (const auto& store : std::vector(*impl_->stores.Lock())) {
      TRY_ASSIGN(auto size, store->Size(blob.blob, stop));
      if (!size) continue;
      return impl_->Download(descriptor, nullptr, [&](Writer& out) { return store->Read(blob.blob, out, stop); });
    }
    return NotFound("blob {} came from an OCI layout of a client that is gone", blob.blob.ToString());
  }
  return impl_->Download(blob.repository, descriptor, nullptr, stop);
}

}  // namespace varve::source
