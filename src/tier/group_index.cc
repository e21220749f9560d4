#include <algorithm>

#include "base/strings.h"
#include "oci/manifest.h"
#include "tier/storage.h"

namespace varve::tier {

namespace {

constexpr std::string_view kRecords = "dev.varve.cache.records";
constexpr std::string_view kRecordsSize = "dev.varve.cache.records.size";
constexpr std::string_view kRecordsType = "dev.varve.cache.records.type";
constexpr std::string_view kDropped = "dev.varve.cache.dropped";
constexpr size_t kMaxDropped = 20'000;  // keeps the index below oci::kMaxManifestSize

}  // namespace

Result<std::vector<GroupEntry>> ParseGroupIndex(std::string_view text) {
  auto index = oci::ParseIndex(text);
  if (!index || index->artifact_type != kArtifactType) {
    return Invalid("what is there is no cache of varve's");
  }
  std::vector<GroupEntry> groups;
  for (oci::Descriptor& manifest : index->manifests) {
    const std::string* records = manifest.Annotation(kRecords);
    const std::string* size = manifest.Annotation(kRecordsSize);
    const std::string* type = manifest.Annotation(kRecordsType);
    // Entries of a later version, or of another tool, are none of ours.
    if (records == nullptr || size == nullptr || type == nullptr) continue;
    auto digest = Digest::Parse(*records);
    auto bytes = ParseInt(*size);
    if (!digest || !bytes || *bytes < 0) continue;
    groups.push_back(
        {std::move(manifest), {.media_type = *type, .digest = *digest, .size = static_cast<uint64_t>(*bytes)}});
  }
  return groups;
}

std::string SerialiseGroupIndex(const std::vector<GroupEntry>& groups, oci::Annotations annotations) {
  oci::Index index;
  index.annotations = std::move(annotations);
  index.artifact_type = kArtifactType;
  for (const GroupEntry& group : groups) {
    oci::Descriptor entry = group.manifest;
    entry.annotations = {{std::string(kRecords), group.records.digest.ToString()},
                         {std::string(kRecordsSize), std::to_string(group.records.size)},
                         {std::string(kRecordsType), group.records.media_type}};
    index.manifests.push_back(std::move(entry));
  }
  return oci::Serialise(index);
}

Dropped DroppedOf(const oci::Annotations& annotations) {
  Dropped dropped;
  for (const auto& [name, value] : annotations) {
    if (name != kDropped) continue;
    for (const std::string& item : Split(value, ' ')) {
      size_t colon = item.find(':');
      if (colon == item.npos) continue;
      auto digest = Digest::Parse("sha256:" + item.substr(0, colon));
      auto when = ParseInt(item.substr(colon + 1));
      if (digest && when) dropped.emplace(*digest, *when);
    }
  }
  return dropped;
}

void SetDropped(oci::Annotations& annotations, const Dropped& dropped) {
  std::string text;
  size_t count = 0;
  for (const auto& [digest, when] : dropped) {
    if (++count > kMaxDropped) break;
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", digest.Hex(), when);
  }
  if (!text.empty()) annotations.emplace_back(kDropped, std::move(text));
}

std::vector<GroupEntry> Merged(std::vector<GroupEntry> groups, const GroupEntry& added,
                               const std::vector<Digest>& old) {
  std::erase_if(groups, [&](const GroupEntry& group) {
    return group.manifest.digest == added.manifest.digest || std::ranges::find(old, group.manifest.digest) != old.end();
  });
  groups.push_back(added);
  return groups;
}

}  // namespace varve::tier
