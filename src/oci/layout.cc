#include "oci/layout.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace varve::oci {

namespace {

constexpr std::string_view kVersion = "1.0.0";

std::string NameOf(const Descriptor& d) {
  if (const std::string* name = d.Annotation(kAnnotationImageName)) return *name;
  if (const std::string* name = d.Annotation(kAnnotationRefName)) return *name;
  return {};
}

void SetAnnotation(Annotations& annotations, std::string_view key, std::string value) {
  std::erase_if(annotations, [&](const auto& item) { return item.first == key; });
  annotations.emplace_back(std::string(key), std::move(value));
  std::ranges::sort(annotations);
}

// Both sides as references, so that "app:1" finds "docker.io/library/app:1".
bool SameReference(const std::string& stored, std::string_view wanted) {
  if (stored == wanted) return true;
  auto a = ParseReference(stored), b = ParseReference(wanted);
  return a && b && a->WithDefaultTag() == b->WithDefaultTag();
}

bool IsNamed(const Descriptor& d, std::string_view wanted) {
  for (std::string_view key : {kAnnotationRefName, kAnnotationImageName}) {
    const std::string* name = d.Annotation(key);
    if (name == nullptr) continue;
    // A bare tag is compared as it is: as a reference, "v1" would be an image called v1.
    bool tag = name->find_first_of(":/") == name->npos;
    if (tag ? *name == wanted : SameReference(*name, wanted)) return true;
    if (!tag) {
      if (auto ref = ParseReference(*name); ref && ref->tag == wanted) return true;
    }
  }
  return false;
}

}  // namespace

std::string LayoutFileText() { return Json().Set("imageLayoutVersion", kVersion).Dump(); }

Status CheckLayoutFile(std::string_view text) {
  auto json = text.size() <= kMaxManifestSize ? Json::Parse(text) : Invalid("too large");
  std::string version = json ? json->GetString("imageLayoutVersion") : "";
  if (version.empty()) return Invalid("oci-layout names no version: this is not an image layout");
  // Versions 1.x may add things and take nothing away (image-layout.md, "oci-layout file").
  if (!version.starts_with("1.")) {
    return Invalid("image layout has version {}, and varve reads versions 1.x", version);
  }
  return Ok();
}

std::string LayoutBlobPath(const Digest& digest) { return "blobs/sha256/" + digest.Hex(); }

Result<Index> ParseLayoutIndex(std::string_view text) {
  auto index = ParseIndex(text);
  if (index) return index;
  auto json = Json::Parse(text.substr(0, kMaxManifestSize));
  bool bare = json && json->is_object() && json->Find("mediaType") == nullptr && json->Find("config") == nullptr &&
              json->GetInt("schemaVersion", 2) == 2 &&
              (json->Find("manifests") == nullptr || json->Find("manifests")->is_null());
  if (bare) return Index();
  return std::move(index).error().With("index.json");
}

std::string SerialiseLayoutIndex(const Index& index) { return ToJson(index).Dump({.escape_html = true}); }

Descriptor NamedInLayout(Descriptor descriptor, const Reference& name, std::optional<Timestamp> created) {
  Reference full = name.WithDefaultTag();
  SetAnnotation(descriptor.annotations, kAnnotationImageName, full.String());
  if (!full.tag.empty()) SetAnnotation(descriptor.annotations, kAnnotationRefName, full.tag);
  if (created) SetAnnotation(descriptor.annotations, kAnnotationCreated, FormatTime(*created));
  return descriptor;
}

void PutInLayout(Index& index, Descriptor descriptor) {
  std::string name = NameOf(descriptor);
  std::erase_if(index.manifests, [&](const Descriptor& old) {
    std::string old_name = NameOf(old);
    if (old_name.empty()) return old.digest == descriptor.digest;
    return old_name == name;
  });
  index.manifests.push_back(std::move(descriptor));
}

Result<Descriptor> FindInLayout(const Index& index, std::string_view wanted) {
  const Descriptor* found = nullptr;
  std::set<std::string> names;
  auto digest = Digest::Parse(wanted);
  for (const Descriptor& d : index.manifests) {
    std::string name = NameOf(d);
    names.insert(name.empty() ? d.digest.ToString() : name);
    bool fits = wanted.empty() || (digest ? d.digest == *digest : IsNamed(d, wanted));
    if (!fits) continue;
    if (found != nullptr && found->digest != d.digest) {
      Error error = wanted.empty() ? Invalid("image layout holds several images")
                                   : Invalid("several images in the layout fit \"{}\"", wanted);
      error.hint = "name one by its digest";
      return error;
    }
    if (found == nullptr) found = &d;
  }
  if (found != nullptr) return *found;
  // Only the top is searched here; a digest may be that of a blob which an entry leads to.
  if (digest) return NotFound("no entry {} in the image layout", wanted);
  Error error =
      index.manifests.empty() ? NotFound("image layout is empty") : NotFound("no image \"{}\" in the layout", wanted);
  if (!names.empty()) {
    std::vector<std::string> list(names.begin(), names.end());
    if (list.size() > 10) list.resize(10);
    error.hint = "it holds: " + Join(list, ", ");
  }
  return error;
}

}  // namespace varve::oci
