#include "export/files_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "base/fd.h"
#include "snapshot/rootfs_mount.h"
#include "snapshot/upper_tar.h"
#include "sys/open.h"
#include "sys/process.h"
#include "sys/remove.h"
#include "sys/tempdir.h"

namespace varve::exporter {

namespace {

struct Mounted {
  sys::TempDir point;
  std::unique_ptr<snapshot::RootfsMount> mount;
};

Result<Mounted> MountForReading(snapshot::LayerStore& layers, const cache::Rootfs& rootfs,
                                const std::string& scratch) {
  Mounted mounted;
  TRY_ASSIGN(mounted.point, sys::TempDir::Create(scratch, "export-"));
  TRY_ASSIGN(mounted.mount,
             snapshot::MountRootfs(layers, rootfs.layers, nullptr, mounted.point.path()));
  return mounted;
}

// Removes what `keep` does not name, paths relative to `directory`.
Status RemoveOthers(const std::string& directory, const std::string& prefix,
                    const std::set<std::string>& keep) {
  TRY_ASSIGN(Fd fd, sys::OpenDir(directory));
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    std::string path = prefix + entry.name;
    struct stat st;
    if (fstatat(fd.get(), entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!keep.contains(path)) {
      TRY(sys::RemoveAllAt(fd.get(), entry.name));
    } else if (S_ISDIR(st.st_mode)) {
      TRY(RemoveOthers(directory + "/" + entry.name, path + "/", keep));
    }
  }
  return Ok();
}

Status SetTimes(const std::string& directory, const std::vector<snapshot::UpperEntry>& entries,
                int64_t epoch) {
  timespec times[2] = {{epoch, 0}, {epoch, 0}};
  for (const auto& entry : entries) {
    if (utimensat(AT_FDCWD, (directory + "/" + entry.path).c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "set time of " + entry.path);
    }
  }
  return Ok();
}

}  // namespace

Status WriteFilesTar(snapshot::LayerStore& layers, const cache::Rootfs& rootfs,
                     std::optional<int64_t> epoch, const std::string& scratch, Writer& out,
                     std::stop_token stop) {
  TRY_ASSIGN(Mounted mounted, MountForReading(layers, rootfs, scratch));
  TRY_ASSIGN(auto entries, snapshot::WalkUpper(mounted.mount->path(), stop));
  if (epoch) {
    for (auto& entry : entries) entry.mtime = {*epoch * 1'000'000'000};
  }
  return snapshot::WriteUpperTar(mounted.mount->path(), entries, snapshot::HashFiles::kNo, {}, out,
                                 stop);
}

Status CopyFiles(snapshot::LayerStore& layers, const cache::Rootfs& rootfs,
                 std::optional<int64_t> epoch, const std::string& scratch,
                 const std::string& directory, bool delete_extra, std::stop_token stop) {
  TRY_ASSIGN(Mounted mounted, MountForReading(layers, rootfs, scratch));
  TRY(sys::MkdirAll(directory, 0755));
  TRY_ASSIGN(auto entries, snapshot::WalkUpper(mounted.mount->path(), stop));
  if (delete_extra) {
    std::set<std::string> keep;
    for (const auto& entry : entries) keep.insert(entry.path);
    TRY(RemoveOthers(directory, "", keep));
  }
  // cp keeps modes, links, holes, capabilities and times, and replaces what is in the way.
  auto copied = sys::RunAndRead({.argv = {"cp", "-a", "--remove-destination", "--reflink=auto", "--",
                                          mounted.mount->path() + "/.", directory}}, stop);
  if (!copied) {
    Error error = std::move(copied).error();
    if (error.code == Code::kExec) error.code = Code::kInvalid;
    return std::move(error).With("writing to " + directory);
  }
  if (epoch) TRY(SetTimes(directory, entries, *epoch));
  return Ok();
}

}  // namespace varve::exporter
