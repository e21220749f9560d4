#include "tree/stat_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/fd.h"

namespace varve::tree {

namespace {

static_assert(std::endian::native == std::endian::little,
              "the stat cache is read in place; a big-endian port would swap on access");

constexpr std::string_view kMagic = "varvesc1";

struct Header {
  char magic[8];
  uint32_t directories;
  uint32_t paths_size;
  uint64_t paths_offset;
  uint64_t checksum;
};
struct DirectoryRow {
  uint64_t block_offset;
  uint64_t checksum;
  uint32_t block_size;
  uint32_t path_offset;
  uint32_t path_size;
  uint32_t zero;
};
struct BlockHeader {
  uint32_t files;
  uint32_t names_size;
};
struct FileRecord {
  uint64_t size;
  int64_t mtime;
  int64_t ctime;
  uint64_t inode;
  uint32_t mode;
  uint32_t name_offset;
  uint32_t name_size;
  uint32_t zero;
  char digest[Digest::kSize];
};
static_assert(sizeof(Header) == 32 && sizeof(DirectoryRow) == 32 && sizeof(FileRecord) == 80);

uint64_t Checksum(std::string_view bytes) {
  Digest digest = Digest::Of(bytes);
  uint64_t out;
  std::memcpy(&out, digest.raw().data(), sizeof(out));
  return out;
}

template <class T>
T Load(const char* at) {
  T out;
  std::memcpy(&out, at, sizeof(T));
  return out;
}

template <class T>
void Append(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

}  // namespace

bool IsSettled(const FileStamp& stamp, int64_t hashed_at, int64_t grain) {
  return std::max(stamp.mtime, stamp.ctime) < hashed_at - grain;
}

StatBlockView StatBlockView::Parse(std::string_view bytes) {
  if (bytes.size() < sizeof(BlockHeader)) return {};
  auto header = Load<BlockHeader>(bytes.data());
  uint64_t needed = sizeof(BlockHeader) + uint64_t{header.files} * sizeof(FileRecord);
  if (needed + header.names_size > bytes.size()) return {};
  for (size_t i = 0; i < header.files; ++i) {
    auto record = Load<FileRecord>(bytes.data() + sizeof(BlockHeader) + i * sizeof(FileRecord));
    if (uint64_t{record.name_offset} + record.name_size > header.names_size) return {};
  }
  StatBlockView view;
  view.bytes_ = bytes;
  view.count_ = header.files;
  return view;
}

std::string_view StatBlockView::name(size_t i) const {
  auto record = Load<FileRecord>(bytes_.data() + sizeof(BlockHeader) + i * sizeof(FileRecord));
  return bytes_.substr(sizeof(BlockHeader) + count_ * sizeof(FileRecord) + record.name_offset, record.name_size);
}

FileStamp StatBlockView::stamp(size_t i) const {
  auto record = Load<FileRecord>(bytes_.data() + sizeof(BlockHeader) + i * sizeof(FileRecord));
  return {record.size, record.mtime, record.ctime, record.inode, record.mode};
}

Digest StatBlockView::digest(size_t i) const {
  const char* record = bytes_.data() + sizeof(BlockHeader) + i * sizeof(FileRecord);
  return Digest::FromBytes({record + offsetof(FileRecord, digest), Digest::kSize});
}

void StatBlock::Add(std::string_view name, const FileStamp& stamp, const Digest& digest) {
  FileRecord record{};
  record.size = stamp.size;
  record.mtime = stamp.mtime;
  record.ctime = stamp.ctime;
  record.inode = stamp.inode;
  record.mode = stamp.mode;
  record.name_offset = static_cast<uint32_t>(names_.size());
  record.name_size = static_cast<uint32_t>(name.size());
  std::memcpy(record.digest, digest.raw().data(), Digest::kSize);
  Append(records_, record);
  names_.append(name);
  ++count_;
}

std::string StatBlock::Finish() {
  std::string out;
  out.reserve(sizeof(BlockHeader) + records_.size() + names_.size() + 8);
  Append(out, BlockHeader{count_, static_cast<uint32_t>(names_.size())});
  out.append(records_).append(names_);
  out.resize((out.size() + 7) / 8 * 8);
  records_.clear();
  names_.clear();
  count_ = 0;
  return out;
}

struct StatCache::Mapping {
  explicit Mapping(std::string_view mapped) : bytes(mapped) {}
  ~Mapping() { munmap(const_cast<char*>(bytes.data()), bytes.size()); }

