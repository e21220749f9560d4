#include "job/local_images.h"

#include <fcntl.h>

#include <map>
#include <set>

#include "archive/tar.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "job/image_tool.h"
#include "oci/manifest.h"
#include "sys/process.h"

namespace varve::job {

namespace {

class StorePlace final : public tier::ImagePlace {
 public:
  StorePlace(source::ImageStore& images, std::string reference) : images_(images), reference_(std::move(reference)) {}

  Result<std::optional<tier::PreviousImage>> Open(const oci::Platform& platform, tier::Traffic&,
                                                  std::stop_token stop) override {
    auto image = images_.Resolve(reference_, platform, graph::ResolveMode::kLocal, std::move(stop));
    if (!image && image.error().code == Code::kNotFound) return std::optional<tier::PreviousImage>();
    TRY(image);
    tier::PreviousImage previous{.config = std::move(image->config), .layers = {}};
    previous.layers.resize(image->diff_ids.size());
    return std::optional(std::move(previous));
  }

  Status Fetch(const oci::Descriptor& blob, Writer&, std::stop_token) override {
    return NotFound("layer {} is not in the image store any more", blob.digest.ToString());
  }

 private:
  source::ImageStore& images_;
  const std::string reference_;
};

class ToolPlace final : public tier::ImagePlace {
 public:
  ToolPlace(std::string reference, std::string scratch)
      : reference_(std::move(reference)), scratch_(std::move(scratch)) {}

  // Called for one platform after another: such a store has an image for one.
  Result<std::optional<tier::PreviousImage>> Open(const oci::Platform& platform, tier::Traffic&,
                                                  std::stop_token stop) override {
    if (!saved_) {
      auto tool = FindImageTool(stop);
      if (!tool && tool.error().code == Code::kNotFound) return std::optional<tier::PreviousImage>();
      TRY(tool);
      auto there = sys::RunAndRead({.argv = {*tool, "image", "inspect", reference_}}, stop);
      if (!there) {
        if (stop.stop_requested()) return Error(std::move(there).error());
        return std::optional<tier::PreviousImage>();
      }
      const std::string path = fmt::format("{}/saved-{}.tar", scratch_, Digest::Of(reference_).Short());
      TRY(sys::RunAndRead({.argv = {*tool, "save", "-o", path, reference_}}, stop));
      TRY_ASSIGN(saved_, SavedImage::Open(path));
    }
    const tier::PreviousImage& image = saved_->image();
    if (oci::Normalise(image.config.platform()) != oci::Normalise(platform)) {
      return NotFound("the image is for {}", image.config.platform().ToString());
    }
    return std::optional(image);
  }

  Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token) override { return saved_->Fetch(blob, out); }

 private:
  const std::string reference_, scratch_;
  std::optional<SavedImage> saved_;  // set by Open, which no Fetch comes before
};

// Links of old archives lead to the entry of an equal layer.
std::string Target(const std::string& name, const std::map<std::string, std::string>& links) {
  auto link = links.find(name);
  if (link == links.end()) return name;
  return RelPath(name).Parent().Join(link->second).str();
}

std::string_view MediaTypeOf(std::string_view head) {
  if (head.starts_with("\x1f\x8b")) return oci::kOciLayerGzip;
  if (head.starts_with("\x28\xb5\x2f\xfd")) return oci::kOciLayerZstd;
  return oci::kOciLayer;
}

}  // namespace

Result<SavedImage> SavedImage::Open(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY));
  FdReader in(fd.get());
  archive::TarReader tar(in);
  struct Entry {
    uint64_t size = 0;
    std::string head;  // of large files the first bytes, else all
  };
  std::map<std::string, Entry> entries;
  std::map<std::string, std::string> links;
  while (true) {
    TRY_ASSIGN(auto entry, tar.Next());
    if (!entry) break;
    std::string name = RelPath(entry->name).str();
    if (entry->type == archive::EntryType::kSymlink) links[name] = entry->link;
    if (entry->type != archive::EntryType::kFile) continue;
    // Documents are named by manifest.json, which may come last.
    Entry& seen = entries[name];
    seen.size = entry->size;
    seen.head.resize(entry->size <= oci::kMaxManifestSize && !name.ends_with(".tar") ? entry->size : 4);
    size_t have = 0;
    while (have < seen.head.size()) {
      TRY_ASSIGN(size_t n, tar.content().Read(std::span(seen.head).subspan(have)));
      if (n == 0) break;
      have += n;
    }
    seen.head.resize(have);
  }
  auto no_archive = [&] { return Invalid("what the container engine saved is no image archive"); };
  auto json = Json::Parse(entries["manifest.json"].head);
  if (!json || !json->is_array() || json->as_array().empty()) return no_archive();
  const Json& manifest = json->as_array()[0];
  SavedImage saved;
  saved.path_ = path;
  auto config = oci::ImageConfig::Parse(entries[Target(RelPath(manifest.GetString("Config")).str(), links)].head);
  if (!config) return no_archive();
  saved.image_.config = std::move(*config);
  const std::vector<DiffId> ids = saved.image_.config.diff_ids();
  const std::vector<std::string> layers = manifest.GetStrings("Layers");
  if (ids.size() != layers.size()) return no_archive();
  for (size_t i = 0; i < layers.size(); ++i) {
    std::string name = Target(RelPath(layers[i]).str(), links);
    auto entry = entries.find(name);
    if (entry == entries.end()) return no_archive();
    oci::Descriptor layer{
        .media_type = std::string(MediaTypeOf(entry->second.head)), .digest = ids[i].value, .size = entry->second.size};
    // An archive in the form of an OCI layout names blobs by digest; they may be compressed.
    constexpr std::string_view kBlobs = "blobs/sha256/";
    if (name.starts_with(kBlobs)) {
      auto digest = Digest::ParseHex(std::string_view(name).substr(kBlobs.size()));
      if (!digest) return no_archive();
      layer.digest = *digest;
    } else if (layer.media_type != oci::kOciLayer) {
      return no_archive();
    }
    saved.entries_[layer.digest] = name;
    saved.image_.layers.push_back(std::move(layer));
  }
  return saved;
}

Status SavedImage::Fetch(const oci::Descriptor& blob, Writer& out) const {
  auto name = entries_.find(blob.digest);
  if (name == entries_.end()) return NotFound("the saved image has no layer {}", blob.digest.ToString());
  TRY_ASSIGN(Fd fd, OpenFile(path_, O_RDONLY));
  FdReader in(fd.get());
  archive::TarReader tar(in);
  while (true) {
    TRY_ASSIGN(auto entry, tar.Next());
    if (!entry) return Corrupt("the saved image lacks {}", name->second);
    if (entry->type != archive::EntryType::kFile || RelPath(entry->name).str() != name->second) continue;
    TRY(Copy(tar.content(), out));
    return Ok();
  }
}

std::unique_ptr<tier::ImagePlace> MakeStorePlace(source::ImageStore& images, std::string reference) {
  return std::make_unique<StorePlace>(images, std::move(reference));
}

std::unique_ptr<tier::ImagePlace> MakeToolPlace(std::string reference, std::string scratch) {
  return std::make_unique<ToolPlace>(std::move(reference), std::move(scratch));
}

}  // namespace varve::job
