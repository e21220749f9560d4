#include "snapshot/parents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "base/fd.h"
#include "base/rel_path.h"
#include "snapshot/layer_meta.h"
#include "snapshot/upper_walk.h"
#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/xattrs.h"

namespace varve::snapshot {

struct ParentLookup::OpenLayer {
  Fd root;
  std::vector<std::string> implicit;  // in walk order
};

Result<DirectoryAttributes> ReadDirectoryAttributes(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return ErrnoError(errno, "stat a directory of a layer");
  DirectoryAttributes out{.mode = st.st_mode & 07777,
                          .uid = st.st_uid,
                          .gid = st.st_gid,
                          .mtime = {st.st_mtim.tv_sec * 1'000'000'000 + st.st_mtim.tv_nsec}};
  TRY_ASSIGN(auto names, sys::ListXattrs(fd));
  for (const std::string& name : names) {
    if (IsOverlayXattr(name)) continue;
    TRY_ASSIGN(auto value, sys::GetXattr(fd, name));
    if (value) out.xattrs.emplace_back(name, std::move(*value));
  }
  return out;
}

Status ApplyDirectoryAttributes(int fd, const DirectoryAttributes& attributes) {
  // chown may clear the setgid bit, so the mode comes second.
  if (fchown(fd, attributes.uid, attributes.gid) != 0)
    return sys::OwnerError(errno, "chown a directory", attributes.uid, attributes.gid);
  if (fchmod(fd, attributes.mode) != 0) return ErrnoError(errno, "chmod a directory");
  for (const auto& [name, value] : attributes.xattrs) TRY(sys::SetXattr(fd, name, value));
  int64_t seconds = attributes.mtime.seconds();
  timespec time{seconds, attributes.mtime.nanos - seconds * 1'000'000'000};
  timespec times[2] = {time, time};
  if (futimens(fd, times) != 0) return ErrnoError(errno, "set the time of a directory");
  return Ok();
}

Result<ParentLookup::OpenLayer*> ParentLookup::Open(size_t number) {
  open_.resize(stack_.size());
  if (!open_[number]) {
    TRY_ASSIGN(std::string directory, store_.Directory(stack_[number]));
    auto root = sys::OpenDir(directory);
    if (!root) return NotFound("layer {} is not unpacked here", stack_[number].ToString());
    auto layer = std::make_shared<OpenLayer>();
    layer->root = std::move(*root);
    TRY_ASSIGN(layer->implicit, ReadImplicit(directory.substr(0, directory.rfind('/'))));
    open_[number] = std::move(layer);
  }
  return open_[number].get();
}

Result<DirectoryAttributes> ParentLookup::Find(const std::string& path, size_t count) {
  static const std::string kOpaque = OverlayXattr("opaque");
  const RelPath whole(path);
  const std::vector<std::string_view> parts = whole.Parts();
  for (size_t number = count; number-- > 0;) {
    TRY_ASSIGN(OpenLayer * layer, Open(number));
    Fd at;
    TRY_ASSIGN(auto root_mark, sys::GetXattr(layer->root.get(), kOpaque));
    bool opaque = root_mark == "y", hidden = false, found = true;
    for (std::string_view part : parts) {
      int parent = at ? at.get() : layer->root.get();
      std::string name(part);
      Fd next(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next) {
        found = false;
        // Something else is there, a whiteout included: what lies deeper does not show.
        hidden = errno != ENOENT;
        break;
      }
      TRY_ASSIGN(auto mark, sys::GetXattr(next.get(), kOpaque));
      opaque = opaque || mark == "y";
      at = std::move(next);
    }
    bool is_implicit = std::ranges::binary_search(layer->implicit, path, WalkLess);
    if (found && !is_implicit) return ReadDirectoryAttributes(at.get());
    if (hidden || opaque) break;
  }
  return DirectoryAttributes();
}

Result<std::optional<ParentLookup::Found>> ParentLookup::FindAny(const std::string& path) {
  static const std::string kOpaque = OverlayXattr("opaque");
  const RelPath whole(path);
  const RelPath parent = whole.Parent();
  for (size_t number = stack_.size(); number-- > 0;) {
    TRY_ASSIGN(OpenLayer * layer, Open(number));
    TRY_ASSIGN(auto mark, sys::GetXattr(layer->root.get(), kOpaque));
    bool opaque = mark == "y", found = true;
    Fd at(openat(layer->root.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!at) return ErrnoError(errno, "open the root of a layer");
    for (std::string_view part : parent.Parts()) {
      Fd next(openat(at.get(), std::string(part).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!next && errno != ENOENT) return std::optional<Found>();
      found = static_cast<bool>(next);
      if (!found) break;
      TRY_ASSIGN(mark, sys::GetXattr(next.get(), kOpaque));
      opaque = opaque || mark == "y";
      at = std::move(next);
    }
    Found there{.layer = stack_[number], .directory = {}, .name = std::string(whole.Name())};
    if (found && fstatat(at.get(), there.name.c_str(), &there.stat, AT_SYMLINK_NOFOLLOW) == 0) {
      bool whiteout = S_ISCHR(there.stat.st_mode) && there.stat.st_rdev == 0;
      if (whiteout) return std::optional<Found>();
      there.directory = std::make_shared<const Fd>(std::move(at));
      return std::optional<Found>(std::move(there));
    }
    if (opaque) break;
  }
  return std::optional<Found>();
}

Result<std::optional<std::string>> ParentLookup::FindSymlink(const std::string& path) {
  TRY_ASSIGN(auto found, FindAny(path));
  if (!found || !S_ISLNK(found->stat.st_mode)) return std::optional<std::string>();
  TRY_ASSIGN(std::string target, sys::ReadLink(found->directory->get(), found->name));
  return std::optional<std::string>(std::move(target));
}

}  // namespace varve::snapshot
