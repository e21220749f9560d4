// Every byte that a tier leaves in other people's places, but for the compression around it, whose bytes
// are the library's. VARVE_ACCEPT=1 rewrites the files.
#include <gtest/gtest.h>

#include <cstdlib>

#include "archive/codec.h"
#include "base/fd.h"
#include "chunk/chunk_list.h"
#include "tier/group.h"
#include "tier/storage.h"
#include "tree/tree.h"

namespace varve::tier {
namespace {

void ExpectGolden(const std::string& name, const std::string& text) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/tier/" + name;
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

std::string Unpacked(const std::string& packed) {
  StringReader in(packed);
  auto out = archive::MakeDecompressor(in);
  EXPECT_TRUE(out);
  return out ? *ReadAll(**out, 1 << 20) : "";
}

oci::Descriptor Some(std::string_view type, std::string_view text) {
  return {.media_type = std::string(type), .digest = Digest::Of(text), .size = text.size()};
}

Group TheGroup() {
  cache::StepRecord record;
  record.preimage = R"({"op":"run","argv":["make"]})";
  record.key = StepKey(Digest::Of(record.preimage));
  record.outputs = {{{DiffId(Digest::Of("base")), DiffId(Digest::Of("layer"))}, Digest::Of("tree")}};
  record.slot = "/src|Dockerfile|build|linux/amd64|2";
  record.op_digest = Digest::Of("op");
  record.name = "[build 2/2] RUN make";
  record.created = Timestamp{1'700'000'000'000'000'000};
  record.wall = Nanos(41'000'000'000);
  record.new_bytes = 12345;
  record.log = "stays at home";
  return {.records = {record},
          .layers = {{DiffId(Digest::Of("layer")), Some(oci::kOciLayerZstd, "layer blob")}},
          .trees = {{Some(kTreesMediaType, "pack"), {Digest::Of("tree")}}}};
}

TEST(TierGolden, Records) { ExpectGolden("records.json", Unpacked(*EncodeGroup(TheGroup()))); }

TEST(TierGolden, RecordsOfChunks) {
  Group group = TheGroup();
  group.layers[0].blob = Some(chunk::kListMediaType, "list");
  group.layers[0].tar_size = 1'000'000;
  group.layers[0].packs = {Some(chunk::kPackMediaType, "pack 1"), Some(chunk::kPackMediaType, "pack 2")};
  group.mounts = {{"/root/.npm", Timestamp{1'700'000'001'000'000'000}, group.layers[0]}};
  std::string packed = *EncodeGroup(group);
  ExpectGolden("chunked_records.json", Unpacked(packed));
  auto read = DecodeGroup(packed);
  ASSERT_TRUE(read && read->mounts.size() == 1 && read->layers.size() == 1);
  EXPECT_EQ(read->mounts[0].key, group.mounts[0].key);
  EXPECT_EQ(read->mounts[0].created, group.mounts[0].created);
  EXPECT_EQ(read->mounts[0].tar.packs, group.layers[0].packs);
  EXPECT_EQ(read->layers[0].tar_size, 1'000'000u);
  ExpectGolden("chunked_manifest.json", oci::Serialise(ManifestOf(group, Some(kRecordsMediaType, "records"))));
}

// Made for this test; ed25519 has no randomness, so the signatures are always these.
constexpr const char* kTestKey =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIM5sbMBbhYcJu3GEWm9jGdTpjkSlIstRj4/mawvU3+5O\n"
    "-----END PRIVATE KEY-----\n";

TEST(TierGolden, SignedRecords) {
  auto key = SigningKey::Parse(kTestKey);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->name(), "523449ecc6249158");
  Group group = TheGroup();
  ASSERT_TRUE(SignGroup(group, *key));
  auto encoded = EncodeGroup(group);
  ExpectGolden("signed_records.json", Unpacked(*encoded));
  auto decoded = DecodeGroup(*encoded);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->signatures, group.signatures);
  VerifyKeys keys = key->verify_keys();
  EXPECT_TRUE(keys.Signed(decoded->signatures, StatementOf(decoded->records[0])));
  EXPECT_TRUE(keys.Signed(decoded->signatures, StatementOf(decoded->layers[0])));
}

TEST(TierGolden, ManifestAndIndex) {
  oci::Descriptor records = Some(kRecordsMediaType, "records");
  std::string manifest = oci::Serialise(ManifestOf(TheGroup(), records));
  ExpectGolden("manifest.json", manifest);
  GroupEntry entry{.manifest = Some(oci::kOciManifest, manifest), .records = records};
  entry.manifest.artifact_type = kRecordsMediaType;
  std::string index = SerialiseGroupIndex({entry});
  ExpectGolden("index.json", index);
  auto read = ParseGroupIndex(index);
  ASSERT_TRUE(read && read->size() == 1);
  EXPECT_EQ((*read)[0].records, records);
  EXPECT_EQ((*read)[0].manifest.digest, entry.manifest.digest);
}

TEST(TierGolden, TreePack) {
  auto pack = EncodeTrees({{tree::EmptyTree(), tree::Encode({})}});
  ExpectGolden("trees.bin", Unpacked(*pack));
}

}  // namespace
}  // namespace varve::tier
