// Opening untrusted paths: images, build contexts and archives name files with RelPath, and only
// the functions here turn one into a descriptor. The kernel does the resolution (openat2), so a
// symlink swapped during the look-up cannot lead outside of the root.
//
//   TRY_ASSIGN(Fd root, sys::OpenDir(mount.path()));
//   TRY_ASSIGN(Fd passwd, sys::OpenInRoot(root.get(), RelPath("etc/passwd"), O_RDONLY));
//
// Safe from any thread. All descriptors are close-on-exec. A missing file is kNotFound.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/rel_path.h"
#include "base/result.h"

namespace varve::sys {

struct ResolveOptions {
  bool no_symlinks = false;  // any symlink on the way is an error (ELOOP → kInvalid)
  bool no_xdev = false;      // crossing a mount point is an error (EXDEV → kInvalid)
};

// Opens `path` as a process chrooted to `root_fd` would: absolute symlinks start at the root, ".."
// stops there. `flags` as open(2); `mode` only with O_CREAT.
Result<Fd> OpenInRoot(int root_fd, const RelPath& path, int flags, unsigned mode = 0,
                      const ResolveOptions& options = {});

// The directory at `path` (O_PATH), refusing every symlink on the way, the last part included. For
// writers of layers, where a symlink in a parent is either an attack or a mistake.
Result<Fd> OpenDirNoFollow(int root_fd, const RelPath& path);

// A trusted directory, O_RDONLY: fit for *at calls, for listing and as a root.
Result<Fd> OpenDir(const std::string& path);

// Makes the directories of `path` that are missing, with exactly this mode and owner (no umask).
// Symlinks are followed inside the root; a dangling one gets its target made, as mkdir -p inside a
// chroot does. Returns the last directory (O_PATH); `created`, if given, gets the resolved paths of
// the new directories, outermost first, also when a later one fails.
Result<Fd> MkdirAllInRoot(int root_fd, const RelPath& path, unsigned mode, uid_t uid, gid_t gid,
                          std::vector<RelPath>* created = nullptr);

// The same for an empty regular file (mode 0644) in directories of mode 0755, owned by 0:0: a place
// to mount a file on. Whatever is at `path` already, other than a directory, is taken as it is.
Result<Fd> MakeFileInRoot(int root_fd, const RelPath& path, std::vector<RelPath>* created = nullptr);

// mkdir -p for trusted paths, mode 0777 & ~umask unless given.
Status MkdirAll(const std::string& path, unsigned mode = 0777);

// The target of the symlink `name` in `dir_fd`; with an empty name, of the O_PATH|O_NOFOLLOW
// descriptor itself.
Result<std::string> ReadLink(int dir_fd, const std::string& name);

struct DirEntry {
  std::string name;
  unsigned char type;  // DT_*; DT_UNKNOWN where the file system does not say
  ino_t inode;
};

// All entries but "." and "..", sorted by name. `dir_fd` must not be O_PATH; its position is
// unused.
Result<std::vector<DirEntry>> ListDirectory(int dir_fd);

// "/proc/self/fd/N": lets path-only system calls act on an O_PATH descriptor.
std::string FdPath(int fd);

}  // namespace varve::sys
