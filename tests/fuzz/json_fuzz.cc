// JSON and what varve reads from it out of its state root: any bytes give an error or a value, and a
// value is written in a form that reads as the same.
//
// The first byte chooses: 'j' any document, 'r' the body of a step record, whose checksum is made
// right here, since no mutation finds one.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"
#include "cache/step_record.h"

namespace {

using namespace varve;  // NOLINT

void FuzzDocument(std::string_view text) {
  auto json = Json::Parse(text);
  if (!json) {
    CHECK(!json.error().message.empty());
    return;
  }
  std::string canonical = json->DumpCanonical();
  auto again = Json::Parse(canonical);
  CHECK(again && again->DumpCanonical() == canonical);
  CHECK(Json::Parse(json->Dump({.indent = 2})).has_value());
}

void FuzzRecord(std::string_view object) {
  std::string text(object);
  text += fmt::format(",\"checksum\":\"{}\"}}", Digest::Of(object).ToString());
  auto record = cache::DecodeRecord(text);
  if (!record) {
    CHECK(record.error().code == Code::kCorrupt);
    return;
  }
  std::string written = cache::EncodeRecord(*record);
  auto again = cache::DecodeRecord(written);
  CHECK(again && cache::EncodeRecord(*again) == written);
  cache::RecordParts parts = cache::SplitRecord(*record);
  auto joined = cache::JoinRecord(parts.body, parts.preimage, parts.log);
  CHECK(joined && cache::EncodeRecord(*joined) == written);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'j') FuzzDocument(input);
  if (data[0] == 'r') FuzzRecord(input);
  return 0;
}
