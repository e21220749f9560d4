#include "dockerfile/duration.h"

#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

constexpr uint64_t kMax = uint64_t{1} << 63;  // magnitude of the smallest int64

uint64_t UnitOf(std::string_view unit) {
  if (unit == "ns") return 1;
  if (unit == "us" || unit == "\u00b5s" || unit == "\u03bcs") return 1'000;
  if (unit == "ms") return 1'000'000;
  if (unit == "s") return 1'000'000'000;
  if (unit == "m") return 60ull * 1'000'000'000;
  if (unit == "h") return 3600ull * 1'000'000'000;
  return 0;
}

bool IsAsciiDigit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

Result<std::chrono::nanoseconds> ParseDuration(std::string_view text) {
  auto bad = [&] { return Invalid("time: invalid duration {}", Quote(text)); };
  std::string_view rest = text;
  bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return bad();
  uint64_t total = 0;
  while (!rest.empty()) {
    uint64_t whole = 0;
    bool digits = false;
    while (!rest.empty() && IsAsciiDigit(rest[0])) {
      if (whole > kMax / 10) return bad();
      whole = whole * 10 + static_cast<uint64_t>(rest[0] - '0');
      if (whole > kMax) return bad();
      digits = true;
      rest.remove_prefix(1);
    }
    double fraction = 0, scale = 1;
    if (rest.starts_with('.')) {
      rest.remove_prefix(1);
      while (!rest.empty() && IsAsciiDigit(rest[0])) {
        if (scale < 1e17) {  // what follows is below a nanosecond of the largest unit
          fraction = fraction * 10 + (rest[0] - '0');
          scale *= 10;
        }
        digits = true;
        rest.remove_prefix(1);
      }
    }
    if (!digits) return bad();
    size_t length = 0;
    while (length < rest.size() && rest[length] != '.' && !IsAsciiDigit(rest[length])) ++length;
    if (length == 0) return Invalid("time: missing unit in duration {}", Quote(text));
    uint64_t unit = UnitOf(rest.substr(0, length));
    if (unit == 0) {
      return Invalid("time: unknown unit {} in duration {}", Quote(rest.substr(0, length)), Quote(text));
    }
    rest.remove_prefix(length);
    if (whole > kMax / unit) return bad();
    uint64_t part = whole * unit + static_cast<uint64_t>(fraction * (static_cast<double>(unit) / scale));
    if (part > kMax || total > kMax - part) return bad();
    total += part;
  }
  if (!negative && total > kMax - 1) return bad();
  return std::chrono::nanoseconds(negative ? static_cast<int64_t>(~total + 1) : static_cast<int64_t>(total));
}

}  // namespace varve::dockerfile