  std::string_view bytes;
  Header header;

  DirectoryRow Row(size_t i) const {
    return Load<DirectoryRow>(bytes.data() + header.paths_offset + header.paths_size + i * sizeof(DirectoryRow));
  }
  std::string_view Path(const DirectoryRow& row) const {
    return bytes.substr(header.paths_offset + row.path_offset, row.path_size);
  }

  bool Valid() {
    if (bytes.size() < sizeof(Header)) return false;
    header = Load<Header>(bytes.data());
    if (std::string_view(header.magic, sizeof(header.magic)) != kMagic) return false;
    uint64_t table = uint64_t{header.directories} * sizeof(DirectoryRow);
    if (header.paths_offset < sizeof(Header) || header.paths_offset > bytes.size() ||
        bytes.size() - header.paths_offset != header.paths_size + table ||
        Checksum(bytes.substr(header.paths_offset)) != header.checksum) {
      return false;
    }
    std::string_view previous;
    for (size_t i = 0; i < header.directories; ++i) {
      DirectoryRow row = Row(i);
      if (uint64_t{row.path_offset} + row.path_size > header.paths_size || row.block_offset > header.paths_offset ||
          row.block_size > header.paths_offset - row.block_offset || (i > 0 && Path(row) <= previous)) {
        return false;
      }
      previous = Path(row);
    }
    return true;
  }
};

StatCache::StatCache() = default;
StatCache::~StatCache() = default;
StatCache::StatCache(StatCache&&) noexcept = default;
StatCache& StatCache::operator=(StatCache&&) noexcept = default;

StatCache StatCache::Open(const std::string& file) {
  StatCache cache;
  auto fd = OpenFile(file, O_RDONLY);
  struct stat st;
  if (!fd || fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) return cache;
  auto size = static_cast<size_t>(st.st_size);
  // Writers replace the file and never change it in place, so the mapping keeps its content.
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd->get(), 0);
  if (mapped == MAP_FAILED) return cache;
  auto mapping = std::make_unique<Mapping>(std::string_view(static_cast<const char*>(mapped), size));
  if (mapping->Valid()) cache.mapping_ = std::move(mapping);
  return cache;
}

size_t StatCache::directories() const { return mapping_ ? mapping_->header.directories : 0; }

std::string_view StatCache::path(size_t i) const { return mapping_->Path(mapping_->Row(i)); }

StatBlockView StatCache::block(size_t i) const {
  DirectoryRow row = mapping_->Row(i);
  std::string_view bytes = mapping_->bytes.substr(row.block_offset, row.block_size);
  if (Checksum(bytes) != row.checksum) return {};
  return StatBlockView::Parse(bytes);
}

StatBlockView StatCache::Find(std::string_view directory) const {
  size_t low = 0, high = directories();
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (path(middle) < directory) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == directories() || path(low) != directory) return {};
  return block(low);
}

Status WriteStatCache(const std::string& file,
                      const std::vector<std::pair<std::string_view, std::string_view>>& directories) {
  // The blocks are written from where they are: 14 MB of 100,000 files, when a first build holds the most.
  std::vector<std::string_view> pieces(1);  // the header, which is made last
  pieces.reserve(directories.size() + 3);
  uint64_t offset = sizeof(Header);
  std::string paths, table;
  for (const auto& [path, block] : directories) {
    DirectoryRow row{};
    row.block_offset = offset;
    row.block_size = static_cast<uint32_t>(block.size());
    row.checksum = Checksum(block);
    row.path_offset = static_cast<uint32_t>(paths.size());
    row.path_size = static_cast<uint32_t>(path.size());
    Append(table, row);
    paths.append(path);
    pieces.push_back(block);
    offset += block.size();
  }
  Header header{};
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  header.directories = static_cast<uint32_t>(directories.size());
  header.paths_size = static_cast<uint32_t>(paths.size());
  header.paths_offset = offset;
  const std::string tail = paths + table;
  header.checksum = Checksum(tail);
  pieces.front() = std::string_view(reinterpret_cast<const char*>(&header), sizeof(header));
  pieces.push_back(tail);
  return WriteFileAtomically(file, pieces, 0600);
}

}  // namespace varve::tree
