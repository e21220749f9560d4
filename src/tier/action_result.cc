#include "tier/action_result.h"

#include <cstdint>
#include <optional>

namespace varve::tier {

namespace {

// https://protobuf.dev/programming-guides/encoding: a tag is the field's number and, in three bits, its wire type.
enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr uint64_t kStdoutRaw = 5;

void AppendVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

std::optional<uint64_t> TakeVarint(std::string_view& in) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64 && !in.empty(); shift += 7) {
    const uint64_t byte = static_cast<unsigned char>(in.front());
    in.remove_prefix(1);
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> Take(std::string_view& in, uint64_t size) {
  if (size > in.size()) return std::nullopt;
  std::string_view taken = in.substr(0, size);
  in.remove_prefix(size);
  return taken;
}

// The bytes of the field after its tag.
std::optional<std::string_view> TakeField(std::string_view& in, uint64_t wire_type) {
  const std::string_view from = in;
  switch (wire_type) {
    case kVarint:
      if (!TakeVarint(in)) return std::nullopt;
      return from.substr(0, from.size() - in.size());
    case kFixed64: return Take(in, 8);
    case kFixed32: return Take(in, 4);
    case kBytes:
      if (auto size = TakeVarint(in)) return Take(in, *size);
      return std::nullopt;
    default: return std::nullopt;  // groups, which proto3 does not have
  }
}

}  // namespace

std::string AsActionResult(std::string_view text) {
  std::string entry;
  AppendVarint(entry, kStdoutRaw << 3 | kBytes);
  AppendVarint(entry, text.size());
  entry += text;
  return entry;
}

Result<std::string> TextOfActionResult(std::string_view entry) {
  std::optional<std::string_view> text;
  while (!entry.empty()) {
    auto tag = TakeVarint(entry);
    auto field = tag ? TakeField(entry, *tag & 7) : std::nullopt;
    if (!field) return Invalid("an entry of the action cache is no ActionResult");
    if (*tag == (kStdoutRaw << 3 | kBytes)) text = field;
  }
  if (!text) return Invalid("an entry of the action cache has no standard output");
  return std::string(*text);
}

}  // namespace varve::tier
