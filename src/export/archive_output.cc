#include "export/archive_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "archive/tar.h"
#include "base/fd.h"
#include "oci/reference.h"
#include "sys/open.h"

namespace varve::exporter {

namespace {

constexpr std::string_view kLayoutText = R"({"imageLayoutVersion":"1.0.0"})";

Result<Json> IndexEntries(const ImageSet& set, const std::vector<std::string>& names) {
  Json entries = Json::EmptyArray();
  auto add = [&](const oci::Annotations& annotations) {
    oci::Descriptor descriptor = ListedDescriptor(set);
    descriptor.annotations.insert(descriptor.annotations.end(), annotations.begin(), annotations.end());
    entries.Append(oci::ToJson(descriptor));
  };
  for (const std::string& name : names) {
    TRY_ASSIGN(auto reference, oci::ParseReference(name));
    add({{"io.containerd.image.name", reference.WithDefaultTag().String()},
         {"org.opencontainers.image.ref.name", reference.WithDefaultTag().tag}});
  }
  if (names.empty()) add({});
  return entries;
}

std::string IndexText(Json entries) {
  return Json()
      .Set("schemaVersion", 2)
      .Set("mediaType", oci::kOciIndex)
      .Set("manifests", std::move(entries))
      .Dump({.escape_html = true});
}

Result<std::string> DockerManifest(const Image& image, const std::vector<std::string>& names) {
  Json tags = Json::EmptyArray(), layers = Json::EmptyArray();
  for (const std::string& name : names) {
    TRY_ASSIGN(auto reference, oci::ParseReference(name));
    tags.Append(reference.WithDefaultTag().Familiar());
  }
  for (const oci::Descriptor& layer : image.manifest.layers) {
    layers.Append("blobs/sha256/" + layer.digest.Hex());
  }
  Json entry;
  entry.Set("Config", "blobs/sha256/" + image.config_digest.Hex());
  entry.Set("RepoTags", names.empty() ? Json() : std::move(tags)).Set("Layers", std::move(layers));
  return Json().Append(std::move(entry)).Dump();
}

std::vector<Digest> BlobsOf(const ImageSet& set) {
  std::vector<Digest> blobs = {set.descriptor.digest};
  for (const auto* images : {&set.images, &set.attestations}) {
    for (const Image& image : *images) {
      blobs.insert(blobs.end(), {image.manifest_digest, image.config_digest});
      for (const oci::Descriptor& layer : image.manifest.layers) blobs.push_back(layer.digest);
    }
  }
  std::ranges::sort(blobs);
  blobs.erase(std::unique(blobs.begin(), blobs.end()), blobs.end());
  return blobs;
}

Result<std::unique_ptr<Reader>> OpenBlob(const ImageSet& set, const Digest& blob, cas::BlobStore& blobs) {
  bool fresh = std::ranges::any_of(set.images, [&](const Image& i) { return i.fresh.contains(blob); });
  return fresh ? blobs.Open(blob) : blobs.OpenVerified(blob);
}

class TarContent final : public Writer {
 public:
  explicit TarContent(archive::TarWriter& tar) : tar_(tar) {}
  Status Write(std::string_view data) override { return tar_.Content(data); }

