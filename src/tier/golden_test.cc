// Every byte that a tier leaves in other people's places, but for the compression around it, whose bytes
// are the library's. VARVE_ACCEPT=1 rewrites the files.
#include <gtest/gtest.h>

#include <cstdlib>

#include "archive/codec.h"
#include "base/fd.h"
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
