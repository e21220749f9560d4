#include "tier/action_result.h"

#include <optional>

#include "base/wire.h"

namespace varve::tier {

namespace {

// https://protobuf.dev/programming-guides/encoding: a tag is the field's number and, in three bits, its wire type.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr uint64_t kStdoutRaw = 5 << 3 | kBytes;

// Nothing is kept of a field that is not counted bytes.
bool TakeField(Cursor& in, uint64_t wire_type, std::string_view* bytes) {
  uint64_t number;
  switch (wire_type) {
    case kVarint:
      return in.Varint(&number);
    case kFixed64:
      return in.Raw(8, bytes);
    case kFixed32:
      return in.Raw(4, bytes);
    case kBytes:
      return in.Bytes(bytes);
    default:
      return false;  // groups, which proto3 does not have
  }
}

}  // namespace

std::string AsActionResult(std::string_view text) {
  std::string entry;
  PutVarint(entry, kStdoutRaw);
  PutBytes(entry, text);
  return entry;
}

Result<std::string> TextOfActionResult(std::string_view entry) {
  std::optional<std::string_view> text;
  Cursor in(entry);
  while (!in.AtEnd()) {
    uint64_t tag;
    std::string_view field;
    if (!in.Varint(&tag) || !TakeField(in, tag & 7, &field)) {
      return Invalid("an entry of the action cache is no ActionResult");
    }
    if (tag == kStdoutRaw) text = field;
  }
  if (!text) return Invalid("an entry of the action cache has no standard output");
  return std::string(*text);
}

}  // namespace varve::tier
