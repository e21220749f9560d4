#include "archive/tar_format.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/strings.h"

namespace varve::archive {

std::string_view CString(std::string_view field) { return field.substr(0, field.find('\0')); }

bool IsPlainAscii(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c < 0x80 && c != 0; });
}

namespace {

// Two's complement, big-endian; the first bit only marks the encoding.
Result<int64_t> ParseBase256(std::string_view field) {
  const unsigned char invert = field[0] & 0x40 ? 0xff : 0;
  uint64_t value = 0;
  for (size_t i = 0; i < field.size(); ++i) {
    unsigned char byte = static_cast<unsigned char>(field[i]) ^ invert;
    if (i == 0) byte &= 0x7f;
    if (value >> 56 != 0) return Corrupt("tar: number is too large");
    value = value << 8 | byte;
  }
  if (value >> 63 != 0) return Corrupt("tar: number is too large");
  return invert ? ~static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

}  // namespace

Result<int64_t> ParseTarNumber(std::string_view field) {
  if (static_cast<unsigned char>(field[0]) & 0x80) return ParseBase256(field);
  auto is_filler = [](char c) { return c == ' ' || c == '\0'; };
  while (!field.empty() && is_filler(field.front())) field.remove_prefix(1);
  while (!field.empty() && is_filler(field.back())) field.remove_suffix(1);
  field = CString(field);
  if (field.empty()) return 0;
  int64_t value = 0;
  auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value, 8);
  if (error != std::errc() || end != field.data() + field.size() || value < 0) {
    return Corrupt("tar: a header field is no octal number");
  }
  return value;
}

bool IsZero(const TarBlock& block) {
  return std::ranges::all_of(block, [](char c) { return c == 0; });
}

Result<TarFormat> CheckHeader(const TarBlock& block) {
  TRY_ASSIGN(int64_t stored, ParseTarNumber(Field(block, 148, 8)));
  int64_t plain = 0, with_sign = 0;
  for (size_t i = 0; i < kTarBlock; ++i) {
    char c = i >= 148 && i < 156 ? ' ' : block[i];
    plain += static_cast<unsigned char>(c);
    with_sign += static_cast<signed char>(c);
  }
  if (stored != plain && stored != with_sign) {
    return Corrupt("tar: header checksum is wrong: damaged, or not a tar archive");
  }
  std::string_view magic = Field(block, 257, 6), version = Field(block, 263, 2);
  if (magic == std::string_view("ustar\0", 6)) {
    return Field(block, 508, 4) == std::string_view("tar\0", 4) ? TarFormat::kStar : TarFormat::kUstar;
  }
  if (magic == "ustar " && version == std::string_view(" \0", 2)) return TarFormat::kGnu;
  return TarFormat::kV7;
}

std::string PaxRecord(const std::string& key, const std::string& value) {
  size_t body = key.size() + value.size() + 3;
  size_t total = body + std::to_string(body).size();
  if (std::to_string(total).size() != std::to_string(body).size()) {
    total = body + std::to_string(total).size();
  }
  return fmt::format("{} {}={}\n", total, key, value);
}

Status ParsePaxRecords(std::string_view data, PaxRecords& into) {
  std::string sparse;
  bool expect_offset = true;
  while (!data.empty()) {
    size_t space = data.find(' ');
    size_t length = 0;
    const char* digits_end = data.data() + std::min(space, data.size());
    auto [end, error] = std::from_chars(data.data(), digits_end, length);
    if (space == data.npos || error != std::errc() || end != digits_end || length > data.size() || length < space + 3 ||
        data[length - 1] != '\n') {
      return Corrupt("tar: damaged pax record");
    }
    std::string_view record = data.substr(space + 1, length - space - 2);
    data.remove_prefix(length);
    size_t equals = record.find('=');
    if (equals == record.npos || equals == 0) return Corrupt("tar: pax record without a key");
    std::string key(record.substr(0, equals));
    std::string_view value = record.substr(equals + 1);
    bool text = key == "path" || key == "linkpath" || key == "uname" || key == "gname";
    if (key.find('\0') != key.npos || (text && value.find('\0') != value.npos)) {
      return Corrupt("tar: pax record has a NUL byte");
    }
    if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      // Strictly in turns: the first of a pair is the offset.
      if (expect_offset != (key == "GNU.sparse.offset") || value.find(',') != value.npos) {
        return Corrupt("tar: damaged sparse map");
      }
      sparse.append(value).push_back(',');
      expect_offset = !expect_offset;
    } else {
      into[key] = value;
    }
  }
  if (!sparse.empty()) {
    sparse.pop_back();
    into["GNU.sparse.map"] = sparse;
  }
  return Ok();
}

Timestamp ClampSeconds(int64_t seconds, int64_t nanos) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1'000'000'000 - 1;
  return {std::clamp(seconds, -kMost, kMost) * 1'000'000'000 + nanos};
}

Result<Timestamp> ParsePaxTime(std::string_view text) {
  size_t dot = text.find('.');
  auto seconds = ParseInt(text.substr(0, dot));
  if (text.substr(0, dot) == "-0") seconds = 0;
  if (!seconds) return Corrupt("tar: damaged pax time");
  int64_t nanos = 0;
  if (dot != text.npos) {
    std::string digits(text.substr(dot + 1, 9));
    if (!std::ranges::all_of(text.substr(dot + 1), [](char c) { return c >= '0' && c <= '9'; })) {
      return Corrupt("tar: damaged pax time");
    }
    digits.resize(9, '0');
    nanos = ParseInt(digits).value_or(0);
  }
  return ClampSeconds(*seconds, text.starts_with('-') ? -nanos : nanos);
}

Result<uint64_t> ParseDecimal(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value > uint64_t{1} << 62) {
    return Corrupt("tar: a pax record is no decimal number");
  }
  return value;
}

Status CheckSparseMap(const std::vector<SparseSegment>& map, uint64_t size, uint64_t stored) {
  uint64_t end = 0, sum = 0;
  for (const SparseSegment& segment : map) {
    if (segment.offset < end || segment.length > size || segment.offset > size - segment.length) {
      return Corrupt("tar: sparse map is not sorted or exceeds the file");
    }
    end = segment.offset + segment.length;
    sum += segment.length;
  }
  if (sum != stored) return Corrupt("tar: sparse map does not fit the stored data");
  return Ok();
}

Result<std::vector<SparseSegment>> ParseSparseMap01(const PaxRecords& records) {
  std::vector<SparseSegment> map;
  auto text = records.find("GNU.sparse.map");
  auto count = records.find("GNU.sparse.numblocks");
  if (text != records.end() && !text->second.empty()) {
    std::vector<std::string> numbers = Split(text->second, ',');
    if (numbers.size() % 2 != 0) return Corrupt("tar: damaged sparse map");
    for (size_t i = 0; i < numbers.size(); i += 2) {
      TRY_ASSIGN(uint64_t offset, ParseDecimal(numbers[i]));
      TRY_ASSIGN(uint64_t length, ParseDecimal(numbers[i + 1]));
      map.push_back({offset, length});
    }
  }
  if (count != records.end()) {
    TRY_ASSIGN(uint64_t expected, ParseDecimal(count->second));
    if (expected != map.size()) return Corrupt("tar: damaged sparse map");
  }
  return map;
}

}  // namespace varve::archive
