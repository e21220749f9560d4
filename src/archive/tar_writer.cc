#include "archive/tar.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace varve::archive {

namespace {

constexpr size_t kBlock = 512;
using Block = std::array<char, kBlock>;

bool IsAscii(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c < 0x80 && c != 0; });
}

std::string ToAscii(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && c != 0) out += c;
  }
  return out;
}

void PutString(Block& block, size_t offset, size_t length, std::string_view text) {
  std::memcpy(block.data() + offset, text.data(), std::min(length, text.size()));
  // Readers take a v7 name that ends in a slash for a directory, whatever the pax record says.
  if (text.size() > length && block[offset + length - 1] == '/') {
    size_t end = length - 1;
    while (end > 0 && block[offset + end - 1] == '/') --end;
    block[offset + end] = 0;
  }
}

bool FitsOctal(uint64_t value, size_t length) {
  return value < uint64_t{1} << (3 * (length - 1));
}

void PutOctal(Block& block, size_t offset, size_t length, uint64_t value) {
  if (!FitsOctal(value, length)) value = 0;
  std::string text = fmt::format("{:0{}o}", value, length - 1);
  std::memcpy(block.data() + offset, text.data(), text.size());
}

char TypeFlag(EntryType type) {
  switch (type) {
    case EntryType::kFile: return '0';
    case EntryType::kHardLink: return '1';
    case EntryType::kSymlink: return '2';
    case EntryType::kCharDevice: return '3';
    case EntryType::kBlockDevice: return '4';
    case EntryType::kDirectory: return '5';
    case EntryType::kFifo: return '6';
  }
  return '0';
}

void Seal(Block& block, char type) {
  block[156] = type;
  std::memcpy(block.data() + 257, "ustar\0" "00", 8);
  std::memset(block.data() + 148, ' ', 8);
  uint64_t sum = 0;
  for (unsigned char c : block) sum += c;
  std::string text = fmt::format("{:06o}", sum);
  std::memcpy(block.data() + 148, text.data(), 6);
  block[154] = 0;
}

// "LENGTH KEY=VALUE\n" where LENGTH counts itself.
std::string PaxRecord(const std::string& key, const std::string& value) {
  size_t size = key.size() + value.size() + 3;
  size_t total = size + std::to_string(size).size();
  if (std::to_string(total).size() != std::to_string(size).size()) {
    total = size + std::to_string(total).size();
  }
  return fmt::format("{} {}={}\n", total, key, value);
}

std::string PaxName(const std::string& name) {
  std::string clean = name;
  while (clean.ends_with('/')) clean.pop_back();
  // As Go's path.Split of the name as given: a directory's own name counts as the directory part.
  size_t slash = name.rfind('/');
  std::string out = slash == name.npos ? "PaxHeaders.0/" + name
                                       : name.substr(0, slash) + "/PaxHeaders.0/" + name.substr(slash + 1);
  out = ToAscii(out).substr(0, 100);
  while (out.ends_with('/')) out.pop_back();
  return out;
}

}  // namespace

Status TarWriter::Pad() {
  static constexpr Block kZero{};
  CHECK(left_ == 0);
  Status written = padding_ == 0 ? Ok() : out_.Write({kZero.data(), padding_});
  padding_ = 0;
  return written;
}

Status TarWriter::Add(const TarEntry& entry) {
  TRY(Pad());
  std::map<std::string, std::string> records;
  auto text_record = [&](const char* key, const std::string& text) {
    if (text.size() > 100 || !IsAscii(text)) records[key] = text;
  };
  text_record("path", entry.name);
  text_record("linkpath", entry.link);
  if (!FitsOctal(entry.uid, 8)) records["uid"] = std::to_string(entry.uid);
  if (!FitsOctal(entry.gid, 8)) records["gid"] = std::to_string(entry.gid);
  uint64_t size = entry.type == EntryType::kFile ? entry.size : 0;
  if (!FitsOctal(size, 12)) records["size"] = std::to_string(size);
  int64_t seconds = entry.mtime.seconds();
  if (seconds < 0 || !FitsOctal(static_cast<uint64_t>(seconds), 12)) {
    records["mtime"] = std::to_string(seconds);
  }
  for (const auto& [name, value] : entry.xattrs) records["SCHILY.xattr." + name] = value;
  if (!records.empty()) {
    std::string data;
    for (const auto& [key, value] : records) data += PaxRecord(key, value);
    Block header{};
    PutString(header, 0, 100, PaxName(entry.name));
    PutOctal(header, 100, 8, 0);
    PutOctal(header, 108, 8, 0);
    PutOctal(header, 116, 8, 0);
    PutOctal(header, 124, 12, data.size());
    PutOctal(header, 136, 12, 0);
    Seal(header, 'x');
    data.resize((data.size() + kBlock - 1) / kBlock * kBlock, '\0');
    TRY(out_.Write({header.data(), kBlock}));
    TRY(out_.Write(data));
  }
  Block header{};
  PutString(header, 0, 100, ToAscii(entry.name));
  PutOctal(header, 100, 8, entry.mode);
  PutOctal(header, 108, 8, entry.uid);
  PutOctal(header, 116, 8, entry.gid);
  PutOctal(header, 124, 12, size);
  PutOctal(header, 136, 12, seconds < 0 ? 0 : static_cast<uint64_t>(seconds));
  PutString(header, 157, 100, ToAscii(entry.link));
  PutOctal(header, 329, 8, entry.major);
  PutOctal(header, 337, 8, entry.minor);
  Seal(header, TypeFlag(entry.type));
  TRY(out_.Write({header.data(), kBlock}));
  left_ = size;
  padding_ = (kBlock - size % kBlock) % kBlock;
  return Ok();
}

Status TarWriter::Content(std::string_view data) {
  CHECK(data.size() <= left_);
  left_ -= data.size();
  return out_.Write(data);
}

Status TarWriter::Finish() {
  TRY(Pad());
  static constexpr std::array<char, 2 * kBlock> kEnd{};
  return out_.Write({kEnd.data(), kEnd.size()});
}

}  // namespace varve::archive
