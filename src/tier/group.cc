#include "tier/group.h"

#include <set>

#include "archive/codec.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/redact.h"
#include "chunk/chunk_list.h"
#include "tree/tree.h"

namespace varve::tier {

namespace {

constexpr int kVersion = 1;
constexpr std::string_view kPackMagic = "vtp1\n";
constexpr size_t kLengthBytes = 4;

Result<std::string> Compressed(std::string_view text) {
  StringWriter out;
  // One thread: the blob, and with it the group's name, is the same on every machine.
  TRY_ASSIGN(auto compressor, archive::MakeCompressor(out, archive::Compression::kZstd, {}, 1));
  TRY(compressor->Write(text));
  TRY(compressor->Finish());
  return std::move(out.text);
}

Result<std::string> Decompressed(std::string_view packed) {
  StringReader in(packed);
  TRY_ASSIGN(auto reader, archive::MakeDecompressor(in, {.bytes = kMaxUnpacked}));
  return ReadAll(*reader, kMaxUnpacked);
}

Error Damaged(std::string_view what) { return Corrupt("a record group is damaged: {}", what); }

// Names are for people, and may quote a URL with a password (ADD https://user:password@host/).
cache::StepRecord ForTravel(cache::StepRecord record) {
  record.log.clear();
  record.name = RedactedText(record.name);
  for (cache::InputTree& input : record.inputs) input.name = RedactedText(input.name);
  return record;
}

Json LayerJson(const StoredLayer& layer) {
  Json json = Json()
                  .Set("diffID", layer.layer.ToString())
                  .Set("mediaType", layer.blob.media_type)
                  .Set("digest", layer.blob.digest.ToString())
                  .Set("size", layer.blob.size);
  if (!layer.chunked()) return json;
  Json packs = Json::EmptyArray();
  for (const oci::Descriptor& pack : layer.packs) {
    packs.Append(Json().Set("digest", pack.digest.ToString()).Set("size", pack.size));
  }
  json.Set("tarSize", layer.tar_size).Set("packs", std::move(packs));
  return json;
}

Result<StoredLayer> LayerOf(const Json& json) {
  auto diff_id = Digest::Parse(json.GetString("diffID"));
  auto blob = oci::DescriptorFromJson(json);
  if (!diff_id || !blob) return Damaged("a layer without a blob");
  StoredLayer layer{.layer = DiffId(*diff_id), .blob = std::move(*blob)};
  if (!layer.chunked()) {
    if (!oci::IsLayer(layer.blob.media_type)) return Damaged("a layer of an unknown kind");
    return layer;
  }
  int64_t size = json.GetInt("tarSize");
  if (size < 0) return Damaged("a layer of a negative size");
  layer.tar_size = static_cast<uint64_t>(size);
  for (const Json& pack : json.GetArray("packs")) {
    auto descriptor = oci::DescriptorFromJson(pack);
    if (!descriptor) return Damaged("a layer without its packs");
    descriptor->media_type = chunk::kPackMediaType;
    layer.packs.push_back(std::move(*descriptor));
  }
  return layer;
}

// Those of what is in the group, by the group's own order.
Json SignaturesJson(const Group& group) {
  Json json = Json::EmptyArray();
  auto add = [&](const Digest& statement) {
    auto of = group.signatures.find(statement);
    if (of == group.signatures.end()) return;
    for (const Signature& signature : of->second) {
      json.Append(
          Json().Set("of", statement.ToString()).Set("key", signature.key).Set("value", Base64Encode(signature.value)));
    }
  };
  if (group.signatures.empty()) return json;
  for (const cache::StepRecord& record : group.records) add(StatementOf(record));
  for (const StoredLayer& layer : group.layers) add(StatementOf(layer));
  for (const StoredMount& mount : group.mounts) add(StatementOf(mount));
  for (const DisownedKey& key : group.disowned) add(StatementOf(key));
  return json;
}

Result<Signatures> SignaturesFromJson(const Json& json) {
  Signatures signatures;
  for (const Json& item : json.GetArray("signatures")) {
    auto of = Digest::Parse(item.GetString("of"));
    Signature signature{.key = item.GetString("key"), .value = {}};
    if (!of || signature.key.empty() || !Base64Decode(item.GetString("value"), &signature.value)) {
      return Damaged("a signature that is none");
    }
    signatures[*of].push_back(std::move(signature));
  }
  return signatures;
}

}  // namespace

bool StoredLayer::chunked() const { return blob.media_type == chunk::kListMediaType; }

std::vector<oci::Descriptor> StoredLayer::Blobs() const {
  std::vector<oci::Descriptor> blobs = packs;
  blobs.push_back(blob);
  return blobs;
}

std::string TravellingText(const cache::StepRecord& record) { return cache::EncodeRecord(ForTravel(record)); }

Result<std::string> EncodeGroup(const Group& group) {
  Json records = Json::EmptyArray(), layers = Json::EmptyArray();
  Json trees = Json::EmptyArray(), mounts = Json::EmptyArray();
  for (const cache::StepRecord& record : group.records) {
    records.Append(TravellingText(record));
  }
  for (const StoredLayer& layer : group.layers) layers.Append(LayerJson(layer));
  for (const StoredMount& mount : group.mounts) {
    mounts.Append(LayerJson(mount.tar).Set("key", mount.key).Set("created", FormatTime(mount.created)));
  }
  for (const TreePack& pack : group.trees) {
    Json roots = Json::EmptyArray();
    for (const Digest& root : pack.roots) roots.Append(root.ToString());
    trees.Append(
        Json().Set("digest", pack.blob.digest.ToString()).Set("size", pack.blob.size).Set("roots", std::move(roots)));
  }
  Json json = Json().Set("version", kVersion);
  json.Set("records", std::move(records)).Set("layers", std::move(layers));
  json.Set("trees", std::move(trees));
  json.SetIf(!group.mounts.empty(), "mounts", mounts);
  Json disowned = Json::EmptyArray();
  for (const DisownedKey& key : group.disowned) {
    disowned.Append(Json().Set("weak", key.weak_key.ToString()).Set("why", key.why));
  }
  json.SetIf(!group.disowned.empty(), "disowned", disowned);
  Json signatures = SignaturesJson(group);
  if (!signatures.as_array().empty()) json.Set("signatures", std::move(signatures));
  return Compressed(json.Dump());
}

Result<Group> DecodeGroup(std::string_view packed) {
  auto text = Decompressed(packed);
  if (!text) return Damaged(text.error().message);
  auto json = Json::Parse(*text);
  if (!json) return Damaged(json.error().message);
  if (json->GetInt("version") != kVersion) return Damaged("unknown version");
  Group group;
  for (const Json& record : json->GetArray("records")) {
    if (!record.is_string()) return Damaged("a record that is no string");
    TRY_ASSIGN(auto decoded, cache::DecodeRecord(record.as_string()));
    group.records.push_back(std::move(decoded));
  }
  for (const Json& layer : json->GetArray("layers")) {
    TRY_ASSIGN(auto stored, LayerOf(layer));
    group.layers.push_back(std::move(stored));
  }
  for (const Json& mount : json->GetArray("mounts")) {
    TRY_ASSIGN(auto tar, LayerOf(mount));
    auto created = ParseTime(mount.GetString("created"));
    if (!created || !tar.chunked()) return Damaged("a cache mount that is none");
    group.mounts.push_back({mount.GetString("key"), *created, std::move(tar)});
  }
  for (const Json& disowned : json->GetArray("disowned")) {
    auto weak_key = Digest::Parse(disowned.GetString("weak"));
    if (!weak_key) return Damaged("a disowned key that is none");
    group.disowned.push_back({*weak_key, disowned.GetString("why")});
  }
  for (const Json& pack : json->GetArray("trees")) {
    auto blob = oci::DescriptorFromJson(pack);
    if (!blob) return Damaged("a tree pack without a blob");
    blob->media_type = kTreesMediaType;
    TreePack& added = group.trees.emplace_back(std::move(*blob));
    for (const std::string& root : pack.GetStrings("roots")) {
      auto digest = Digest::Parse(root);
      if (!digest) return Damaged("a tree without a digest");
      added.roots.push_back(*digest);
    }
  }
  TRY_ASSIGN(group.signatures, SignaturesFromJson(*json));
  return group;
}

oci::Manifest ManifestOf(const Group& group, const oci::Descriptor& records) {
  oci::Manifest manifest{.artifact_type = std::string(kRecordsMediaType), .config = records};
  std::set<Digest> seen;
  auto add = [&](oci::Descriptor blob) {
    if (seen.insert(blob.digest).second) manifest.layers.push_back(std::move(blob));
  };
  for (const StoredLayer& layer : group.layers) {
    oci::Descriptor blob = layer.blob;
    if (!layer.chunked()) blob.annotations = {{"containerd.io/uncompressed", layer.layer.ToString()}};
    add(std::move(blob));
    for (const oci::Descriptor& pack : layer.packs) add(pack);
  }
  for (const TreePack& pack : group.trees) add(pack.blob);
  for (const StoredMount& mount : group.mounts) {
    for (oci::Descriptor& blob : mount.tar.Blobs()) add(std::move(blob));
  }
  return manifest;
}

Result<std::string> EncodeTrees(const TreeObjects& objects) {
  std::string text(kPackMagic);
  for (const auto& [digest, object] : objects) {
    for (size_t i = 0; i < kLengthBytes; ++i) {
      text += static_cast<char>(object.size() >> (8 * i) & 0xff);
    }
    text += object;
  }
  return Compressed(text);
}

Result<TreeObjects> DecodeTrees(std::string_view packed) {
  auto text = Decompressed(packed);
  if (!text) return Damaged(text.error().message);
  std::string_view rest = *text;
  if (!rest.starts_with(kPackMagic)) return Damaged("not a tree pack");
  rest.remove_prefix(kPackMagic.size());
  TreeObjects objects;
  while (!rest.empty()) {
    if (rest.size() < kLengthBytes) return Damaged("a tree pack is cut off");
    size_t length = 0;
    for (size_t i = 0; i < kLengthBytes; ++i) {
      length |= static_cast<size_t>(static_cast<unsigned char>(rest[i])) << (8 * i);
    }
    rest.remove_prefix(kLengthBytes);
    if (length > rest.size()) return Damaged("a tree pack is cut off");
    std::string object(rest.substr(0, length));
    rest.remove_prefix(length);
    // Named by what it is, not by what somebody says: a pack cannot put a wrong tree under a digest.
    Digest digest = Digest::Of(object);
    if (!tree::Decode(object)) return Damaged("a tree object does not decode");
    objects.emplace_back(digest, std::move(object));
  }
  return objects;
}

}  // namespace varve::tier
