#include "upkeep/mount_tar.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <set>
#include <vector>

#include "archive/codec.h"
#include "snapshot/unpack.h"
#include "snapshot/upper_tar.h"
#include "snapshot/upper_walk.h"
#include "sys/tempdir.h"

namespace varve::upkeep {

Status WriteMountTar(const std::string& data, Writer& out, std::stop_token stop) {
  TRY(WriteMountTar(data, std::numeric_limits<uint64_t>::max(), out, std::move(stop)));
  return Ok();
}

Result<MountTar> WriteMountTar(const std::string& data, uint64_t max_bytes, Writer& out, std::stop_token stop) {
  TRY_ASSIGN(auto entries, snapshot::WalkUpper(data, stop));
  MountTar written;
  std::vector<const snapshot::UpperEntry*> files;
  for (const snapshot::UpperEntry& entry : entries) {
    if (entry.index.node.type != tree::NodeType::kFile || !entry.hard_link_to.empty()) continue;
    files.push_back(&entry);
    written.bytes += entry.index.node.size;
  }
  if (written.bytes > max_bytes) {
    std::ranges::stable_sort(files, {}, &snapshot::UpperEntry::mtime);
    std::set<std::string> gone;
    for (const snapshot::UpperEntry* file : files) {
      if (written.bytes <= max_bytes) break;
      written.bytes -= file->index.node.size;
      gone.insert(file->path);
    }
    written.left_out = gone.size();
    std::erase_if(entries, [&](const snapshot::UpperEntry& entry) {
      return gone.contains(entry.path) || gone.contains(entry.hard_link_to);
    });
  }
  TRY(snapshot::WriteUpperTar(data, entries, snapshot::HashFiles::kNo, {}, out, stop));
  return written;
}

Status ReadMountTar(Reader& in, const std::string& data, const std::string& scratch, snapshot::LayerStore& layers,
                    std::stop_token stop) {
  TRY_ASSIGN(auto tar, archive::MakeDecompressor(in));
  TRY_ASSIGN(auto work, sys::TempDir::Create(scratch, "import-"));
  std::string fresh = work.path() + "/new", old = work.path() + "/old";
  struct stat st;
  if (stat(data.c_str(), &st) != 0) return ErrnoError(errno, data);
  if (mkdir(fresh.c_str(), 0700) != 0) return ErrnoError(errno, fresh);
  TRY_ASSIGN(auto unpacked, snapshot::UnpackInto(fresh, layers, {}, *tar, stop));
  for (const tree::LayerEntry& entry : unpacked.index) {
    if (entry.whiteout || entry.opaque) {
      return Invalid("{} is marked as removed: this is a layer's tar, not a cache mount's", entry.path.str());
    }
  }
  // The directory itself belongs to whoever the step's mount said.
  if (chown(fresh.c_str(), st.st_uid, st.st_gid) != 0 || chmod(fresh.c_str(), st.st_mode & 07777) != 0) {
    return ErrnoError(errno, fresh);
  }
  if (rename(data.c_str(), old.c_str()) != 0) return ErrnoError(errno, data);
  if (rename(fresh.c_str(), data.c_str()) == 0) return Ok();
  int saved = errno;
  if (rename(old.c_str(), data.c_str()) != 0) return ErrnoError(errno, data);
  return ErrnoError(saved, data);
}

}  // namespace varve::upkeep
