// A record group: what one export adds to a tier, and what readers load of it.
//
//   manifest   an OCI image manifest; its layers are all blobs that the group names
//   config     the records: zstd of the JSON below, application/vnd.varve.cache.records.v1+zstd
//   layers     layer blobs under their own media types, so that other tools can unpack them, and tree
//              packs, application/vnd.varve.cache.trees.v1+zstd; of layers that are stored as chunks
//              (chunk/chunk_list.h) the lists and the packs that these need
//
//   {"version":1,
//    "records":["<StepRecord>",…],                     cache/step_record.h, with its checksum
//    "layers":[{"diffID":…,"mediaType":…,"digest":…,"size":…},…],
//    "trees":[{"digest":…,"size":…,"roots":["sha256:…",…]},…],
//    "mounts":[{"key":…,"created":…,"diffID":…,"mediaType":…,"digest":…,"size":…,…},…],
//    "disowned":[{"weak":"sha256:…","why":…},…],       where there are some
//    "signatures":[{"of":"sha256:…","key":…,"value":…},…]}     where there are some: signing.h
//
// What is stored as chunks has the list's media type, digest and size, and besides "tarSize" and
// "packs":[{"digest":…,"size":…},…].
//
// Groups are immutable, named by the digest of their manifest. Logs of steps do not travel: nothing
// reads them there, and what a program prints is nobody else's business. In names of steps, words that
// look secret are hidden.
//
// A tree pack is zstd of   pack := "vtp1\n" (length:u32le object)*   with objects as tree/tree.h encodes
// them. It holds what the trees of `roots` have and their base images have not, and whatever else the
// selectors of the exporting build looked at: a machine without any layer can compute the same keys.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cache/step_record.h"
#include "oci/descriptor.h"
#include "oci/manifest.h"
#include "tier/signing.h"

namespace varve::tier {

inline constexpr std::string_view kRecordsMediaType = "application/vnd.varve.cache.records.v1+zstd";
inline constexpr std::string_view kTreesMediaType = "application/vnd.varve.cache.trees.v1+zstd";

// Larger ones are refused before they are fetched or unpacked.
inline constexpr uint64_t kMaxRecordsBlob = 64 << 20;
inline constexpr uint64_t kMaxUnpacked = 512 << 20;

// A tar as a blob of a layer's media type, or as chunks: then `blob` is the list, of
// chunk::kListMediaType.
struct StoredLayer {
  DiffId layer;
  oci::Descriptor blob;
  uint64_t tar_size = 0;  // of chunks
  std::vector<oci::Descriptor> packs = {};
  bool chunked() const;
  // Everything that has to be there.
  std::vector<oci::Descriptor> Blobs() const;
};

// The content of a RUN --mount=type=cache at the end of a build; always chunks.
struct StoredMount {
  std::string key;  // cache::MountKey
  Timestamp created;
  StoredLayer tar;
};

// A weak key (engine/replay.h) whose runs stand for no others: two that should have been one differ. No record
// of it is taken away, each is right for its own key.
struct DisownedKey {
  Digest weak_key;
  std::string why;  // for people
};

struct TreePack {
  oci::Descriptor blob;
  std::vector<Digest> roots;
};

struct Group {
  std::vector<cache::StepRecord> records;
  std::vector<StoredLayer> layers;
  std::vector<TreePack> trees;
  std::vector<StoredMount> mounts = {};
  std::vector<DisownedKey> disowned = {};
  Signatures signatures = {};
};

// The record as EncodeGroup writes it.
std::string TravellingText(const cache::StepRecord& record);

Result<std::string> EncodeGroup(const Group& group);
Result<Group> DecodeGroup(std::string_view text);  // kCorrupt
// The manifest that names everything the group needs.
oci::Manifest ManifestOf(const Group& group, const oci::Descriptor& records);

using TreeObjects = std::vector<std::pair<Digest, std::string>>;
Result<std::string> EncodeTrees(const TreeObjects& objects);
Result<TreeObjects> DecodeTrees(std::string_view text);  // kCorrupt

}  // namespace varve::tier
