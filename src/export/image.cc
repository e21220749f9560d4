#include "export/image.h"

#include <algorithm>
#include <condition_variable>
#include <set>

#include "base/background_writer.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "base/strings.h"
#include "base/thread_pool.h"
#include "export/attestation_image.h"
#include "snapshot/upper_tar.h"

namespace varve::exporter {

namespace {

archive::Compression CodecOf(LayerCompression compression) {
  switch (compression) {
    case LayerCompression::kNone:
      return archive::Compression::kNone;
    case LayerCompression::kGzip:
      return archive::Compression::kGzip;
    case LayerCompression::kZstd:
      return archive::Compression::kZstd;
  }
  return archive::Compression::kGzip;
}

std::string MediaType(LayerCompression compression, bool oci) {
  switch (compression) {
    case LayerCompression::kNone:
      return std::string(oci ? oci::kOciLayer : oci::kDockerLayer);
    case LayerCompression::kGzip:
      return std::string(oci ? oci::kOciLayerGzip : oci::kDockerLayerGzip);
    case LayerCompression::kZstd:
      return std::string(oci ? oci::kOciLayerZstd : oci::kDockerLayerZstd);
  }
  return std::string(oci::kOciLayerGzip);
}

std::optional<LayerCompression> CompressionOf(std::string_view media_type) {
  if (!oci::IsLayer(media_type)) return {};
  if (media_type.ends_with("gzip")) return LayerCompression::kGzip;
  if (media_type.ends_with("zstd")) return LayerCompression::kZstd;
  return LayerCompression::kNone;
}

struct LayerSource {
  DiffId diff_id;
  Timestamps timestamps = Timestamps::kKeep;
  int64_t epoch = 0;  // seconds; of a layer that does not keep its times
};

LayerSource SourceOf(const ImageInput& input, const Output& output, size_t layer) {
  LayerSource source{.diff_id = input.rootfs.layers[layer]};
  if (output.source_date_epoch && layer >= input.base_layers) {
    source.timestamps = output.timestamps;
    source.epoch = *output.source_date_epoch;
  }
  return source;
}

// What the layer became when its times were rewritten before: the tar need not be made to know.
constexpr const char* kRedatedMemo = "redated-layer";
std::string RedatedKey(const LayerSource& source) {
  return fmt::format("{} {} {}", source.diff_id.ToString(), source.timestamps == Timestamps::kSet ? "set" : "clamp",
                     source.epoch);
}

// The tar of a layer that another program packed: its files do not tell how, but the blob does.
Status WriteTarFromBlob(const DiffId& layer, const ExportStores& stores, Writer& out, std::stop_token stop) {
  TRY_ASSIGN(auto known, stores.local.FindLayerBlobs(layer));
  Error error = NotFound("layer {} was packed by another program, and its blob is not here", layer.ToString());
  error.hint = "build again with --pull";
  for (const cache::LayerBlob& blob : known) {
    TRY_ASSIGN(auto size, stores.blobs.Size(blob.blob));
    if (!size && (blob.repository.empty() || !stores.fetch)) continue;
    if (Status fetched = size ? Ok() : stores.fetch(blob, stop); !fetched) {
      error.message += fmt::format(", nor where it came from, {}: {}", blob.repository, fetched.error().message);
      error.hint = fetched.error().hint;
      continue;
    }
    TRY_ASSIGN(auto packed, stores.blobs.OpenVerified(blob.blob));
    TRY_ASSIGN(auto tar, archive::MakeDecompressor(*packed));
    TRY(Copy(*tar, out));
    return Ok();
  }
  return error;
}

Status WriteRedated(const LayerSource& source, const ExportStores& stores, Writer& out, DiffId* made,
                    std::stop_token stop) {
  TRY_ASSIGN(std::string directory, stores.layers.Directory(source.diff_id));
  TRY_ASSIGN(auto entries, snapshot::WalkUpper(directory, stop));
  Timestamp epoch{source.epoch * 1'000'000'000};
  for (auto& entry : entries) {
    entry.mtime = source.timestamps == Timestamps::kSet ? epoch : std::min(entry.mtime, epoch);
  }
  HashingWriter hashed(&out);
  TRY(snapshot::WriteUpperTar(directory, entries, snapshot::HashFiles::kNo, {}, hashed, stop));
  *made = DiffId(hashed.Finish());
  return stores.local.PutMemo(kRedatedMemo, RedatedKey(source),
                              {.value = made->ToString(), .time = stores.clock.Now()});
}

Status WriteLayer(const LayerSource& source, const ExportStores& stores, Writer& out, DiffId* made,
                  std::stop_token stop) {
  if (source.timestamps != Timestamps::kKeep) return WriteRedated(source, stores, out, made, stop);
  *made = source.diff_id;
  TRY_ASSIGN(bool reproducible, stores.layers.Reproducible(source.diff_id));
  return reproducible ? stores.layers.WriteTar(source.diff_id, out, stop)
                      : WriteTarFromBlob(source.diff_id, stores, out, stop);
}

// The layer's diff id in the image, as far as it is known without making its tar.
Result<std::optional<DiffId>> KnownDiffId(const LayerSource& source, const ExportStores& stores) {
  if (source.timestamps == Timestamps::kKeep) return std::optional(source.diff_id);
  TRY_ASSIGN(auto memo, stores.local.GetMemo(kRedatedMemo, RedatedKey(source)));
  if (!memo) return std::optional<DiffId>();
  TRY_ASSIGN(Digest digest, Digest::Parse(memo->value));
  return std::optional(DiffId(digest));
}

// A blob of the layer in the blob store, in the wanted form. Existing blobs of another compression
// serve too unless it is forced: recompressing a base image's layers would make them another image.
Result<std::optional<cache::LayerBlob>> FindBlob(const DiffId& layer, const Output& output, const ExportStores& stores,
                                                 std::stop_token stop) {
  TRY_ASSIGN(auto known, stores.local.FindLayerBlobs(layer));
  auto fits = [&](const cache::LayerBlob& blob) {
    auto compression = CompressionOf(blob.media_type);
    return compression &&
           (*compression == output.compression || (!output.force_compression && !blob.repository.empty()));
  };
  for (const cache::LayerBlob& blob : known) {
    if (!fits(blob)) continue;
    TRY_ASSIGN(auto size, stores.blobs.Size(blob.blob));
    if (size) return std::optional(blob);
  }
  for (const cache::LayerBlob& blob : known) {
    if (!fits(blob) || blob.repository.empty() || !stores.fetch) continue;
    if (stores.fetch(blob, stop)) return std::optional(blob);
  }
  return std::optional<cache::LayerBlob>();
}

// Of a layer that a step has given: not being here any more is damage.
Result<snapshot::Layer> StatOf(const DiffId& layer, const ExportStores& stores) {
  auto stat = stores.layers.Stat(layer);
  if (stat || stat.error().code != Code::kNotFound) return stat;
  return Corrupt("layer {} was lost while it was to be exported", layer.ToString());
}

// One packing of a layer at a time: images and caches are exported side by side, and who comes second takes
// what the first made.
class Packing {
 public:
  explicit Packing(std::string what) : what_(std::move(what)) {
    auto busy = Busy().Lock();
    busy.Wait(Ended(), [&] { return !busy->contains(what_); });
    busy->insert(what_);
  }
  Packing(const Packing&) = delete;
  Packing& operator=(const Packing&) = delete;
  ~Packing() {
    Busy().Lock()->erase(what_);
    Ended().notify_all();
  }

 private:
  static Guarded<std::set<std::string>>& Busy() {
    static Guarded<std::set<std::string>> busy;
    return busy;
  }
  static std::condition_variable& Ended() {
    static std::condition_variable ended;
    return ended;
  }
  const std::string what_;
};

struct MadeLayer {
  oci::Descriptor descriptor;
  DiffId diff_id;
  bool fresh = false;  // its blob was not in the store before
  std::optional<AbsentBlob> absent = {};
};

bool IsInForm(const cache::LayerBlob& blob, const Output& output) {
  auto compression = CompressionOf(blob.media_type);
  return compression && *compression == output.compression;
}

// As what the layer can be had without bringing it here; nothing where it cannot, or in another form. A base
// image's layers are taken as they are.
Result<std::optional<MadeLayer>> FindElsewhere(const DiffId& layer, const Output& output, const ExportStores& stores,
                                               std::stop_token stop) {
  TRY_ASSIGN(auto known, stores.local.FindLayerBlobs(layer));
  MadeLayer made{.diff_id = layer};
  auto take = [&](const cache::LayerBlob& blob) {
    made.descriptor = {.media_type = MediaType(*CompressionOf(blob.media_type), output.oci_media_types),
                       .digest = blob.blob,
                       .size = blob.size};
    Counter("export.layers_elsewhere").Add();
    return std::optional(std::move(made));
  };
  for (const cache::LayerBlob& blob : known) {
    TRY_ASSIGN(auto here, stores.blobs.Size(blob.blob));
    if (here || blob.repository.empty() || !stores.fetch || !CompressionOf(blob.media_type)) continue;
    if (output.force_compression && !IsInForm(blob, output)) continue;
    made.absent =
        AbsentBlob{blob.repository, [fetch = stores.fetch, blob](std::stop_token token) { return fetch(blob, token); }};
    return take(blob);
  }
  auto blob = stores.elsewhere->describe(layer, stop);
  if (!blob || !IsInForm(*blob, output)) return std::optional<MadeLayer>();
  made.absent = AbsentBlob{blob->repository, [fetch = stores.elsewhere->fetch, layer](std::stop_token token) -> Status {
                             TRY_ASSIGN(auto fetched, fetch(layer, token));
                             if (fetched) return Ok();
                             return Corrupt("layer {} is not here any more, nor in a cache", layer.ToString());
                           }};
  return take(*blob);
}

// The tar of a layer that is not unpacked here.
Status WriteFetchedTar(const DiffId& layer, const ExportStores& stores, Writer& out, std::stop_token stop) {
  TRY_ASSIGN(auto fetched, stores.elsewhere->fetch(layer, stop));
  if (!fetched) return WriteTarFromBlob(layer, stores, out, stop);
  TRY_ASSIGN(auto packed, stores.blobs.OpenVerified(fetched->blob));
  TRY_ASSIGN(auto tar, archive::MakeDecompressor(*packed));
  HashingWriter hashed(&out);
  TRY(Copy(*tar, hashed));
  if (hashed.Finish() == layer.value) return Ok();
  return Corrupt("the blob of layer {} holds another one", layer.ToString());
}

Result<MadeLayer> MakeLayer(const LayerSource& source, const Output& output, const ExportStores& stores,
                            const OnProgress& on_progress, std::stop_token stop) {
  MadeLayer made;
  Packing packing(fmt::format("{} {} {} {}", static_cast<const void*>(&stores.blobs), RedatedKey(source),
                              static_cast<int>(source.timestamps), static_cast<int>(output.compression)));
  oci::Annotations annotations;
  // Who takes the layer as a base sees that its files have no times of their own.
  if (source.timestamps == Timestamps::kClamp) {
    annotations.emplace_back("buildkit/rewritten-timestamp", std::to_string(source.epoch));
  }
  TRY_ASSIGN(auto known, KnownDiffId(source, stores));
  bool elsewhere = false;
  if (stores.elsewhere) {
    TRY_ASSIGN(bool here, stores.layers.Has(source.diff_id));
    elsewhere = !here;
  }
  if (elsewhere && known) {
    TRY_ASSIGN(auto found, FindElsewhere(*known, output, stores, stop));
    if (found) return std::move(*found);
  }
  if (known) {
    TRY_ASSIGN(auto blob, FindBlob(*known, output, stores, stop));
    if (blob) {
      made.diff_id = *known;
      made.descriptor = {.media_type = MediaType(*CompressionOf(blob->media_type), output.oci_media_types),
                         .digest = blob->blob,
                         .size = blob->size,
                         .annotations = std::move(annotations)};
      return made;
    }
  }
  METRIC("export.compress");
  snapshot::Layer layer{.diff_id = source.diff_id};
  if (!elsewhere) {
    TRY_ASSIGN(layer, StatOf(source.diff_id, stores));
  }
  std::string id = "exporting layer " + source.diff_id.value.Short();
  TRY_ASSIGN(auto writer, stores.blobs.Create());
  // Reading and packing the tar, hashing it, compressing, and hashing and storing what comes of it
  // are at work at the same time.
  BackgroundWriter stored(*writer);
  TRY_ASSIGN(auto compressor, archive::MakeCompressor(stored, CodecOf(output.compression), output.compression_level));
  ProgressWriter counting(*compressor, ByteProgress(on_progress, id, layer.tar_size));
  if (elsewhere) {
    made.diff_id = source.diff_id;
    TRY(WriteFetchedTar(source.diff_id, stores, counting, stop));
  } else {
    TRY(WriteLayer(source, stores, counting, &made.diff_id, stop));
  }
  TRY(compressor->Finish());
  TRY(stored.Finish());
  uint64_t size = writer->size();
  TRY_ASSIGN(Digest digest, writer->Commit({}));
  made.descriptor = {.media_type = MediaType(output.compression, output.oci_media_types),
                     .digest = digest,
                     .size = size,
                     .annotations = std::move(annotations)};
  made.fresh = true;
  TRY(stores.local.PutLayerBlob(made.diff_id,
                                {.blob = digest, .media_type = MediaType(output.compression, true), .size = size}));
  if (on_progress) on_progress(id, layer.tar_size, layer.tar_size, true);
  return made;
}

// Of the level `type` and for this platform, or for all.
oci::Annotations AnnotationsFor(const Output& output, std::string_view type, const oci::Platform& platform) {
  oci::Annotations annotations;
  for (const Output::Annotation& annotation : output.annotations) {
    if (annotation.type != type) continue;
    auto wanted = annotation.platform.empty() ? platform : oci::ParsePlatform(annotation.platform);
    if (wanted && *wanted == oci::Normalise(platform)) {
      annotations.emplace_back(annotation.key, annotation.value);
    }
  }
  return annotations;
}

Result<Image> Assemble(const PlatformInput& of, const Output& output, const ExportStores& stores,
                       std::vector<MadeLayer> layers) {
  const ImageInput& input = of.input;
  Image image;
  std::vector<DiffId> diff_ids;
  for (const MadeLayer& layer : layers) diff_ids.push_back(layer.diff_id);
  oci::ImageConfig config = FinishConfig(input, diff_ids, output, stores.clock);
  image.config = config.Serialise();
  TRY_ASSIGN(image.config_digest, stores.blobs.Put(image.config));
  bool oci = output.oci_media_types;
  image.manifest.media_type = oci ? oci::kOciManifest : oci::kDockerManifest;
  image.manifest.config = {.media_type = std::string(oci ? oci::kOciConfig : oci::kDockerConfig),
                           .digest = image.config_digest,
                           .size = image.config.size()};
  for (MadeLayer& layer : layers) {
    if (layer.fresh) image.fresh.insert(layer.descriptor.digest);
    if (layer.absent) image.absent.emplace(layer.descriptor.digest, std::move(*layer.absent));
    image.manifest.layers.push_back(std::move(layer.descriptor));
  }
  image.manifest.annotations = AnnotationsFor(output, "manifest", of.platform);
  image.descriptor.annotations = AnnotationsFor(output, "manifest-descriptor", of.platform);
  image.manifest_text = oci::Serialise(image.manifest);
  TRY_ASSIGN(image.manifest_digest, stores.blobs.Put(image.manifest_text));
  image.descriptor.media_type = image.manifest.media_type;
  image.descriptor.digest = image.manifest_digest;
  image.descriptor.size = image.manifest_text.size();
  image.descriptor.platform = of.platform;
  // Whoever takes an image from an index looks there for the version, which the base image may have said.
  if (of.platform.os == "windows" && of.platform.os_version.empty()) {
    image.descriptor.platform->os_version = config.platform().os_version;
  }
  return image;
}

Result<ImageSet> Gather(const BuildResult& result, const Output& output, const ExportStores& stores,
                        const std::function<Result<Image>(const PlatformInput&)>& make) {
  std::vector<oci::Platform> platforms;
  bool attested = false;
  for (const PlatformInput& of : result.platforms) {
    platforms.push_back(of.platform);
    if (!KeptAttestations(of.attestations, output).empty()) attested = true;
  }
  TRY(CheckOutput(output, platforms, result.multi_platform, attested));
  ImageSet set;
  for (const PlatformInput& of : result.platforms) {
    auto image = make(of);
    if (!image) {
      Error error = std::move(image).error();
      return result.multi_platform ? std::move(error).With(of.platform.ToString()) : error;
    }
    set.images.push_back(std::move(*image));
    std::vector<attest::Attestation> kept = KeptAttestations(of.attestations, output);
    if (kept.empty()) continue;
    TRY_ASSIGN(auto manifest, AttestationManifest(set.images.back(), of, std::move(kept), output, stores));
    set.attestations.push_back(std::move(manifest));
  }
  if (!result.multi_platform && set.attestations.empty()) {
    set.descriptor = set.images[0].descriptor;
    return set;
  }
  oci::Index index{.media_type = std::string(output.oci_media_types ? oci::kOciIndex : oci::kDockerList)};
  for (const Image& image : set.images) index.manifests.push_back(image.descriptor);
  for (const Image& image : set.attestations) index.manifests.push_back(image.descriptor);
  index.annotations = AnnotationsFor(output, "index", {});
  set.index_text = oci::Serialise(index);
  set.descriptor.media_type = index.media_type;
  TRY_ASSIGN(set.descriptor.digest, stores.blobs.Put(set.index_text));
  set.descriptor.size = set.index_text.size();
  set.descriptor.annotations = AnnotationsFor(output, "index-descriptor", {});
  set.index = std::move(index);
  return set;
}

}  // namespace

Result<oci::Descriptor> MakeLayerBlob(const DiffId& layer, const Output& output, const ExportStores& stores,
                                      const OnProgress& on_progress, std::stop_token stop) {
  TRY_ASSIGN(auto made, MakeLayer({.diff_id = layer}, output, stores, on_progress, stop));
  return std::move(made.descriptor);
}

std::vector<attest::Attestation> KeptAttestations(const std::vector<attest::Attestation>& all, const Output& output) {
  bool image = output.type == OutputType::kImage;
  std::vector<attest::Attestation> kept;
  for (const attest::Attestation& attestation : all) {
    if (!attestation.inline_only || output.attestation_inline.value_or(image)) kept.push_back(attestation);
  }
  return kept;
}

Status CheckOutput(const Output& output, const std::vector<oci::Platform>& platforms, bool multi_platform,
                   bool attested) {
  if (attested && output.type == OutputType::kDocker) {
    Error error =
        Invalid("docker exporter does not currently support exporting manifest lists, which attestations need");
    error.hint = "add inline-only=true to the attestation, or write an OCI layout: -o type=oci,dest=FILE";
    return error;
  }
  if (attested && !output.oci_media_types) {
    Error error = Invalid("cannot export attestations with \"oci-mediatypes=false\"");
    error.hint = "leave out oci-mediatypes=false, or the attestations";
    return error;
  }
  if (output.type == OutputType::kDocker && multi_platform) {
    Error error = Invalid("docker exporter does not currently support exporting manifest lists");
    error.hint = output.load ? "load one platform (--platform linux/…), or send all of them to a "
                               "registry with --push, or to a file with -o type=oci,dest=FILE"
                             : "write an OCI layout, which holds several platforms: -o type=oci,dest=FILE";
    return error;
  }
  for (const Output::Annotation& annotation : output.annotations) {
    bool of_index = annotation.type.starts_with("index");
    if (of_index && !annotation.platform.empty()) {
      return Invalid("annotation {}[{}].{}: an index is for all platforms", annotation.type, annotation.platform,
                     annotation.key);
    }
    if (of_index && !multi_platform && !attested) {
      Error error = Invalid("index annotation \"{}\" on an image without an index", annotation.key);
      error.hint = "use manifest:KEY=VALUE: the result is for one platform";
      return error;
    }
    if (annotation.type != "manifest" && !output.oci_media_types) {
      Error error = Invalid("{} annotation \"{}\" needs OCI's media types", annotation.type, annotation.key);
      error.hint = "leave out oci-mediatypes=false: Docker's formats have no such annotations";
      return error;
    }
    if (annotation.platform.empty()) continue;
    TRY_ASSIGN(auto wanted, oci::ParsePlatform(annotation.platform));
    bool there = std::ranges::any_of(platforms,
                                     [&](const oci::Platform& platform) { return oci::Normalise(platform) == wanted; });
    if (there) continue;
    Error error = Invalid("annotation \"{}\" is for platform {}, which is not in the result", annotation.key,
                          annotation.platform);
    std::vector<std::string> names;
    for (const oci::Platform& platform : platforms) names.push_back(platform.ToString());
    error.hint = "the result is for " + Join(names, ", ");
    return error;
  }
  return Ok();
}

oci::ImageConfig FinishConfig(const ImageInput& input, const std::vector<DiffId>& diff_ids, const Output& output,
                              Clock& clock) {
  std::optional<int64_t> epoch = output.source_date_epoch;
  bool set = epoch && output.timestamps == Timestamps::kSet;
  oci::ImageConfig config = input.config;
  config.set_diff_ids(diff_ids);
  std::vector<oci::History> history = config.history();
  size_t with_layer =
      static_cast<size_t>(std::ranges::count_if(history, [](const oci::History& h) { return !h.empty_layer; }));
  // One entry with a layer for each layer: what lacks one gets it at the end; what has too many is
  // marked from the bottom (reference exporters.md §5).
  for (; with_layer < diff_ids.size(); ++with_layer) {
    history.push_back({.created_by = "created by varve", .comment = "buildkit.exporter.image.v0"});
  }
  for (auto entry = history.begin(); with_layer > diff_ids.size() && entry != history.end(); ++entry) {
    if (entry->empty_layer) continue;
    entry->empty_layer = true;
    --with_layer;
  }
  Timestamp now = epoch ? Timestamp{*epoch * 1'000'000'000} : clock.Now();
  // An entry without a layer takes the time of the one before it; the first ones, that of the first
  // layer (reference exporters.md §5).
  std::optional<Timestamp> first, last;
  for (const auto& time : input.made) first = first ? first : time;
  size_t layer = 0;
  for (oci::History& entry : history) {
    if (entry.empty_layer || layer >= input.layers_made.size()) continue;
    const std::optional<Timestamp>& time = input.layers_made[layer++];
    if (entry.created || !time) continue;
    entry.created = time;
    first = first ? first : time;
  }
  for (size_t i = 0; i < history.size(); ++i) {
    oci::History& entry = history[i];
    bool ours = i >= input.base_history;
    if (i < input.made.size() && input.made[i]) entry.created = input.made[i];
    if (!entry.created) entry.created = last ? last : first.value_or(now);
    if (epoch && ours && (set || *entry.created > now)) entry.created = now;
    last = entry.created;
  }
  config.set_history(history);
  config.set_created(last.value_or(now));
  return config;
}

Result<oci::ImageConfig> MakeConfig(const ImageInput& input, const Output& output, const ExportStores& stores,
                                    std::stop_token stop) {
  std::vector<DiffId> diff_ids;
  for (size_t i = 0; i < input.rootfs.layers.size(); ++i) {
    LayerSource source = SourceOf(input, output, i);
    TRY_ASSIGN(auto diff_id, KnownDiffId(source, stores));
    if (!diff_id) {
      NullWriter nowhere;
      TRY(WriteRedated(source, stores, nowhere, &diff_id.emplace(), stop));
    }
    diff_ids.push_back(*diff_id);
  }
  return FinishConfig(input, diff_ids, output, stores.clock);
}

Result<ImageSet> MakeStoredImages(const BuildResult& result, const Output& output, const ExportStores& stores,
                                  std::stop_token stop) {
  if (output.timestamps != Timestamps::kKeep && output.source_date_epoch) {
    return MakeImages(result, output, stores, nullptr, stop);
  }
  return Gather(result, output, stores, [&](const PlatformInput& of) -> Result<Image> {
    std::vector<MadeLayer> layers;
    TRY_ASSIGN(const auto known, stores.local.FindBlobsOfLayers(of.input.rootfs.layers));
    for (size_t i = 0; i < known.size(); ++i) {
      const DiffId& diff_id = of.input.rootfs.layers[i];
      const std::vector<cache::LayerBlob>& blobs = known[i];
      MadeLayer made{.diff_id = diff_id};
      auto pulled = std::ranges::find_if(blobs, [](const auto& b) { return !b.repository.empty(); });
      if (pulled != blobs.end()) {
        made.descriptor = {.media_type = pulled->media_type, .digest = pulled->blob, .size = pulled->size};
      } else {
        TRY_ASSIGN(snapshot::Layer layer, stores.layers.Stat(diff_id));
        made.descriptor = {.media_type = std::string(oci::kOciLayer), .digest = diff_id.value, .size = layer.tar_size};
      }
      layers.push_back(std::move(made));
    }
    return Assemble(of, output, stores, std::move(layers));
  });
}

Result<ImageSet> MakeImages(const BuildResult& result, const Output& output, const ExportStores& stores,
                            const OnProgress& on_progress, std::stop_token stop) {
  METRIC("export.image");
  return Gather(result, output, stores, [&](const PlatformInput& of) -> Result<Image> {
    const ImageInput& input = of.input;
    std::vector<MadeLayer> layers(input.rootfs.layers.size());
    // Two at a time: compression of one uses all cores already, reading the next hides in it.
    Status made = ParallelFor(layers.size(), 2, [&](size_t i) -> Status {
      TRY_ASSIGN(layers[i], MakeLayer(SourceOf(input, output, i), output, stores, on_progress, stop));
      return Ok();
    });
    TRY(std::move(made));
    return Assemble(of, output, stores, std::move(layers));
  });
}

}  // namespace varve::exporter