 private:
  archive::TarWriter& tar_;
};

Status AddText(archive::TarWriter& tar, const char* name, uint32_t mode, std::string_view text) {
  TRY(tar.Add({.name = name, .mode = mode, .size = text.size()}));
  return tar.Content(text);
}

}  // namespace

oci::Descriptor ListedDescriptor(const ImageSet& set) {
  constexpr const char* kCreated = "org.opencontainers.image.created";
  oci::Descriptor descriptor = set.descriptor;
  const auto created = oci::ImageConfig::Parse(set.images[0].config)->created();
  if (created && descriptor.Annotation(kCreated) == nullptr) {
    descriptor.annotations.emplace_back(kCreated, FormatTime(*created));
  }
  return descriptor;
}

Status WriteArchive(const ImageSet& set, const std::vector<std::string>& names, bool docker, cas::BlobStore& blobs,
                    Writer& out) {
  archive::TarWriter tar(out);
  for (const char* directory : {"blobs/", "blobs/sha256/"}) {
    TRY(tar.Add({.name = directory, .type = archive::EntryType::kDirectory, .mode = 0755}));
  }
  for (const Digest& blob : BlobsOf(set)) {
    TRY_ASSIGN(auto size, blobs.Size(blob));
    if (!size) return NotFound("blob {} is not in the store", blob.ToString());
    TRY_ASSIGN(auto reader, OpenBlob(set, blob, blobs));
    TRY(tar.Add({.name = "blobs/sha256/" + blob.Hex(), .mode = 0444, .size = *size}));
    TarContent content(tar);
    TRY(Copy(*reader, content));
  }
  TRY_ASSIGN(Json entries, IndexEntries(set, names));
  TRY(AddText(tar, "index.json", 0644, IndexText(std::move(entries))));
  if (docker) {
    TRY_ASSIGN(std::string manifest, DockerManifest(set.images[0], names));
    TRY(AddText(tar, "manifest.json", 0644, manifest));
  }
  TRY(AddText(tar, "oci-layout", 0444, kLayoutText));
  return tar.Finish();
}

Status WriteLayoutDirectory(const ImageSet& set, const std::vector<std::string>& names, bool docker,
                            cas::BlobStore& blobs, const std::string& directory) {
  TRY(sys::MkdirAll(directory + "/blobs/sha256", 0755));
  for (const Digest& blob : BlobsOf(set)) {
    std::string path = directory + "/blobs/sha256/" + blob.Hex();
    if (access(path.c_str(), F_OK) == 0) continue;
    std::string temporary = path + ".tmp";
    TRY_ASSIGN(Fd fd, OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    TRY_ASSIGN(auto reader, OpenBlob(set, blob, blobs));
    FdWriter writer(fd.get());
    TRY(Copy(*reader, writer));
    if (rename(temporary.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename " + path);
  }
  TRY_ASSIGN(Json entries, IndexEntries(set, names));
  if (auto old = ReadFile(directory + "/index.json")) {
    TRY_ASSIGN(Json index, Json::Parse(*old));
    auto name_of = [](const Json& entry) {
      const Json* annotations = entry.Find("annotations");
      return annotations ? annotations->GetString("io.containerd.image.name") : "";
    };
    for (const Json& entry : index.GetArray("manifests")) {
      bool replaced =
          std::ranges::any_of(entries.as_array(), [&](const Json& ours) { return name_of(ours) == name_of(entry); });
      if (!replaced) entries.Append(entry);
    }
  }
  TRY(WriteFileAtomically(directory + "/oci-layout", kLayoutText));
  if (docker) {
    TRY_ASSIGN(std::string manifest, DockerManifest(set.images[0], names));
    TRY(WriteFileAtomically(directory + "/manifest.json", manifest));
  }
  return WriteFileAtomically(directory + "/index.json", IndexText(std::move(entries)));
}

Status SendBlobs(const ImageSet& set, cas::BlobStore& blobs, RemoteBlobs& to, std::stop_token stop) {
  std::vector<Digest> order;
  for (const auto* images : {&set.images, &set.attestations}) {
    for (const Image& image : *images) {
      for (const oci::Descriptor& layer : image.manifest.layers) order.push_back(layer.digest);
      order.insert(order.end(), {image.config_digest, image.manifest_digest});
    }
  }
  order.push_back(set.descriptor.digest);  // the index, or once more the only manifest
  std::set<Digest> sent;
  for (const Digest& blob : order) {
    if (!sent.insert(blob).second) continue;
    TRY_ASSIGN(auto size, blobs.Size(blob));
    if (!size) return NotFound("blob {} is not in the store", blob.ToString());
    TRY_ASSIGN(auto reader, OpenBlob(set, blob, blobs));
    TRY(to.Write(blob, *size, *reader, stop));
  }
  return Ok();
}

}  // namespace varve::exporter
