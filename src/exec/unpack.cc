#include "exec/unpack.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "archive/foreign.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::exec {

namespace {

using archive::EntryType;
using archive::TarEntry;

constexpr uint64_t kLeastLimit = uint64_t{10} << 30;
constexpr uint64_t kRatioLimit = 1000;

class Unpacking {
 public:
  Unpacking(LayerWriter& writer, const RelPath& dest, std::optional<Ownership> owner)
      : writer_(writer), dest_(dest), owner_(owner) {}

  Status Add(const TarEntry& entry, Reader& content) {
    TRY_ASSIGN(RelPath path, Place(entry.name));
    if (path == dest_) return Ok();
    Attributes attributes = AttributesOf(entry);
    // As tar does, and unlike COPY: only a directory may stay where one comes, links included.
    bool is_directory = entry.type == EntryType::kDirectory;
    TRY_ASSIGN(auto there, writer_.Lookup(path));
    if (there && there->IsDirectory() != is_directory) TRY(writer_.Remove(path));
    if (is_directory) {
      TRY(writer_.Directory(path, attributes));
      return writer_.SetDirectory(path, attributes);
    }
    TRY(writer_.Directory(path.Parent(), Parents()));
    TRY(writer_.ClearForFile(path));
    switch (entry.type) {
      case EntryType::kFile:
        return writer_.PutContent(path, attributes, content);
      case EntryType::kSymlink:
        return writer_.PutSymlink(path, attributes, entry.link);
      case EntryType::kFifo:
        return writer_.PutDevice(path, attributes, tree::NodeType::kFifo, 0);
      case EntryType::kHardLink: {
        TRY_ASSIGN(RelPath target, Place(entry.link));
        return writer_.PutHardLink(path, target);
      }
      default: {
        bool block = entry.type == EntryType::kBlockDevice;
        return writer_.PutDevice(path, attributes, block ? tree::NodeType::kBlockDevice : tree::NodeType::kCharDevice,
                                 uint64_t{entry.major} << 32 | entry.minor);
      }
    }
  }

  Attributes Parents() const {
    Attributes out{.mode = 0755};
    if (owner_) {
      out.uid = owner_->uid;
      out.gid = owner_->gid;
    }
    return out;
  }

 private:
  // Where a name of the archive lies, links of its parents resolved inside of the image.
  Result<RelPath> Place(const std::string& name) {
    for (const std::string& part : Split(name, '/')) {
      if (part != "..") continue;
      Error error = Invalid("archive entry \"{}\" leaves the directory that it is extracted to", name);
      error.hint = "the archive is broken or hostile";
      return error;
    }
    RelPath inside(name);
    if (inside.IsRoot()) return dest_;
    RelPath path = dest_.Join(inside.str());
    TRY_ASSIGN(RelPath parent, writer_.Resolve(path.Parent(), true));
    return parent.Join(path.Name());
  }

  Attributes AttributesOf(const TarEntry& entry) const {
    Attributes out{.mode = entry.mode,
                   .uid = static_cast<uint32_t>(entry.uid),
                   .gid = static_cast<uint32_t>(entry.gid),
                   .mtime = entry.mtime};
    if (owner_) {
      out.uid = owner_->uid;
      out.gid = owner_->gid;
    }
    for (const auto& [name, value] : entry.xattrs) {
      if (name == "security.capability") out.xattrs.emplace_back(name, value);
    }
    return out;
  }

  LayerWriter& writer_;
  const RelPath dest_;
  const std::optional<Ownership> owner_;
};

}  // namespace

Result<bool> UnpackArchive(int source_root, const RelPath& file, LayerWriter& writer, const RelPath& dest,
                           std::optional<Ownership> owner, std::stop_token stop) {
  TRY_ASSIGN(Fd fd, sys::OpenInRoot(source_root, file, O_RDONLY | O_NONBLOCK));
  struct stat st;
  if (fstat(fd.get(), &st) != 0) return ErrnoError(errno, "stat " + file.str());
  FdReader probe(fd.get());
  TRY_ASSIGN(bool is_archive, archive::IsTar(probe));
  if (!is_archive) return false;
  if (lseek(fd.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "seek in " + file.str());
  FdReader in(fd.get());
  uint64_t limit = std::max(kLeastLimit, kRatioLimit * static_cast<uint64_t>(st.st_size));
  TRY_ASSIGN(auto foreign, archive::ForeignArchive::Open(in, {.expansion = {.bytes = limit}}));
  archive::TarReader& tar = foreign->tar();
  Unpacking unpacking(writer, dest, owner);
  TRY(writer.Directory(dest, unpacking.Parents()));
  while (true) {
    if (stop.stop_requested()) return Cancelled("extracting {} was cancelled", file.str());
    TRY_ASSIGN(auto entry, tar.Next());
    if (!entry) return true;
    if (Status added = unpacking.Add(*entry, tar.content()); !added) {
      return Error(std::move(added).error()).With("extracting " + file.str());
    }
  }
}

}  // namespace varve::exec
