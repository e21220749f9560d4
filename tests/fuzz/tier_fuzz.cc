// What a cache of other people holds: any bytes give an error or a value, and a value that was read is written in a
// form that reads as the same.
//
// The first byte chooses: 'g' the JSON of a record group, whose records get their checksums right here, 't' a tree
// pack before its compression, 'i' the list of groups, 'r' an image's config with inline records, 's' the value of a
// flag, 'k' keys in PEM, 'a' an entry of Bazel's action cache.
#include <cstdint>
#include <string>
#include <string_view>

#include "archive/codec.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"
#include "gha/service_address.h"
#include "oci/image_config.h"
#include "tier/action_result.h"
#include "tier/group.h"
#include "tier/inline_records.h"
#include "tier/signing.h"
#include "tier/spec.h"
#include "tier/storage.h"

namespace {

using namespace varve;        // NOLINT
using namespace varve::tier;  // NOLINT

std::string Packed(std::string_view text) {
  std::string packed;
  StringWriter out;
  auto compressor = archive::MakeCompressor(out, archive::Compression::kZstd, {});
  CHECK(compressor && (*compressor)->Write(text) && (*compressor)->Finish());
  return std::move(out.text);
}

// A record without its checksum, and with one that a mutation could not find.
std::string Sealed(std::string_view record) {
  return fmt::format("{},\"checksum\":\"{}\"}}", record, Digest::Of(record).ToString());
}

void FuzzGroup(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json) return;
  Json records = Json::EmptyArray();
  for (const std::string& record : json->GetStrings("records")) records.Append(Sealed(record));
  json->Set("records", std::move(records));
  auto group = DecodeGroup(Packed(json->Dump()));
  if (!group) {
    CHECK(group.error().code == Code::kCorrupt);
    return;
  }
  auto written = EncodeGroup(*group);
  CHECK(written.has_value());
  auto again = DecodeGroup(*written);
  CHECK(again && EncodeGroup(*again).value() == *written);
  (void)ManifestOf(*group, {}).layers.size();
  for (const auto& record : group->records) (void)SignersOf(group->signatures, StatementOf(record));
}

void FuzzTrees(std::string_view text) {
  auto objects = DecodeTrees(Packed(text));
  if (!objects) return;
  auto again = DecodeTrees(EncodeTrees(*objects).value());
  CHECK(again && *again == *objects);
}

void FuzzGroupIndex(std::string_view text) {
  auto groups = ParseGroupIndex(text);
  if (!groups) return;
  std::string written = SerialiseGroupIndex(*groups);
  auto again = ParseGroupIndex(written);
  CHECK(written.size() > oci::kMaxManifestSize || (again && SerialiseGroupIndex(*again) == written));
  oci::Annotations annotations;
  SetDropped(annotations, DroppedOf({{"dev.varve.cache.dropped", std::string(text)}}));
}

void FuzzInline(std::string_view text) {
  auto config = oci::ImageConfig::Parse(text);
  if (!config) return;
  auto records = GetInlineRecords(*config);
  if (!records) return;
  auto seen = GetSeenSteps(*config);
  CHECK(SetInlineRecords(*config, *records, seen ? *seen : SeenSteps()).has_value());
  CHECK(GetInlineRecords(*config).has_value());
  CHECK(GetSeenSteps(*config).has_value());
}

void FuzzFlag(std::string_view text) {
  (void)ParseCacheFrom(text).has_value();
  (void)ParseImageTrust(text).has_value();
  if (auto specs = ParseCacheTo(text)) (void)CheckExports(*specs).has_value();
  if (auto spec = ParseTier(text)) CHECK(!spec->Name().empty());
  for (const gha::TokenScope& scope : gha::ReadToken(text).scopes) (void)scope.ref.size();
}

void FuzzKeys(std::string_view pem) {
  if (auto keys = VerifyKeys::Parse(pem)) CHECK(!keys->Signed({}, Digest::Of(pem)));
  if (auto key = SigningKey::Parse(pem)) {
    auto again = SigningKey::Parse(key->PrivatePem().value());
    CHECK(again && again->name() == key->name());
  }
}

void FuzzActionResult(std::string_view entry) {
  auto text = TextOfActionResult(entry);
  if (!text) CHECK(text.error().code == Code::kInvalid);
  else CHECK(TextOfActionResult(AsActionResult(*text)).value() == *text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'g':
      FuzzGroup(input);
      break;
    case 't':
      FuzzTrees(input);
      break;
    case 'i':
      FuzzGroupIndex(input);
      break;
    case 'r':
      FuzzInline(input);
      break;
    case 's':
      FuzzFlag(input);
      break;
    case 'k':
      FuzzKeys(input);
      break;
    case 'a':
      FuzzActionResult(input);
      break;
    default:
      break;
  }
  return 0;
}
