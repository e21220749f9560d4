#include <algorithm>
#include <cstring>

#include "archive/tar.h"
#include "archive/tar_format.h"

namespace varve::archive {

namespace {

constexpr size_t kNameSize = 100;
constexpr size_t kPrefixSize = 155;

std::string ToAscii(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && c != 0) out += c;
  }
  return out;
}

void PutString(TarBlock& block, size_t offset, size_t length, std::string_view text) {
  std::memcpy(block.data() + offset, text.data(), std::min(length, text.size()));
  // Readers take a v7 name that ends in a slash for a directory, whatever the pax record says.
  if (text.size() > length && block[offset + length - 1] == '/') {
    size_t end = length - 1;
    while (end > 0 && block[offset + end - 1] == '/') --end;
    block[offset + end] = 0;
  }
}

bool FitsOctal(uint64_t value, size_t length) { return value < uint64_t{1} << (3 * (length - 1)); }

void PutOctal(TarBlock& block, size_t offset, size_t length, uint64_t value) {
  if (!FitsOctal(value, length)) value = 0;
  block[offset + length - 1] = 0;
  for (size_t i = length - 1; i-- > 0; value >>= 3) {
    block[offset + i] = static_cast<char>('0' + (value & 7));
  }
}

char TypeFlag(EntryType type) {
  switch (type) {
    case EntryType::kFile:
      return '0';
    case EntryType::kHardLink:
      return '1';
    case EntryType::kSymlink:
      return '2';
    case EntryType::kCharDevice:
      return '3';
    case EntryType::kBlockDevice:
      return '4';
    case EntryType::kDirectory:
      return '5';
    case EntryType::kFifo:
      return '6';
  }
  return '0';
}

void Seal(TarBlock& block, char type) {
  block[156] = type;
  std::memcpy(block.data() + 257,
              "ustar\0"
              "00",
              8);
  std::memset(block.data() + 148, ' ', 8);
  uint64_t sum = 0;
  for (unsigned char c : block) sum += c;
  PutOctal(block, 148, 7, sum);
}

// The name of a pax header: Go's path.Join(dir, "PaxHeaders.0", file) of path.Split(name), so a
// directory, whose name ends in a slash, counts as the directory part itself.
std::string PaxName(const std::string& name) {
  size_t slash = name.rfind('/');
  std::string out =
      slash == name.npos ? "PaxHeaders.0/" + name : name.substr(0, slash) + "/PaxHeaders.0/" + name.substr(slash + 1);
  out = ToAscii(out).substr(0, kNameSize);
  while (out.ends_with('/')) out.pop_back();
  return out;
}

// Where Go splits a long name into ustar's prefix and name; npos when it cannot be.
size_t UstarSplit(const std::string& name) {
  size_t length = name.size();
  if (length <= kNameSize || !IsPlainAscii(name)) return name.npos;
  if (length > kPrefixSize + 1) {
    length = kPrefixSize + 1;
  } else if (name.ends_with('/')) {
    --length;
  }
  size_t slash = std::string_view(name).substr(0, length).rfind('/');
  if (slash == name.npos || slash == 0 || slash > kPrefixSize) return name.npos;
  size_t rest = name.size() - slash - 1;
  return rest == 0 || rest > kNameSize ? name.npos : slash;
}

PaxRecords RecordsFor(const TarEntry& entry, uint64_t size) {
  PaxRecords records;
  auto text_record = [&](const char* key, const std::string& text) {
    if (text.size() > kNameSize || !IsPlainAscii(text)) records[key] = text;
  };
  text_record("path", entry.name);
  text_record("linkpath", entry.link);
  if (!FitsOctal(entry.uid, 8)) records["uid"] = std::to_string(entry.uid);
  if (!FitsOctal(entry.gid, 8)) records["gid"] = std::to_string(entry.gid);
  if (!FitsOctal(size, 12)) records["size"] = std::to_string(size);
  int64_t seconds = entry.mtime.seconds();
  if (seconds < 0 || !FitsOctal(static_cast<uint64_t>(seconds), 12)) {
    records["mtime"] = std::to_string(seconds);
  }
  for (const auto& [name, value] : entry.xattrs) records["SCHILY.xattr." + name] = value;
  return records;
}

void AppendPaxHeader(std::string& out, const std::string& name, const PaxRecords& records) {
  std::string data;
  for (const auto& [key, value] : records) data += PaxRecord(key, value);
  TarBlock header{};
  PutString(header, 0, kNameSize, PaxName(name));
  PutOctal(header, 100, 8, 0);
  PutOctal(header, 108, 8, 0);
  PutOctal(header, 116, 8, 0);
  PutOctal(header, 124, 12, data.size());
  PutOctal(header, 136, 12, 0);
  Seal(header, 'x');
  data.resize((data.size() + kTarBlock - 1) / kTarBlock * kTarBlock, '\0');
  out.append(header.data(), kTarBlock).append(data);
}

}  // namespace

std::string EncodeTarHeader(const TarEntry& entry, LongNames names) {
  std::string out;
  uint64_t size = entry.type == EntryType::kFile ? entry.size : 0;
  PaxRecords records = RecordsFor(entry, size);
  std::string name = entry.name, prefix;
  if (names == LongNames::kUstarIfFits && records.size() == 1 && records.contains("path")) {
    size_t split = UstarSplit(name);
    if (split != name.npos) {
      prefix = name.substr(0, split);
      name = name.substr(split + 1);
      records.clear();
    }
  }
  if (!records.empty()) AppendPaxHeader(out, entry.name, records);
  int64_t seconds = entry.mtime.seconds();
  TarBlock header{};
  PutString(header, 0, kNameSize, ToAscii(name));
  PutOctal(header, 100, 8, entry.mode);
  PutOctal(header, 108, 8, entry.uid);
  PutOctal(header, 116, 8, entry.gid);
  PutOctal(header, 124, 12, size);
  PutOctal(header, 136, 12, seconds < 0 ? 0 : static_cast<uint64_t>(seconds));
  PutString(header, 157, kNameSize, ToAscii(entry.link));
  PutOctal(header, 329, 8, entry.major);
  PutOctal(header, 337, 8, entry.minor);
  PutString(header, 345, kPrefixSize, prefix);
  Seal(header, TypeFlag(entry.type));
  return out.append(header.data(), kTarBlock);
}

Status TarWriter::Pad() {
  static constexpr TarBlock kZero{};
  CHECK(left_ == 0);
  Status written = padding_ == 0 ? Ok() : out_.Write({kZero.data(), padding_});
  padding_ = 0;
  return written;
}

Status TarWriter::Add(const TarEntry& entry, LongNames names) {
  TRY(Pad());
  // Go would write a zero and the archive would lie; no file system gives such numbers.
  if (!FitsOctal(entry.major, 8) || !FitsOctal(entry.minor, 8)) {
    return Invalid("device {} has the numbers {}:{}, which a tar cannot say", entry.name, entry.major, entry.minor);
  }
  TRY(out_.Write(EncodeTarHeader(entry, names)));
  left_ = entry.type == EntryType::kFile ? entry.size : 0;
  padding_ = (kTarBlock - left_ % kTarBlock) % kTarBlock;
  return Ok();
}

Status TarWriter::Content(std::string_view data) {
  CHECK(data.size() <= left_);
  left_ -= data.size();
  return out_.Write(data);
}

Status TarWriter::Finish() {
  TRY(Pad());
  static constexpr std::array<char, kEmptyTarSize> kEnd{};
  return out_.Write({kEnd.data(), kEnd.size()});
}

}  // namespace varve::archive
